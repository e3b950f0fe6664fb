"""What a step costs, read off the text of a program that XLA has compiled, for whichever device."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

LOOP = re.compile(r"body=%([\w.\-]+)")
COMPUTATION = re.compile(r"^(ENTRY )?%([\w.\-]+) .*\{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
UNSAID = 2**63 - 1  # where XLA has no estimate
# What costs nothing by itself: names for what is there, and both ends of a copy that goes on beside others.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "after-all"}
FREE_CALLS = ('custom_call_target="ConcatBitcast"', 'custom_call_target="AllocateBuffer"')


class Instruction(NamedTuple):
    """A line of compiled HLO: `kind` is its operation, `shape` that of the result, with its layout."""

    shape: str
    kind: str
    operands: tuple[str, ...]  # their shapes
    rest: str


class Body(NamedTuple):
    """What one round of a loop costs, the loops in it apart."""

    kernels: int
    bytes: float
    cycles: int  # 0 where XLA does not say


def loops(hlo: str) -> list[Body]:
    """The bodies of the loop nested deepest in an optimized module's text and of those around it, outermost
    first; before them the program itself.
    """
    computations, entry = _computations(hlo)

    def nest(name: str) -> list[str]:
        inner = [nest(body) for one in computations[name] for body in LOOP.findall(one.rest)]
        return [name, *max(inner, key=len, default=[])]

    return [_body(computations[name]) for name in nest(entry)]


def _computations(hlo: str) -> tuple[dict[str, list[Instruction]], str]:
    """(the instructions of each by its name, the name of the first that runs)."""
    found: dict[str, list[Instruction]] = {}
    entry = ""
    shapes: dict[str, str] = {}
    into: list[Instruction] = []
    for line in hlo.splitlines():
        if begins := COMPUTATION.match(line):
            shapes, into = {}, found.setdefault(begins[2], [])
            entry = begins[2] if begins[1] else entry
        elif one := INSTRUCTION.match(line):
            name, shape, kind, rest = one.groups()
            shapes[name] = shape
            used = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
            into.append(Instruction(shape, kind, tuple(shapes[of] for of in used if of in shapes), rest))
    return found, entry


def _body(instructions: Iterable[Instruction]) -> Body:
    kernels, moved, cycles = 0, 0.0, 0
    for one in instructions:
        if one.kind.endswith("-done"):  # a copy between the chip and memory
            moved += size(one.shape, on_chip=True)
        elif not (one.kind in FREE or one.kind.endswith("-start") or any(c in one.rest for c in FREE_CALLS)):
            kernels += one.kind == "fusion" or "[]" not in one.shape.split("{")[0]
            moved += size(one.shape) + sum(map(size, one.operands))
            cycles += estimated(CYCLES.findall(one.rest))
    return Body(kernels, moved, cycles)


def estimated(cycles: Iterable[str]) -> int:
    """The sum of what XLA says, but where it has no estimate."""
    return sum(said for said in map(int, cycles) if said != UNSAID)


def size(shape: str, on_chip: bool = False) -> float:
    """Bytes of an array, or of a tuple of some, padded to the tiles of its layout; not of what has a memory
    space of its own, as S(1) has, unless `on_chip`.
    """
    total = 0.0
    for kind, numbers, order, layout in ARRAY.findall(shape):
        dims = [int(n) for n in numbers.split(",") if n]
        if "S(" in layout and not on_chip:
            continue
        if tile := re.match(r"T\(([\d,]+)\)", layout):
            minor_first = [int(axis) for axis in order.split(",") if axis]
            for axis, of in zip(minor_first, map(int, reversed(tile[1].split(","))), strict=False):
                dims[axis] = -(-dims[axis] // of) * of
        bits = re.search(r"\d+", kind)
        total += math.prod(dims) * (int(bits[0]) / 8 if bits else kind == "pred")
    return total
