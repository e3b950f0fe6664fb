"""Pages of sweeps for the tests in a browser: made ones, and what one reads off or does to them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

import analysis
from analysis.page import page
from analysis.phases import PHASES

ROOT = Path(__file__).parent.parent
PARITY, MODULAR = ROOT / "sweeps" / "parity_1125", ROOT / "sweeps" / "modular_24"
# Without the windows, which are pages themselves and take as long as ours.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
SIZE = 10_000_000  # bytes of a page at most


def tables(axes, seeds=2, logged=6, rng_seed=0):
    """Runs of every combination of `axes`, and their curves: numbers of all sizes, some diverged."""
    rng = np.random.default_rng(rng_seed)
    grid = pd.MultiIndex.from_product([*axes.values(), range(seeds)], names=[*axes, "seed"])
    settings = grid.to_frame(index=False)
    count = len(settings)
    losses = [(10 ** rng.uniform(-9, 1, count)).astype(np.float32).astype(float) for _ in range(2)]
    diverged = pd.array(np.where(rng.random(count) < 0.05, 2, 0), dtype="Int64")
    runs = pd.DataFrame(
        {
            "run_id": [f"{i:016x}" for i in range(count)],
            "sweep": "made",
            "task": "parity",
            "seed": settings["seed"],
            **{name: settings[name] for name in axes},
            "min_train_loss": losses[0],
            "min_eval_loss": losses[1],
            "max_loss_ratio": 10 ** rng.uniform(0, 9, count),
            "final_eval_accuracy": rng.random(count),
            "diverged_step": diverged.copy(),
        }
    )
    runs["diverged_step"] = runs["diverged_step"].mask(runs["diverged_step"] == 0)
    runs.loc[runs.index[::17], "min_eval_loss"] = np.nan
    curves = pd.DataFrame(
        {
            "run_id": np.repeat(runs["run_id"].to_numpy(), logged),
            "step": np.tile(np.arange(logged, dtype=np.int32) * 400, count),
            "train_loss": (10 ** rng.uniform(-9, 1, count * logged)).astype(np.float32),
            "eval_loss": (10 ** rng.uniform(-9, 1, count * logged)).astype(np.float32),
            "train_accuracy": rng.random(count * logged).astype(np.float32),
            "eval_accuracy": rng.random(count * logged).astype(np.float32),
            "weight_norm": rng.uniform(1, 50, count * logged).astype(np.float32),
        }
    )
    return runs, curves


def write(path, runs, curves, phases=None, **options):
    given = {"title": "made", "folder": "results/made", "expected": len(runs)} | options
    path.write_bytes(page(analysis.classify(runs) if phases is None else phases, curves, **given))
    return path


def counts(shown):
    return {
        key.query_selector(".name").inner_text(): int(
            key.query_selector(".count").inner_text().replace(",", "")
        )
        for key in shown.query_selector_all("#legend .key")
    }


def counted(phases):
    return {name: int((phases["phase"] == name).sum()) for name in PHASES}


def about_of(path):
    """What a page says of itself, whole."""
    text = Path(path).read_text(encoding="utf-8")
    assert text.endswith("</html>\n")
    return json.loads(re.search(r'id="about">(.*?)</script>', text)[1])


def marks(shown, what):
    """Something of every dot or square of the diagram."""
    return shown.evaluate(
        f"""document.getElementById("diagram").data
            .filter((one) => one.type === "scatter").flatMap((one) => one.{what})"""
    )


def run_ids(shown, script):
    return shown.evaluate(f"{script}.map((i) => runId(grokPage.arrays, i))")


def in_browser_phases(shown):
    return [PHASES[i] for i in shown.evaluate("Array.from(grokPage.phases)")]


def cell_place(shown, x, y, panel):
    """Where on the screen a cell is."""
    return shown.evaluate(
        """([x, y, panel]) => {
            const div = document.getElementById("diagram");
            div.scrollIntoView();
            const names = axesOf(grokPage, panel).map((name) => name.replace(/^./, "$&axis"));
            const [across, up] = names.map((name) => div._fullLayout[name]);
            const box = div.getBoundingClientRect();
            return [box.x + across._offset + across.l2p(x), box.y + up._offset + up.l2p(y)];
        }""",
        [x, y, panel],
    )


def enter(shown, **values):
    """Set controls of the page, as a hand would."""
    shown.evaluate("(values) => { enter(values); grokPage.draw(); }", values)


def kept(shown):
    """[x, y, panel] of the cell that is kept, if one is."""
    return shown.evaluate(
        """() => {
            const [{ nx, ny }, cell] = [grokPage.cells, grokPage.kept()];
            return cell < 0 ? null : [cell % nx, Math.floor(cell / nx) % ny, Math.floor(cell / nx / ny)];
        }"""
    )


def shown_runs(shown):
    """run_id -> metric -> (steps, values) of the curves that are drawn."""
    traces = shown.evaluate(
        """document.getElementById("curves").data.map((one) =>
            [runId(grokPage.arrays, one.meta.run), one.meta.metric, one.x, one.y])"""
    )
    found = {}
    for run_id, metric, steps, values in traces:
        found.setdefault(run_id, {})[metric] = (steps, values)
    return found
