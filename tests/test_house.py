"""The house: which module may import which, and how long a file may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("grok_sweep/**/*.py"), *ROOT.glob("analysis/**/*.py")])

# What a module of grok_sweep may import of grok_sweep.
ROOMS = {
    "messages": set(),
    "core": {"models", "tasks"},  # the built-in parts, and where one is made only: see LATE
    "tasks": {"core"},
    "effects": set(),
    "config": {"core", "effects", "messages", "store"},
    "bounds": set(),
    "compose": {"bounds", "config", "core", "messages"},
    "grid": {"config", "effects"},
    "models": {"core"},
    "program": {"core", "models"},
    "plan": {"config", "core", "grid", "program"},
    "train": {"core", "models", "program"},
    "probe": {"core", "plan", "train", "work"},
    "store": {"bounds", "store"},
    "work": {"core", "program", "store", "train"},
    "launch": {"config", "launch", "messages", "plan", "stop", "versions", "work"},
    "stop": set(),
    "versions": set(),
    "failures": {"diagram"},
    "live": {"config", "store"},
    "progress": {"diagram"},
    "diagram": {"effects"},
    "needs": {"config", "grid", "messages", "plan", "program", "work"},
    "dry_run": {"config", "effects", "messages", "needs", "plan", "work"},
    "provenance": {"config", "messages", "store", "versions", "work"},
    "template": {"core"},  # a user's file: nothing of the package but how parts are declared
}
LATE = {"core"}  # rooms that are pure: what is not theirs they import within a function, never at once
MOST_LINES = 310
LONG = {
    "grok_sweep/config.py": 496,  # one table of keys, read in one pass: in two files it would be longer
    "grok_sweep/store/__init__.py": 340,  # the one owner of all names
}
ALL = {
    path.relative_to(ROOT / "grok_sweep").parts[0].removesuffix(".py")
    for path in FILES
    if path.is_relative_to(ROOT / "grok_sweep")  # the checkout may be called so too
}
WIRING = {"cli", "driver", "bench", "__main__", "__init__"}
ONLY_IN = {
    "ray": {"launch"},
    "hydra": {"compose"},
    "omegaconf": {"compose"},
    "flax": {"models", "template"},
    "optax": {"train", "core", "template"},
    "jax": {"models", "train", "probe", "tasks", "core", "work", "launch", "bench", "template"},
    "rich": {"progress", "diagram", "dry_run", "failures"},
    "analysis": {"driver", "live"},
}


def imports(path):
    """(module, is at top level) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in tree.body


def room(path):
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_house(path):
    for name, top in imports(path):
        package, _, rest = name.partition(".")
        inside = rest.split(".")[0]
        if path.is_relative_to(ROOT / "analysis"):
            assert package not in {"jax", "flax", "optax", "ray", "hydra", "omegaconf"}
            # Whose weights are opened, that one's rows are needed too; parts load jax only for training.
            assert package != "grok_sweep" or inside in {"store", "core", "effects"}, name
            continue
        here = room(path)
        assert package not in ONLY_IN or here in ONLY_IN[package], f"{here} imports {name}"
        if package == "grok_sweep" and inside in ALL and here not in WIRING:
            assert inside in ROOMS[here] | {here}, f"{here} imports {name}"
            assert not top or inside == here or here not in LATE, f"{here} imports {name} at once"
        # A config is checked, and a bad one refused, before jax is loaded.
        if here in {"cli", "core", "tasks", "config", "compose", "effects", "work"}:
            assert not top or package not in {"jax", "flax", "optax", "ray"}, f"{here} imports {name} at once"


def test_every_room_is_in_the_table():
    assert set(ROOMS) | WIRING == ALL


def test_no_file_is_long():
    lines = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert not {name: count for name, count in lines.items() if count > LONG.get(name, MOST_LINES)}
