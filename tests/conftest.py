"""What several test files need. jax runs on the CPU, single-threaded, as in a worker."""

import os

from grok_sweep.worker.environment import environment

os.environ.update(environment("cpu"))

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own import OWN, sweep_file
from pages import CHROMIUM, PARITY
from playwright.sync_api import sync_playwright

import analysis
from analysis.page import page
from grok_sweep.compose import compose
from grok_sweep.core import registry
from grok_sweep.core.config import parse
from grok_sweep.core.sweep import Sweep

TINY = [
    "sweeps=quickstart",
    "cluster=inline",
    "name=tiny",
    "train.steps=20",
    "train.log_every=5",
    "task.test_size=50",
    "grid.weight_decay=[0.1,1]",
    "grid.hidden_size=[4,8]",
    "grid.train_size=[20,30]",
    "seeds=2",
]

# Every built-in hyperparameter. Where several models or optimizers have one, they differ in its default only.
NUMBERS = {
    key: number
    for kind in registry.KINDS
    for part in registry.parts_of(None)[kind].values()
    for key, number in part.numbers.items()
}

in_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's chromium-headless-shell, or chromium"
)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled programs go where no test of another day left any; the suite's processes share them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder)


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the recorded sweep of 1125 runs."""
    phases = analysis.classify(analysis.load_runs(PARITY))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(
        page(phases, analysis.load_curves(PARITY), title="parity_1125", folder=str(PARITY), expected=1125)
    )
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Sweep]:
    """A sweep of 16 runs of 20 steps, changed by overrides."""

    def make(*overrides: str) -> Sweep:
        # Its own test_size would have no effect beside an axis, and be refused.
        is_axis = any(override.startswith("grid.test_size=") for override in overrides)
        mine = [override for override in TINY if not (is_axis and "test_size" in override)]
        config, problems = compose([*mine, f"out={tmp_path / 'out'}", *overrides])
        assert not problems
        return parse(config)

    return make


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write sweeps/mine.py and sweeps/mine.yaml of the folder that is the current one."""
    (tmp_path / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(code: str = OWN, sweep: str | None = None) -> None:
        (tmp_path / "sweeps" / "mine.py").write_text(code, encoding="utf-8")
        (tmp_path / "sweeps" / "mine.yaml").write_text(sweep or sweep_file(), encoding="utf-8")

    write()
    return write


@pytest.fixture
def one_run(files: Callable[[str, str], None]) -> Callable[[str], None]:
    """Write them with a sweep of one run, of seed 3, and whatever code."""

    def write(code: str = OWN, *parts: str, **changes: object) -> None:
        files(code, sweep_file(*parts, **{"grid": {}, "seeds": [3], **changes}))

    write()
    return write


def mount(*arguments: str | Path) -> None:
    """Like the command; skips the test where that is not allowed."""
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=20m", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", "--lazy", "--recursive", folder], check=True)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT is ignored where the suite runs in the background of a script, and so in its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # A sandbox of the browser's own cannot be had by root, who runs tests in a container.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def look(browser):
    """Opens a page from disk; none may say an error, or ask the network for anything."""
    opened, said = [], []

    def open_page(path, *, width=1280, height=900, touch=False, scheme="light", fragment=""):
        context = browser.new_context(
            viewport={"width": width, "height": height}, has_touch=touch, color_scheme=scheme
        )
        shown = context.new_page()
        opened.append(context)
        shown.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on(
            "request", lambda request: None if request.url.startswith("file:") else said.append(request.url)
        )
        shown.goto(Path(path).resolve().as_uri() + fragment)
        shown.wait_for_selector("html[data-ready]", timeout=60_000)
        return shown

    yield open_page
    for context in opened:
        context.close()
    assert not said


@pytest.fixture
def command() -> list[str]:
    """How `grok-sweep` is started in a process of its own."""
    return [sys.executable, "-W", "error::DeprecationWarning:grok_sweep", "-m", "grok_sweep"]


def pytest_configure(config: Any) -> None:
    """jax's strictest rules: no silent promotion of types or ranks."""
    import jax
    from hypothesis import settings

    # Hundreds of programs of a few steps: compiling them well takes longer than running them. jax reads it
    # once, so processes that tests start, which train for longer, have the usual.
    usual = os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = f"{usual} --xla_backend_optimization_level=0"
    jax.devices()
    os.environ["XLA_FLAGS"] = usual

    settings.register_profile("no deadline", deadline=None)  # these machines are shared: time is no test
    settings.load_profile("no deadline")
    jax.config.update("jax_numpy_rank_promotion", "raise")


# The longest: they wait more than they work.
LONGEST = (
    "test_faults",
    "test_chaos",
    "test_cluster",
    "test_page",
    "test_page_table",
    "test_page_weights",
    "test_wheel",
    "test_driver",
    "test_records",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those first, so that of several processes (`--dist loadfile`) none is left with one at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture
def h100():
    """jax is told of a GPU that is not here: from 0.12 on it asks which one a kernel is lowered for."""
    from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

    there = AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")
    with use_abstract_mesh(AbstractMesh((1,), ("gpu",), abstract_device=there)):
        yield
