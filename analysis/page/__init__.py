"""One HTML file that makes a sweep explorable: no server, no network, nothing beside it.

The page is drawn by plotly.js, from the package plotly: a well-kept library with log axes, heat maps and
subplots that work by mouse and touch, and that draws text as text. It and the numbers lie in the page
compressed. Everything of a config or a table reaches the page as data, never as HTML.
"""

import base64
import functools
import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from analysis import fourier
from analysis.cells import axes
from analysis.circuits import network
from analysis.phases import LIU_APART, MAX_RATIO, MIN_LOSS, liu_steps, looks, ties
from analysis.pixels import shades, ticks
from analysis.places import MAX_VALUES
from analysis.read import Weights, without_effect
from analysis.steps import steps
from analysis.style import MARKS, SAFE
from analysis.words import definition, loss_unit
from grok_sweep.core.axes import one_panel
from grok_sweep.store import own_finals

CURVE_NUMBERS = 1_150_000  # of all curves in a page; of more a sample
CURVE_STEPS = 400  # and of one
WEIGHT_NUMBERS = 1_000_000  # in a page
SNAPSHOTS = 60  # of one run
ACCURACIES = ("train_accuracy", "eval_accuracy")
MOST_EXACT = 100_000  # runs whose numbers have all their bits, where the page need not compute with them
FINAL_NUMBERS = 1_000_000  # last values of metrics of one's own in a page; of more none
MANTISSA = 12  # bits that are kept of a number that is only drawn: 1 in 8,000 is less than a pixel
NEVER = -1  # stands for a step that there is not


@dataclass
class _Arrays:
    """Arrays one after the other, as the browser gets them: name -> (kind, first byte, length)."""

    places: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    def add(self, name: str, array: np.ndarray) -> None:
        self.data += bytes(-len(self.data) % 8)
        kind = {"f4": "Float32Array", "f8": "Float64Array", "i4": "Int32Array", "u1": "Uint8Array"}
        kind |= {"i2": "Int16Array"}
        flat = np.ascontiguousarray(array).ravel()
        self.places[name] = (kind[flat.dtype.str[1:]], len(self.data), len(flat))
        self.data += flat.astype(flat.dtype.newbyteorder("<")).tobytes()


def page(
    phases: pd.DataFrame,
    curves: pd.DataFrame,
    weights: Iterable[tuple[str, Weights]] = (),
    *,
    title: str,
    folder: str,
    expected: int,
    live: str | None = None,
) -> bytes:
    """The page of the runs in `phases` (see `classify`), with the `curves` of all of them.

    Of many runs a sample of curves is kept, evenly from all cells, so that the page of 100,000 stays under
    10 MB; each further one takes 40 bytes.
    `weights`: of a few runs, until there is no more room. `title` and `folder`: what to call the sweep, and
    where analysis.load_runs finds it. `expected`: how many runs the sweep will have; `live`: the time of
    the page, where the sweep is still running. Raises ValueError where
    there are no runs, or one has no curve.
    """
    if phases.empty:
        raise ValueError("there are no runs to show: the table of phases is empty")
    phases = phases.reset_index(drop=True)
    arrays = _Arrays()
    about: dict[str, Any] = {
        "title": title,
        "folder": folder,
        "expected": expected,
        "live": live,
        "runs": len(phases),
        **_phases(phases),
        "loss_unit": loss_unit(phases),
        "article": {"definition": "pair", "min_loss": MIN_LOSS, "max_ratio": MAX_RATIO},
        "own": {"min_loss": MIN_LOSS, "max_ratio": MAX_RATIO}
        | {key: value for key, value in phases.attrs.items() if key not in ("thresholds", "phases")},
        "liu_apart": LIU_APART,
        "axes": _axes(arrays, phases),
        "start": {"x": "", "y": "", "panel": ""}
        | one_panel({name: phases[name].nunique(dropna=False) for name in axes(phases)}),
        "same": {name: _plain(phases[name].iloc[0]) for name in _constant(phases)},
    }
    about["finals"] = _runs(arrays, phases, curves, here=about["computed"] is not None)
    about["curves"] = _curves(arrays, phases, curves)
    about["weights"] = _weights(arrays, phases, weights)
    about["arrays"] = arrays.places
    return _html(title, about, bytes(arrays.data))


def ended(content: bytes) -> bytes:
    """A page that says no longer that its sweep is running; else as it was."""
    return re.sub(rb'"live": "[0-9T :.+-]*"', b'"live": null', content, count=1)


def _phases(phases: pd.DataFrame) -> dict[str, Any]:
    """The phases that there are, in order, and how they look.

    `computed`: by which definition, where the page cannot compute them itself.
    """
    known = looks(phases)
    own = phases.attrs.get("phases") is not None
    return {
        "phases": list(known),
        "ties": list(ties(phases)),
        "colours": {name: look.colour for name, look in known.items()},
        "outlines": {name: look.edge for name, look in known.items()},
        "shapes": {name: MARKS[look.mark].plotly for name, look in known.items()},
        "shades": {name: look.shade for name, look in known.items() if look.shade in phases},
        "safe": dict(zip(known, SAFE, strict=False)) if len(known) <= len(SAFE) else None,
        "computed": definition(phases) if own else None,
    }


def _axes(arrays: _Arrays, phases: pd.DataFrame) -> list[dict[str, Any]]:
    """What tells the runs apart: name, distinct values in order, and (as an array) which one each run has.

    Another array says which runs it has no effect on, where there are such: a filter by any value keeps them.
    """
    found, off = [], without_effect(phases)
    for name in axes(phases):
        place_R, values = pd.factorize(phases[name], sort=True, use_na_sentinel=False)
        arrays.add(f"axis {name}", place_R.astype(np.int32))
        if name in off:
            arrays.add(f"anywhere {name}", off[name].astype(np.uint8))
        plain = [_plain(value) for value in values]
        found.append({"name": name, "values": plain})
        if len(plain) > MAX_VALUES:
            found[-1]["ticks"] = ticks(plain)
    return found


def _constant(phases: pd.DataFrame) -> list[str]:
    names = list(phases.columns)
    names = names[names.index("seed") + 1 : names.index("min_train_loss")]
    return [name for name in names if name not in axes(phases) and phases[name].nunique(dropna=False) == 1]


def _plain(value: Any) -> Any:
    """A number or text for JSON; None where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _runs(arrays: _Arrays, phases: pd.DataFrame, curves: pd.DataFrame, *, here: bool) -> list[str]:
    """What the page classifies, colours and lists the runs by; `here`: their phases, which it cannot find.

    The columns of the last values of the user's own metrics.
    """
    ids = "".join(phases["run_id"])
    arrays.add("run_id", np.frombuffer(bytes.fromhex(ids), np.uint8))  # 8 bytes each
    arrays.add("seed", phases["seed"].to_numpy(np.float64))
    finals = own_finals(map(str, phases))
    if len(phases) * len(finals) > FINAL_NUMBERS:
        finals = []
    for name in ("min_train_loss", "min_eval_loss", "max_loss_ratio", *finals):
        exact_R = phases[name].to_numpy(np.float64, na_value=np.nan)
        with np.errstate(over="ignore"):  # of float64: then it is not lossless
            short_R = exact_R.astype(np.float32)
        # In the browser the phases must come out as here, so no bit that matters may be lost.
        lossless = np.array_equal(short_R.astype(np.float64), exact_R, equal_nan=True)
        arrays.add(name, short_R if lossless or (here and len(phases) > MOST_EXACT) else exact_R)
    arrays.add("final_eval_accuracy", phases["final_eval_accuracy"].to_numpy(np.float32, na_value=np.nan))
    arrays.add("diverged_step", _whole(phases["diverged_step"]))
    if here:
        places = {name: place for place, name in enumerate(looks(phases))}
        arrays.add("phase", np.array([places[name] for name in phases["phase"]], np.uint8))
        arrays.add("shade", np.rint(255 * shades(phases)).astype(np.uint8))
    for name in () if here else ("liu", "liu_lasting"):
        by_side = zip(("train", "eval"), liu_steps(phases, curves, lasting=name != "liu"), strict=True)
        for side, step_R in by_side:
            arrays.add(f"{name}_{side}", np.where(np.isnan(step_R), NEVER, step_R).astype(np.int32))
    when = steps(phases, curves)
    for name in ("memorize_step", "generalize_step"):
        arrays.add(name, _whole(when[name]))
    return finals


def _whole(step_R: pd.Series) -> np.ndarray:
    return step_R.fillna(NEVER).to_numpy(np.int32)


def _curves(arrays: _Arrays, phases: pd.DataFrame, curves: pd.DataFrame) -> dict[str, Any]:
    """The curves of as many runs as there is room for: of every cell the first so many seeds."""
    run_N = pd.Index(phases["run_id"]).get_indexer(curves["run_id"])  # -1: of no run that is shown
    lengths = np.bincount(run_N[run_N >= 0], minlength=len(phases))
    length_R = np.minimum(lengths, CURVE_STEPS)
    names = axes(phases)
    rank_R = phases.groupby(names, dropna=False).cumcount().to_numpy() if names else np.arange(len(phases))
    # All of the first seeds come before any of the second: what there is room for is spread over the cells.
    spread_R = np.random.default_rng(0).permutation(len(phases))
    order_R = spread_R[np.argsort(rank_R[spread_R], kind="stable")]
    metrics = [name for name in curves if name not in ("run_id", "step")]
    if curves[[*ACCURACIES]].isna().all(axis=None):  # the task has none
        metrics = [name for name in metrics if name not in ACCURACIES]
    points = CURVE_NUMBERS // len(metrics)
    kept_R = np.sort(order_R[np.cumsum(length_R[order_R]) <= points])

    kept_N = np.flatnonzero(np.isin(run_N, kept_R))
    kept_N = kept_N[np.lexsort([curves["step"].to_numpy()[kept_N], run_N[kept_N]])]
    start_K = np.concatenate([[0], np.cumsum(lengths[kept_R])[:-1]])
    of_length = {
        length: np.unique(np.linspace(0, length - 1, CURVE_STEPS).astype(int))
        for length in {*lengths[kept_R]}
    }
    taken = [start + of_length[length] for start, length in zip(start_K, lengths[kept_R], strict=True)]
    row_N = kept_N[np.concatenate(taken)] if taken else np.zeros(0, int)
    arrays.add("curve_run", kept_R.astype(np.int32))
    arrays.add("curve_length", np.array([len(rows) for rows in taken], np.int32))
    arrays.add("curve_step", curves["step"].to_numpy(np.int32)[row_N])
    for name in metrics:
        arrays.add(f"curve {name}", _short(curves[name].to_numpy(np.float32)[row_N]))
    return {"kept": len(kept_R), "thinned": bool((lengths > CURVE_STEPS).any()), "metrics": metrics}


def _short(values_N: np.ndarray) -> np.ndarray:
    """float32 with the last bits zero: half the bytes once compressed. nan and inf stay."""
    cut = np.uint32(23 - MANTISSA)
    bits_N = values_N.view(np.uint32)
    rounded_N = ((bits_N + (np.uint32(1) << (cut - np.uint32(1)))) >> cut << cut).view(np.float32)
    return np.where(np.isfinite(values_N) & np.isfinite(rounded_N), rounded_N, values_N)


def _weights(
    arrays: _Arrays, phases: pd.DataFrame, weights: Iterable[tuple[str, Weights]]
) -> list[dict[str, Any]]:
    """Some snapshots of the weights of some runs, as 16-bit numbers."""
    place = {run_id: i for i, run_id in enumerate(phases["run_id"])}
    found: list[dict[str, Any]] = []
    room = WEIGHT_NUMBERS
    for run_id, of_run in weights:
        run = phases.iloc[place[run_id]]
        if (known := network(run, of_run)) is None:
            continue  # the pictures of the page are of networks that we know how to open
        w_in, w_out = of_run.arrays["w_in"], of_run.arrays["w_out"]
        each = w_in[0].size + w_out[0].size
        count = min(SNAPSHOTS, len(of_run.step_S), room // each)
        if count < 2 or not (np.isfinite(w_in).all() and np.isfinite(w_out).all()):
            continue
        room -= count * each
        chosen = np.unique(np.linspace(0, len(of_run.step_S) - 1, count).astype(int))
        one: dict[str, Any] = {"run": place[run_id], "steps": of_run.step_S[chosen].tolist()}
        one |= {"w_in": list(w_in.shape[1:]), "w_out": list(w_out.shape[1:])}
        for name, array in (("w_in", w_in), ("w_out", w_out)):
            largest = float(np.abs(array[chosen]).max()) or 1.0
            one[f"{name}_largest"] = largest
            arrays.add(f"{name} {len(found)}", np.rint(array[chosen] / largest * 32767).astype(np.int16))
        if known == "addition":
            modulus = int(run["modulus"])
            groups = fourier.groups(w_in[-1], modulus)
            one |= {"modulus": modulus, "groups": [[f, members.tolist()] for f, members in groups.items()]}
        else:
            one["n_parity_bits"] = int(run["n_parity_bits"])
        found.append(one)
    return found


def _html(title: str, about: dict[str, Any], data: bytes) -> bytes:
    def part(name: str) -> str:
        return resources.files("analysis.page").joinpath(name).read_text(encoding="utf-8")

    # In a script nothing but its end tag ends it: no < at all cannot be one.
    text = json.dumps(about, allow_nan=False).replace("<", "\\u003c")
    parts = {
        "STYLE": part("page.css"),
        "SCRIPT": "\n".join(
            part(name) for name in ("data.js", "diagram.js", "opened.js", "table.js", "page.js")
        ),
        "PLOTLY": _plotly(),
        "DATA": _packed(data),
        "ABOUT": text,
        "TITLE": title.replace("&", "&amp;").replace("<", "&lt;"),
    }
    # In one pass: what is put in is not looked through again.
    return re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], part("page.html")).encode()


@functools.cache
def _plotly() -> str:
    return _packed(resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes())


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()
