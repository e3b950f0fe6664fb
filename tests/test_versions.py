import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from grok_sweep import versions
from grok_sweep.worker import native

ROOT = Path(__file__).parent.parent


def test_the_versions_of_what_computes():
    found = versions.versions()
    assert found["jax"] == importlib.metadata.version("jax")
    assert {"grok-sweep", "jaxlib", "ray", "numpy"} <= set(found)
    assert set(versions.computing()) == {"grok-sweep", *versions.COMPUTE}


def test_all_that_is_built_is_code():
    assert {f"*{path.suffix}" for path in (*native.SHARED, *native.SOURCES.values())} <= {*versions.SOURCES}


def test_a_changed_line_is_other_code(tmp_path):
    """A copy has the same code until something in it changes, wherever it lies."""
    copy = tmp_path / "grok_sweep"
    shutil.copytree(ROOT / "grok_sweep", copy, ignore=shutil.ignore_patterns("__pycache__"))

    def code():
        script = "from grok_sweep.versions import code; print(code())"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert code() == versions.code()
    with (copy / "core" / "train.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert code() != versions.code()
