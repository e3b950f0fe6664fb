"""Which axes a phase diagram has across, up and as panels: one rule for terminal, figure and page."""

from collections.abc import Iterable, Mapping

ACROSS, UP, PANELS = "hidden_size", "train_size", "weight_decay"  # as in the article, where they vary


def chosen(
    counts: Mapping[str, int], x: str | None = None, y: str | None = None, panels: Iterable[str] | None = None
) -> tuple[str | None, str | None, list[str]]:
    """The axes across and up, and those whose combinations are panels; None where there is none to give.

    `counts`: how many values each axis has; x, y and panels: those that are given. Where the article's axis
    does not vary another that does takes its place, the one of most values, which saves most panels; decay
    is best seen as panels, and so last.
    """
    named = {x, y, *(panels or ())}
    free = [name for name in counts if name not in named]
    free.sort(key=lambda name: (name == PANELS, -counts[name]))
    varying = [name for name in free if counts[name] > 1]

    def take(candidates: Iterable[str]) -> str | None:
        name = next((name for name in candidates if name in free), None)
        if name is not None:
            free.remove(name)
        return name

    x = x or take(name for name in varying if name == ACROSS)
    y = y or take(name for name in varying if name == UP)
    x = x or take([*varying, ACROSS])
    y = y or take([*varying, UP])
    if panels is None:
        panels = [name for name in varying if name in free] or [name for name in free if name == PANELS]
    return x, y, list(panels)


def one_panel(counts: Mapping[str, int]) -> dict[str, str]:
    """x, y and panel of a diagram with room for one axis of panels: of those that vary, if there are any."""
    x, y, panels = chosen({name: count for name, count in counts.items() if count > 1})
    panel = PANELS if PANELS in panels else next(iter(panels), None)
    return {role: name for role, name in (("x", x), ("y", y), ("panel", panel)) if name is not None}
