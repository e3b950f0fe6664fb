"""How much a sweep's file, and the arguments, may ask of YAML, Hydra and OmegaConf.

Aliases and interpolations can make a few lines into more than fits any memory, and the parsers take minutes
over a long text. Every bound is counted before anything is expanded; what is worst within all of them takes
seconds. Each function raises ValueError, of one line.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

MOST_CHARACTERS = 3_000  # of an argument, or a text with ${}: their parsers take seconds for 10,000
MOST_IN_ALL = 10_000  # of all arguments
MOST_BYTES = 200_000  # of a file
MOST_VALUES = 3_000  # of a file, those behind an alias counted each time: OmegaConf copies them
MOST_TEXT = 60_000  # characters of one value: YAML reads 1:1:1... in the square of its length
MOST_DEPTH = 50  # of blocks and lists in one another
MOST_INTERPOLATIONS = 5  # in a file, and in the arguments: a chain of k can copy a value 3 ** (k / 3) times
MOST_DECODED = 300  # characters that oc.decode reads


def file(content: bytes, most_bytes: int = MOST_BYTES, most_values: int = MOST_VALUES) -> str:
    """The text of a file, if it is YAML that can be loaded in little time. Raises YAMLError too."""
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes; split the sweep")
    text = content.decode()
    values = 0
    opened: list[tuple[str | None, int]] = []  # anchor, and values before it
    sizes: dict[str | None, int] = {}  # values behind each anchor
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(event.anchor, 0)  # none: the loader says what is wrong with it
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            sizes[event.anchor] = 1
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MOST_TEXT:
            raise ValueError(f"it has a value of more than {MOST_TEXT:,} characters")
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, values - 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes[anchor] = values - before
        if values > most_values:
            raise ValueError(f"it has more than {most_values:,} values, aliases written out; split the sweep")
        if len(opened) > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
    return text


def arguments(given: list[str]) -> None:
    """The arguments of a command line, all together."""
    if sum(map(len, given)) > MOST_IN_ALL:
        raise ValueError(f"at most {MOST_IN_ALL:,} characters; write longer ones in ./sweeps/NAME.yaml")
    interpolations(given)


def interpolations(plain: Any) -> None:
    """Those in the texts of plain dicts and lists: of one file, or of the arguments."""
    texts = [text for text in _texts(plain) if "${" in text]
    if sum(text.count("${") for text in texts) > MOST_INTERPOLATIONS:
        raise ValueError(f"at most {MOST_INTERPOLATIONS} interpolations ${{...}} can be used; write values")
    if any(len(text) > MOST_CHARACTERS for text in texts):
        raise ValueError(f"a text with an interpolation ${{...}} has at most {MOST_CHARACTERS:,} characters")


def decoded(text: str | None) -> None:
    """What the resolver oc.decode is to read: short, and without interpolations of its own."""
    if text and (len(text) > MOST_DECODED or "$" in text):
        raise ValueError(f"oc.decode reads at most {MOST_DECODED} characters, and no $")


def _texts(plain: Any) -> Iterator[str]:
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, dict | list):
        inner: Iterable[Any] = plain.values() if isinstance(plain, dict) else plain
        for value in inner:
            yield from _texts(value)
