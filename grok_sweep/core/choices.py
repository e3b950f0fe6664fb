"""What there is to choose from: parts, files of conf/ and of sweeps/."""

import functools
from pathlib import Path
from typing import Any

import yaml

from grok_sweep.core import definitions, registry
from grok_sweep.core.source import Source

GROUPS = ("task", "model", "optimizer", "cluster", "sweeps")
BLOCKS = GROUPS[:3]  # the groups whose keys are hyperparameters of a run


def configs() -> tuple[Path, Path]:
    """The folders of the building blocks (conf) and of the sweeps: of the wheel, else of the checkout."""
    package = Path(__file__).parent.parent
    root = package / "configs" if (package / "configs").is_dir() else package.parent
    return root / "conf", root / "sweeps"


def sweep_folders() -> list[Path]:
    """Where sweeps are looked for: the user's own in ./sweeps first, so that a copy can be changed; ours."""
    own = Path.cwd() / "sweeps"
    return list(dict.fromkeys([*([own] if own.is_dir() else []), configs()[1]]))


def choices(group: str, source: Source | None = None) -> list[str]:
    """What may be chosen of a group: the parts of its kind, those of a user's file too, or its files."""
    if group in BLOCKS:
        return registry.names(group, source)
    if group == "definition":
        return [*definitions.NAMES, *(n for n in registry.names(group, source) if n not in definitions.NAMES)]
    folders = sweep_folders() if group == "sweeps" else [configs()[0] / group]
    paths = [path for folder in folders for path in folder.glob("*.yaml")]
    return sorted({path.stem for path in paths if path.is_file() and not path.name.startswith(".")})


@functools.cache
def root() -> dict[str, Any]:
    """The root of every config, conf/config.yaml."""
    content: dict[str, Any] = yaml.safe_load((configs()[0] / "config.yaml").read_text(encoding="utf-8"))
    return content
