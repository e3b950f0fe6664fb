"""relu(x W) w of rows of small whole numbers, and its gradient, as two Pallas kernels for a GPU.

XLA writes the hidden layer of all rows to memory and reads it again; here a tile of rows goes through at
once, forward and backward.

The products are on the tensor cores, without rounding: x and [x W > 0] are bfloat16 exactly, and the other
factor is the sum of three bfloat16 `pieces`. Their sums are in float32.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from grok_sweep.core.engines.pieces import pieces, product
from grok_sweep.core.engines.relu import Relu
from grok_sweep.core.models import Params
from grok_sweep.core.program import Program

LEAST = 16  # rows and columns of a product on the tensor cores
Refs = Any
Columns = tuple[tuple[int, int], ...]  # the hidden layer in parts, each (begin, neurons): powers of two


class Tiles(NamedTuple):
    """How the rows of a lane go through: `rows` by at most `neurons` at once; in `splits` parts, each with a
    block of threads of that many warps.
    """

    rows: int
    neurons: int
    warps: int
    splits: int = 4


# The fastest tried on an H100 (225 lanes, 1750 rows) with 16, 32, 64, 128 and 258 neurons; each is for all up
# to the key. A step took 36, 45, 64, 108 and 243 microseconds, XLA's 140, 205, 289, 562 and 1208.
TILES = {
    16: Tiles(rows=64, neurons=16, warps=2),
    32: Tiles(rows=32, neurons=32, warps=1),
    64: Tiles(rows=32, neurons=64, warps=1),
    128: Tiles(rows=16, neurons=128, warps=1),
    512: Tiles(rows=32, neurons=256, warps=4),
}


class ReluGpu(Relu):
    """See `engines`. Of what `relu` knows; `interpret`: on a CPU, by jax's interpreter, for tests."""

    def __init__(self, program: Program, losses: Callable[..., jax.Array], interpret: bool = False) -> None:
        super().__init__(program, losses)
        self.interpret = interpret
        self.padded = max(LEAST, 2 ** math.ceil(math.log2(self.features)))
        self.tiles = next(tiles for most, tiles in TILES.items() if self.hidden <= most)
        self.columns = _columns(self.hidden, self.tiles.neurons)
        self.more = sum(neurons for _, neurons in self.columns) - self.hidden

    def inputs(self, x_ND: jax.Array) -> jax.Array:
        """In bfloat16, which holds whole numbers up to 256; with zeros to a power of two of features."""
        x_ND = x_ND.astype(jnp.bfloat16)
        return jnp.pad(x_ND, ((0, 0), (0, self.padded - self.features)))

    def outputs(self, params: Params, x_ND: jax.Array) -> jax.Array:
        """Of each row."""
        shape = jax.ShapeDtypeStruct((len(x_ND),), jnp.float32)
        return self._call(_outputs, params, x_ND, shape=shape)

    def gradient(self, params: Params, x_ND: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> Params:
        """Of the sum of the rows' losses, each times its weight."""
        sizes = (self.tiles.splits, self.hidden + self.more, self.padded)
        shape = jax.ShapeDtypeStruct(sizes, jnp.float32)
        kernel = functools.partial(_gradient, slope=self.slope)
        g_HD = self._call(kernel, params, x_ND, y_N, weight_N, shape=shape).sum(axis=0)
        return self.gradient_of(params, g_HD[: self.hidden, : self.features].T)

    def _call(
        self, kernel: Callable[..., None], params: Params, *of_rows: jax.Array, shape: jax.ShapeDtypeStruct
    ) -> jax.Array:
        """`kernel` over the rows: a block of threads for each of the splits of each lane."""
        tiles, rows = self.tiles, len(of_rows[0])
        w_in_DH, w_out_H = self.weights(params)
        w_in_HD = jnp.pad(w_in_DH, ((0, self.padded - self.features), (0, self.more))).T
        call = pl.pallas_call(
            functools.partial(kernel, columns=self.columns, tiles=tiles),
            grid=(tiles.splits,),
            out_shape=shape,
            interpret=self.interpret,
            compiler_params=None if self.interpret else triton.CompilerParams(num_warps=tiles.warps),
            name=f"relu_{rows}x{self.hidden}",
        )
        return call(*of_rows, jnp.pad(w_out_H, (0, self.more)), *pieces(w_in_HD))


def _gradient(
    x_ref: Refs,
    y_ref: Refs,
    weight_ref: Refs,
    w_out_ref: Refs,
    *refs: Refs,
    slope: Callable[..., jax.Array],
    columns: Columns,
    tiles: Tiles,
) -> None:
    """G of a split of the rows, (H, D)."""
    *w_in_refs, g_ref = refs
    split = pl.program_id(0)
    first = split * _count(x_ref, tiles)

    def tile(i: Any, g_HD: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        x_ND, y_N, weight_N = (_rows(ref, first + i, tiles) for ref in (x_ref, y_ref, weight_ref))
        z_N, on_HN = _forward(x_ND, w_out_ref, w_in_refs, columns)
        xdz_ND = pieces(x_ND.astype(jnp.float32) * slope(z_N, y_N, weight_N)[:, None])
        return tuple(
            g + _sum(product(on, piece) for piece in xdz_ND) for on, g in zip(on_HN, g_HD, strict=True)
        )

    g_HD = tuple(jnp.zeros((neurons, x_ref.shape[1]), jnp.float32) for _, neurons in columns)
    g_HD = jax.lax.fori_loop(0, _count(x_ref, tiles), tile, g_HD)
    for (begin, neurons), g in zip(columns, g_HD, strict=True):
        g_ref[split, begin : begin + neurons, :] = g


def _outputs(x_ref: Refs, w_out_ref: Refs, *refs: Refs, columns: Columns, tiles: Tiles) -> None:
    """The outputs of a split of the rows, (N,)."""
    *w_in_refs, z_ref = refs
    first = pl.program_id(0) * _count(x_ref, tiles)

    def tile(i: Any, done: int) -> int:
        z_N, _ = _forward(_rows(x_ref, first + i, tiles), w_out_ref, w_in_refs, columns)
        begin, there_N = _place(x_ref, first + i, tiles)
        triton.store(z_ref.at[pl.ds(begin, tiles.rows)], z_N, mask=there_N)
        return done

    jax.lax.fori_loop(0, _count(x_ref, tiles), tile, 0)


def _forward(
    x_ND: jax.Array, w_out_ref: Refs, w_in_refs: Refs, columns: Columns
) -> tuple[jax.Array, list[Any]]:
    """(output of each row, whether each neuron is on as bfloat16) of a tile."""
    z_N = jnp.zeros(len(x_ND), jnp.float32)
    on_HN = []
    for begin, neurons in columns:
        part = slice(begin, begin + neurons)
        h_HN = _sum(product(ref[part, :], x_ND.T) for ref in w_in_refs)
        z_N += jnp.sum(jnp.maximum(h_HN, 0) * w_out_ref[part][:, None], axis=0)
        on_HN.append((h_HN > 0).astype(jnp.bfloat16))
    return z_N, on_HN


def _count(x_ref: Refs, tiles: Tiles) -> int:
    """Tiles of a split."""
    return -(-x_ref.shape[0] // (tiles.rows * tiles.splits))


def _place(ref: Refs, i: Any, tiles: Tiles) -> tuple[Any, jax.Array]:
    """Where tile i of all begins, and which of its rows there are."""
    begin = i * tiles.rows
    return begin, begin + jnp.arange(tiles.rows) < ref.shape[0]


def _rows(ref: Refs, i: Any, tiles: Tiles) -> jax.Array:
    """Tile i of all; 0 where there are no more rows."""
    begin, there_N = _place(ref, i, tiles)
    if len(ref.shape) == 1:
        return triton.load(ref.at[pl.ds(begin, tiles.rows)], mask=there_N, other=0)
    mask = jnp.broadcast_to(there_N[:, None], (tiles.rows, ref.shape[1]))
    return triton.load(ref.at[pl.ds(begin, tiles.rows), :], mask=mask, other=0)


def _sum(parts: Iterable[jax.Array]) -> jax.Array:
    """Of the small ones first."""
    return functools.reduce(jnp.add, [*parts][::-1])


def _columns(hidden: int, most: int) -> Columns:
    """The neurons in powers of two of at most `most`, and at least LEAST; those that are too many are 0."""
    begin, left = 0, -(-hidden // LEAST) * LEAST
    found = []
    while left:
        neurons = min(most, 2 ** int(math.log2(left)))
        found.append((begin, neurons))
        begin, left = begin + neurons, left - neurons
    return tuple(found)
