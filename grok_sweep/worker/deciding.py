"""Training that ends a run when its phase is decided, and gives its lane to one that waits.

In pieces of some segments: after each the definition of phases in force is asked, of the curves so far.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grok_sweep.core import registry
from grok_sweep.core.parts import PartError, Values
from grok_sweep.worker.inputs import arguments
from grok_sweep.worker.summary import summarise

if TYPE_CHECKING:  # it loads jax
    from grok_sweep.core.moment import Rows
    from grok_sweep.core.program import Program

PIECES = 20  # of a run, about: how often it is asked
FREE = -1  # a lane without a run
Curve = dict[str, np.ndarray]  # of one run, by column


@dataclass(frozen=True)
class By:
    """The definition of phases in force, and its thresholds, by which runs are ended."""

    definition: str
    thresholds: Mapping[str, float]

    def decided(
        self, program: "Program", columns: Mapping[str, np.ndarray], curves: list[Curve]
    ) -> np.ndarray:
        """Whether the phase of each run, a row of `columns`, can no longer change.

        Raises PartError where the definition gives something else.
        """
        import pandas as pd  # half a second, that workers without it need not wait

        part = registry.find("definition", self.definition, program.source)
        floor = program.part("task").loss_floor(program.values)
        each = [
            summarise({name: of[None] for name, of in curve.items()}, program.log_every, floor)
            for curve in curves
        ]
        found = {name: np.ma.concatenate([one[name] for one in each]) for name in each[0]}
        diverged = [None if step is np.ma.masked else int(step) for step in found.pop("diverged_step")]
        runs = pd.DataFrame({**columns, **found, "diverged_step": pd.array(diverged, "Int64")})
        given = np.asarray(part.decided(runs, Values(self.thresholds)))
        if given.shape != (len(runs),) or given.dtype != bool:
            what = f"{given.dtype} of shape {given.shape}; of {len(runs)} runs give as many bool"
            raise PartError(f"definition {self.definition}: decided gives {what}")
        return given


def train_until_decided(
    program: "Program",
    columns: Mapping[str, np.ndarray],
    rows: Iterator[tuple[int, "Rows"]],
    by: By,
    functions_of: Callable[["Program"], Any],
) -> tuple[dict[int, Curve], float]:
    """(the curve of each run by its place in `columns`, the seconds of training, compilation apart)."""
    lanes = _Lanes(program, columns, functions_of)
    while True:
        waiting = lanes.fill(rows)
        if not lanes.busy:
            return lanes.ended, lanes.seconds
        if not waiting:
            lanes.narrow()
        lanes.go_on()
        over = [lane for lane in lanes.busy if len(lanes.pieces[lane]) == lanes.most]
        asked = [lane for lane in lanes.busy if lane not in over]
        if asked:
            of_runs = {name: column[[lanes.runs[lane] for lane in asked]] for name, column in columns.items()}
            decided = by.decided(program, of_runs, [_joined(lanes.pieces[lane]) for lane in asked])
            over += itertools.compress(asked, decided)
        if over:
            lanes.end(over)


class _Lanes:
    """The lanes of a program: which run is in each, what the device holds of it, and what was logged."""

    def __init__(
        self,
        program: "Program",
        columns: Mapping[str, np.ndarray],
        functions_of: Callable[["Program"], Any],
    ) -> None:
        self.program, self.columns, self.functions_of = program, columns, functions_of
        segments = program.steps // program.log_every
        self.segments = next(n for n in range(max(1, segments // PIECES), 0, -1) if segments % n == 0)
        self.most = segments // self.segments  # pieces of a run
        self.runs = [FREE] * program.lanes
        self.pieces: list[list[Curve]] = [[] for _ in self.runs]
        self.held: Any = None  # (hparams, State, Rows)
        self.ended: dict[int, Curve] = {}
        self.seconds = self.of_a_piece = self.compiling = 0.0

    @property
    def busy(self) -> list[int]:
        """The lanes that have a run."""
        return [lane for lane, run in enumerate(self.runs) if run != FREE]

    def fill(self, rows: Iterator[tuple[int, "Rows"]]) -> bool:
        """Give the free lanes to runs that wait; whether there were enough of them."""
        free = [lane for lane, run in enumerate(self.runs) if run == FREE]
        new = dict(itertools.islice(rows, len(free)))
        if new:
            inputs = arguments(self.program, self.columns, new, self.functions_of(self.program).init)
            begin = self._compiled(inputs)[0]
            fresh = (inputs[0], begin(*inputs), inputs[2])
            from_L = np.arange(len(self.runs))
            for i, (lane, run) in enumerate(zip(free, new, strict=False)):
                from_L[lane], self.runs[lane], self.pieces[lane] = len(self.runs) + i, run, []
            self.held = fresh if self.held is None else _picked(from_L, self.held, fresh)
        return len(new) == len(free)

    def narrow(self) -> None:
        """To half the lanes, or a quarter, ..., where that costs less than it saves."""
        busy = self.busy
        lanes = 1 << (len(busy) - 1).bit_length()
        left = self.most - min(len(self.pieces[lane]) for lane in busy)
        saved = left * self.of_a_piece * (1 - lanes / len(self.runs))
        if lanes >= len(self.runs) or saved <= self.compiling:
            return
        chosen = busy + busy[-1:] * (lanes - len(busy))  # those that are over repeat the last
        self.held = _picked(np.array(chosen), self.held)
        self.runs = [self.runs[lane] for lane in busy] + [FREE] * (lanes - len(busy))
        self.pieces = [self.pieces[lane] for lane in chosen]
        self.program = replace(self.program, lanes=lanes)

    def go_on(self) -> None:
        """All of them by a piece."""
        import jax

        hparams, state, of_rows = self.held
        go_on = self._compiled((hparams, state.params, of_rows))[1]
        started = time.perf_counter()
        state, logged = go_on(hparams, state, of_rows)
        for lane, curve in zip(self.busy, self._curves(logged), strict=True):
            self.pieces[lane].append(curve)
        self.held = hparams, jax.block_until_ready(state), of_rows
        self.of_a_piece = time.perf_counter() - started
        self.seconds += self.of_a_piece

    def end(self, over: list[int]) -> None:
        """The runs of these lanes, with what is logged last."""
        hparams, state, of_rows = self.held
        end = self._compiled((hparams, state.params, of_rows))[2]
        for lane, curve in zip(self.busy, self._curves(end(hparams, state, of_rows)), strict=True):
            if lane in over:
                self.ended[self.runs[lane]] = _joined([*self.pieces[lane], curve])
                self.runs[lane] = FREE

    def _compiled(self, inputs: Any) -> tuple[Callable[..., Any], ...]:
        started = time.perf_counter()
        of_lanes = self.functions_of(self.program)
        functions: tuple[Callable[..., Any], ...] = of_lanes.pieces(self.segments, *inputs)
        self.compiling = max(self.compiling, time.perf_counter() - started)
        return functions

    def _curves(self, logged: Any) -> list[Curve]:
        """Of each busy lane, from (metrics, own) of all."""
        import jax

        metrics, own = jax.device_get(logged)
        columns = metrics._asdict() | own
        return [{name: np.atleast_1d(a[lane]) for name, a in columns.items()} for lane in self.busy]


def _joined(pieces: list[Curve]) -> Curve:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _picked(from_L: np.ndarray, *trees: Any) -> Any:
    """Of the lanes of all trees together those at `from_L`."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[from_L], *trees)
