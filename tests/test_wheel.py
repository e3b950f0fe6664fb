"""Installed from a wheel and used from another folder: configs and sweeps travel inside."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY

ROOT = Path(__file__).parent.parent


def run(*arguments, **kwargs):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=250, check=False, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_in_a_folder_of_its_own(tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    (elsewhere / "sweeps").mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # From a copy without leftovers of other builds, as on a clean checkout.
    source = tmp_path / "source"
    run("git", "clone", "--quiet", str(ROOT), str(source))
    run(*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", str(site), str(wheel))
    for folder, patterns in (("sweeps", ("*.yaml", "*.py")), ("conf", ("**/*.yaml", "README.md"))):
        packed = {
            p.relative_to(site / "grok_sweep" / "configs")
            for p in site.glob(f"grok_sweep/configs/{folder}/**/*")
        }
        assert {p for p in packed if p.suffix and p.parent.name != "__pycache__"} == {
            p.relative_to(source) for pattern in patterns for p in (source / folder).glob(pattern)
        }
    # The editable install of this checkout is on the path too: the wheel's must come first.
    at = {"cwd": elsewhere, "env": os.environ | {"PYTHONPATH": str(site)}}
    where = run(
        sys.executable,
        "-c",
        "import grok_sweep, analysis; print(grok_sweep.__file__, analysis.__file__)",
        **at,
    )
    assert where.split() == [str(site / "grok_sweep" / "__init__.py"), str(site / "analysis" / "__init__.py")]

    sweep, analyze = str(site / "bin" / "grok-sweep"), str(site / "bin" / "grok-analyze")
    assert "125 cells x 9 seeds" in run(sweep, "sweeps=parity_1125", "dry_run=true", **at)
    run(sweep, *TINY, **at)
    assert len(pd.read_parquet(elsewhere / "results" / "tiny" / "runs")) == 16
    assert "16 fail" in run(analyze, "results/tiny", "--min-loss", "1e-6", "--report", **at)
    assert (elsewhere / "results" / "tiny" / "report.html").stat().st_size > 1_000_000
    assert "hidden_size: 64" in run(sweep, "sweeps=quickstart", "--cfg", "job", **at)

    # The user's own sweep, beside the packaged ones.
    (elsewhere / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\nname: mine\ngrid: {b1: [0.9, 0.95]}\n"
    )
    assert "2 runs to train (2 cells x 1 seed," in run(sweep, "sweeps=mine", "dry_run=true", **at)

    # A beginning for one with parts of their own; the file of parts finds the package that runs it.
    assert "wrote sweeps/first.yaml and sweeps/first.py" in run(sweep, "init", "first", **at)
    assert "runs to train" in run(sweep, "sweeps=first", "dry_run=true", **at)
