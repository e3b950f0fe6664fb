"""A program's functions as a worker calls them: initial weights of one run, and the training of all lanes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp

from grok_sweep.core.engines import EngineError
from grok_sweep.core.models import Params
from grok_sweep.core.moment import Trained
from grok_sweep.core.program import Program
from grok_sweep.core.train import make_pieces, make_train


def make_init(program: Program) -> Callable[[jax.Array, Mapping[str, jax.Array]], Params]:
    """init(seed, hparams) -> a run's initial weights, float32, jitted for one run and never vmapped.

    `hparams`: the model's own traced hyperparameters. So the weights are bitwise those of the same run in any
    other shard. Drawn in float32 for a run in float64 too.
    """
    shape, kind = program.row

    def init(seed: jax.Array, hparams: Mapping[str, Any]) -> Params:
        model = program.network(program.h(hparams))
        # Weights depend on the shape of a row, not on how many there are.
        x = model.inputs(jnp.zeros((1, *shape), kind), jnp.float32)
        return model.init(jax.random.key(seed), x)

    jitted = jax.jit(init)

    def in_float32(seed: jax.Array, hparams: Mapping[str, Any]) -> Params:
        with jax.enable_x64(False):
            return jitted(seed, dict(hparams))

    return in_float32


class Compiled:
    """A program's two functions, each compiled at most once in a process.

    `init(seed, hparams)` gives the weights of one run; `train_for(*arguments)` the executable that takes
    hparams, params and rows with a leading lane axis L and gives Trained with the same.
    """

    def __init__(self, program: Program) -> None:
        self.program, self.init = program, _init(_any_rows(program))
        self._train = _lanes(make_train(program), program.lanes)
        self._executable: Callable[..., Trained] | None = None
        self._pieces: tuple[Callable[..., Any], ...] | None = None
        self._lock = Lock()

    def train_for(self, *arguments: Any) -> Callable[..., Trained]:
        """The compiled program. Ahead of its first call, so that compiling is not counted as training.

        Raises EngineError where the native engine cannot compute it on this device.
        """
        with self._lock, _by_engine(self.program):  # it may be compiled just now, while another trains
            if self._executable is None:
                self._executable = self._train.lower(*arguments).compile()
        return self._executable

    def pieces(self, segments: int, *arguments: Any) -> tuple[Callable[..., Any], ...]:
        """`train.make_pieces` of all lanes, compiled for these arguments of the first.

        Raises EngineError as `train_for`.
        """
        if self._pieces is None:
            begin, *others = (
                _lanes(piece, self.program.lanes) for piece in make_pieces(self.program, segments)
            )
            hparams, _, rows = arguments
            with _by_engine(self.program):
                state = jax.eval_shape(begin, *arguments)
                compiled = (other.lower(hparams, state, rows).compile() for other in others)
                self._pieces = (begin.lower(*arguments).compile(), *compiled)
        return self._pieces


@contextmanager
def _by_engine(program: Program) -> Iterator[None]:
    """Whatever goes wrong while a kernel for another device than a CPU is compiled is an EngineError.

    The device may have too little shared memory for it, or be too old, or jax lack what it is written in.
    Where a user's part is to blame, that goes wrong by XLA too, and is told then.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if program.engine == "xla" or program.device == "cpu":
            raise
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        device = jax.devices()[0].device_kind
        raise EngineError(f"the kernel for {program.model} does not compile for {device}: {why}") from error


@lru_cache(maxsize=1024)
def compiled(program: Program) -> Compiled:
    """The program's functions, kept for its other shards."""
    return Compiled(program)


_init = lru_cache(maxsize=1024)(make_init)


def _any_rows(program: Program) -> Program:
    """One of the same initial weights, for all that differ in their rows, in how many train, or where."""
    where = replace(program, given_row=program.row, lanes=1, engine="xla", device="cpu")
    return replace(where, rows=1, test_rows=1, blocks=1, batch_size=0, log_every=1, snapshot_every=0)


def _lanes(train: Callable[..., Any], lanes: int) -> Any:
    """`train` over a leading lane axis, jitted. One lane is not vmapped: on a CPU that is faster."""
    if lanes > 1:
        return jax.jit(jax.vmap(train))

    def only(*arguments: Any) -> Any:
        return jax.tree.map(lambda a: a[None], train(*jax.tree.map(lambda a_L: a_L[0], arguments)))

    return jax.jit(only)
