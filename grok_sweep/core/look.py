"""How a phase looks wherever it is drawn: its colour, and its mark, for two colours may be one in print."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# No two phases of one definition have the same.
MARKS = (
    *("square", "triangle", "circle", "cross", "diamond", "pentagon", "star", "plus"),
    *("hexagon", "triangle_down", "triangle_left", "triangle_right"),
)
DARKER = 0.6  # of a colour, for the outline


@dataclass(frozen=True)
class Look:
    """`colour`: "#rrggbb"; `mark`: one of MARKS; `outline`: a colour too, a darker one if it is not given.

    `shade`: a column of runs, such as final_eval_loss: where a cell is a pixel, it is darker the higher its
    runs rank in it, among those of the phase.
    """

    colour: str
    mark: str
    outline: str = ""
    shade: str = ""

    @property
    def edge(self) -> str:
        """The colour of the outline."""
        return self.outline or "#" + "".join(f"{int(DARKER * part):02x}" for part in self.parts)

    @property
    def parts(self) -> list[int]:
        """Red, green and blue of the colour, 0 to 255."""
        return [int(self.colour[k : k + 2], 16) for k in (1, 3, 5)]

    @property
    def brightness(self) -> float:
        """From 0, black, to 1, white, as eyes weigh the three."""
        return sum(w * part / 255 for w, part in zip((0.299, 0.587, 0.114), self.parts, strict=True))


def problem(phases: Any) -> str | None:
    """Why these cannot be the phases of a definition; None where they can."""
    if not isinstance(phases, Mapping) or not 0 < len(phases) <= len(MARKS):
        some = f'1 to {len(MARKS)}, as {{"name": Look("#rrggbb", "circle"), ...}}'
        return f"declares no phases, or more than can be told apart; give {some}"
    for name, look in phases.items():
        if not re.fullmatch("[a-z_]{1,40}", str(name)):
            return f"{repr(name)[:60]} cannot be the name of a phase; use 1 to 40 of a-z and _"
        if not isinstance(look, Look):
            return f'phase {name} must be a Look, such as Look("#7cb9df", "circle"), and is {repr(look)[:60]}'
        for colour in (look.colour, look.outline or look.colour):
            if not re.fullmatch("#[0-9a-fA-F]{6}", str(colour)):
                return f'phase {name} has the colour {repr(colour)[:40]}; give one as "#7cb9df"'
        if look.mark not in MARKS:
            return f"phase {name} has the mark {repr(look.mark)[:40]}; give one of {', '.join(MARKS)}"
    marks = [look.mark for look in phases.values()]
    if twice := [mark for mark in MARKS if marks.count(mark) > 1]:
        return f"has several phases of one mark, {twice[0]}; give each another"
    return None


def to_plain(phases: Mapping[str, Look]) -> dict[str, dict[str, str]]:
    """Phases as a table keeps them beside its rows; without a shade that is none, which came later."""
    plain = {name: asdict(look) for name, look in phases.items()}
    return {name: {key: v for key, v in one.items() if v or key != "shade"} for name, one in plain.items()}


def from_plain(plain: Any) -> dict[str, Look]:
    """Phases as a table has kept them. Raises ValueError where these are none."""
    try:
        phases = {name: Look(**look) for name, look in plain.items()}
    except (AttributeError, TypeError):
        raise ValueError("its phases have no looks") from None
    if why := problem(phases):
        raise ValueError(why)
    return phases
