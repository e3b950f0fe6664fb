"""One HTML file that makes a sweep explorable: no server, no network, nothing beside it.

The page is drawn by plotly.js, from the package plotly: a well-kept library with log axes, heat maps and
subplots that work by mouse and touch, and that draws text as text. It and the numbers lie in the page
compressed. Everything of a config or a table reaches the page as data, never as HTML.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis import fourier
from analysis.arrange import MAX_PANELS, MAX_VALUES
from analysis.cells import axes
from analysis.circuits import network
from analysis.load import Weights, settings, without_effect
from analysis.page.packing import Arrays, ended, packed
from analysis.phases import DEFINITIONS, MAX_RATIO, MIN_LOSS, classify, looks, ties
from analysis.pixels import DARKEST, LIGHTEST, shades, ticks
from analysis.steps import steps
from analysis.style import MARKS, SAFE
from analysis.words import definition, in_words, loss_unit
from grok_sweep.core.axes import ACROSS, one_panel
from grok_sweep.core.look import Look
from grok_sweep.store import own_finals

MOST_PIXELS = 1024  # values of an axis that can go across or up
CURVE_NUMBERS = 1_150_000  # of all curves in a page; of more a sample
CURVE_STEPS = 400  # and of one
WEIGHT_NUMBERS = 1_000_000  # in a page
SNAPSHOTS = 60  # of one run
MANTISSA = 12  # bits that are kept of a number that is only drawn: 1 in 4,000 is less than a pixel
LOSSES = ("min_train_loss", "min_eval_loss", "max_loss_ratio")
STEPS = ("memorize_step", "generalize_step", "grok_delay")
GLYPHS = dict(zip(MARKS, "■▲●✖◆⬟★✚⬢▼◀▶", strict=True))  # of the legend

__all__ = ["ended", "page"]


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
    10 MB; each further one takes 40 bytes, and 4 for each metric of one's own. `weights`: of a few runs,
    until there is no more room. `title` and `folder`: what to call the sweep, and where analysis.load_runs
    finds it. `expected`: how many runs the sweep will have; `live`: the time of the page, where the sweep is
    still running. Raises ValueError where there are no runs, or one has no curve.
    """
    if phases.empty:
        raise ValueError("there are no runs to show: the table of phases is empty")
    phases = phases.reset_index(drop=True)
    arrays: Arrays = {}
    metrics = _metrics(curves)
    counts = {name: phases[name].nunique(dropna=False) for name in axes(phases)}
    varying = [name for name in counts if counts[name] > 1]
    article = {"min_loss": MIN_LOSS, "max_ratio": MAX_RATIO}
    about: dict[str, Any] = {
        "title": title,
        "folder": folder,
        "expected": expected,
        "live": live,
        "runs": len(phases),
        "phases": _looks(phases),
        "ties": [list(looks(phases)).index(name) for name in ties(phases)],
        "definitions": _definitions(arrays, phases, curves if "accuracy" in metrics else None),
        "own": {"definition": "pair"} | article | {str(k): v for k, v in phases.attrs.items()},
        "article": {"definition": "pair", **article},
        "axes": _axes(arrays, phases, varying),
        "start": one_panel({name: count for name, count in counts.items() if count <= MOST_PIXELS}),
        "most": {"x": MOST_PIXELS, "y": MOST_PIXELS, "panel": MAX_PANELS, "cells": MAX_VALUES},
        "same": {name: in_words(phases[name].iloc[0]) for name in settings(phases) if name not in varying},
        "columns": _runs(arrays, phases, curves, varying),
        "metrics": metrics,
        "loss_unit": loss_unit(phases),
        "curves": _curves(arrays, phases, curves, [name for lines in metrics.values() for name, _ in lines]),
        "weights": _weights(arrays, phases, weights),
    }
    return packed(title, about, arrays)


def _looks(phases: pd.DataFrame) -> list[dict[str, Any]]:
    """The phases that there are, in order, and how they look.

    `colours`: its own, and one that all readers tell from the others as far as there are some. Each as light,
    plain and dark: of a pixel by its shade.
    """
    known = looks(phases)
    safe = (*SAFE, *[look.colour for look in known.values()][len(SAFE) :])
    return [
        {
            "name": name,
            "colours": [_shaded(look), _shaded(Look(other, look.mark))],
            "outline": look.edge,
            "shape": MARKS[look.mark].plotly,
            "glyph": GLYPHS[look.mark],
            "shade": look.shade if look.shade in phases else "",
        }
        for (name, look), other in zip(known.items(), safe, strict=False)
    ]


def _shaded(look: Look) -> list[str]:
    light = [part + LIGHTEST * (255 - part) for part in look.parts]
    dark = [part * (1 - DARKEST) for part in look.parts]
    ends = ["#" + "".join(f"{round(part):02x}" for part in parts) for parts in (light, dark)]
    return [ends[0], look.colour, ends[1]]


def _definitions(arrays: Arrays, phases: pd.DataFrame, curves: pd.DataFrame | None) -> dict[str, str]:
    """Name -> what it is called, of the definitions that the page can show.

    By each the phase of every run is an array, but by "pair": the page finds it itself, at any thresholds.
    Without `curves` there is none by accuracies.
    """
    if phases.attrs.get("phases") is not None:  # of the user's own: what it gave is all that is known
        name = phases.attrs["definition"]
        arrays[f"phase {name}"] = phases["phase"].cat.codes.to_numpy(np.uint8)
        return {name: definition(phases)}
    by_accuracy = [name for name in DEFINITIONS if name != "pair" and curves is not None]
    for name in by_accuracy:
        found = classify(phases, definition=name, curves=curves)["phase"]
        arrays[f"phase {name}"] = found.cat.codes.to_numpy(np.uint8)
    return {"pair": "pair: by losses"} | {name: f"{name}: by accuracies" for name in by_accuracy}


def _axes(arrays: Arrays, phases: pd.DataFrame, names: list[str]) -> list[dict[str, Any]]:
    """What tells the runs apart: name, distinct values in order, and (as an array) which one each run has.

    Another array says which runs it has no effect on, where there are such: a filter by any value keeps them.
    As in the article the widest networks come first.
    """
    found, off = [], without_effect(phases)
    for name in names:
        place_R, values = pd.factorize(phases[name], sort=True, use_na_sentinel=False)
        plain = [None if pd.isna(value) else value for value in values.tolist()]
        at, texts = ticks(plain) if len(plain) > MAX_VALUES else ([], [])
        if name == ACROSS:
            last = len(plain) - 1
            place_R, plain, at = last - place_R, plain[::-1], [last - place for place in at]
        arrays[f"axis {name}"] = place_R.astype(np.int32)
        if name in off:
            arrays[f"anywhere {name}"] = off[name].astype(np.uint8)
        found.append({"name": name, "values": plain, "ticks": [at, texts]})
    return found


def _metrics(curves: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """What the curves can show -> (column, what its lines are called) of each kind of line."""
    both = {of: [(f"train_{of}", "train"), (f"eval_{of}", "test")] for of in ("loss", "accuracy")}
    if curves[["train_accuracy", "eval_accuracy"]].isna().all(axis=None):  # the task has none
        del both["accuracy"]
    sided = {f"{side}_{of}" for side in ("train", "eval") for of in ("loss", "accuracy")}
    others = [str(name) for name in curves if name not in {"run_id", "step", *sided}]
    return both | {name: [(name, name)] for name in others}


def _runs(arrays: Arrays, phases: pd.DataFrame, curves: pd.DataFrame, axes: list[str]) -> list[str]:
    """What the page classifies, colours and lists the runs by; the columns of its table that have values."""
    finals = own_finals(map(str, phases))
    table = phases.merge(steps(phases, curves)[["run_id", *STEPS]], on="run_id")
    # In the browser the phases must come out as here, so no bit of what they are of may be lost.
    exact = ["seed", *LOSSES, *STEPS, "diverged_step"]
    arrays |= {name: table[name].to_numpy(np.float64, na_value=np.nan) for name in exact}
    shown = ["final_eval_accuracy", *finals]
    arrays |= {name: table[name].to_numpy(np.float32, na_value=np.nan) for name in shown}
    with np.errstate(divide="ignore"):
        log_R = np.log10(arrays["min_eval_loss"])
    # Of a loss of 0, which has no logarithm, that of the least other one, if there is one.
    least = min(log_R[np.isfinite(log_R)], default=0.0)
    arrays["log_eval_loss"] = _short(np.maximum(log_R, least).astype(np.float32))
    arrays["run_id"] = np.frombuffer("".join(table["run_id"]).encode(), np.uint8)
    arrays["shade"] = np.rint(255 * shades(phases)).astype(np.uint8)
    columns = ["run_id", *axes, "seed", "phase", *LOSSES, *shown, *STEPS, "diverged_step"]
    return [name for name in columns if table[name].notna().any()]


def _curves(arrays: Arrays, phases: pd.DataFrame, curves: pd.DataFrame, metrics: list[str]) -> dict[str, Any]:
    """The curves of as many runs as there is room for: of every cell the first so many seeds."""
    run_N = pd.Index(phases["run_id"]).get_indexer(curves["run_id"])  # -1: of no run that is shown
    logged_R = np.bincount(run_N[run_N >= 0], minlength=len(phases))
    # All of the first seeds come before any of the second: what there is room for is spread over the cells.
    names = axes(phases)
    rank_R = phases.groupby(names, dropna=False).cumcount() if names else phases.index
    order_R = np.lexsort([np.random.default_rng(0).random(len(phases)), rank_R])
    ends_R = np.cumsum(np.minimum(logged_R, CURVE_STEPS)[order_R])
    kept_R = np.zeros(len(phases), bool)
    kept_R[order_R[ends_R <= CURVE_NUMBERS // len(metrics)]] = True

    rows = curves.assign(run=run_N)[(run_N >= 0) & kept_R[run_N]].sort_values(["run", "step"])
    place_N, most_N = rows.groupby("run").cumcount().to_numpy(), logged_R[rows["run"]]
    # Of a long curve evenly so many, its first and its last.
    part_N, before_N = ((place_N - k) * (CURVE_STEPS - 1) // np.maximum(most_N - 1, 1) for k in (0, 1))
    rows = rows[part_N != before_N]
    length_R = np.bincount(rows["run"], minlength=len(phases))
    arrays["curve_start"] = (np.cumsum(length_R) - length_R).astype(np.int32)
    arrays["curve_length"] = length_R.astype(np.int32)
    arrays["curve_step"] = rows["step"].to_numpy(np.int32)
    for name in metrics:
        arrays[f"curve {name}"] = _short(rows[name].to_numpy(np.float32))
    return {"kept": int(kept_R.sum()), "thinned": bool((logged_R > CURVE_STEPS).any())}


def _short(values_N: np.ndarray) -> np.ndarray:
    """float32 with the last bits zero: half the bytes once compressed. nan and inf stay."""
    return (values_N.view(np.uint32) >> (23 - MANTISSA) << (23 - MANTISSA)).view(np.float32)


def _weights(
    arrays: Arrays, phases: pd.DataFrame, weights: Iterable[tuple[str, Weights]]
) -> list[dict[str, Any]]:
    """Some snapshots of the weights of some runs, as 16-bit numbers, their neurons in the order of a picture.

    By frequency and phase; of parity the largest at the last step come first.
    """
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
        chosen_S = np.unique(np.linspace(0, len(of_run.step_S) - 1, count).astype(int))
        if known == "addition":
            modulus = int(run["modulus"])
            groups = fourier.groups(w_in[-1], modulus)
            order_H = np.concatenate([*groups.values()])
            sides = ["a, b"] if len(w_in[0]) == modulus else ["a", "b"]
            inputs = [f"{side} = {row}" for side in sides for row in range(modulus)]
        else:
            modulus, groups, signals = 0, {}, int(run["n_parity_bits"])
            order_H = np.argsort(-np.sum(w_in[-1] ** 2, axis=0))
            inputs = [
                f"{'signal' if row < signals else 'distractor'} {row}" for row in range(len(w_in[0]) - 1)
            ]
            inputs.append("bias")
        one: dict[str, Any] = {
            "run": run_id,
            "steps": of_run.step_S[chosen_S].tolist(),
            "neurons": order_H.tolist(),
            "inputs": inputs,
            "modulus": modulus,
            "groups": [[frequency, len(neuron_H)] for frequency, neuron_H in groups.items()],
        }
        for name, array in (("w_in", w_in[:, :, order_H]), ("w_out", w_out[:, order_H])):
            unit = (float(np.abs(array[chosen_S]).max()) or 1.0) / 32767
            one[name] = {"unit": unit, "end": float(np.abs(array[-1]).max())}
            arrays[f"{name} {run_id}"] = np.rint(array[chosen_S] / unit).astype(np.int16)
        found.append(one)
    return found
