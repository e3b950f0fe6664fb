"""How much a sweep's file, and the arguments, may ask of YAML, Hydra and OmegaConf.

Aliases can make a few lines into more than fits any memory, and the parsers take minutes over a long text.
Every bound is counted before anything is expanded. Each function raises ValueError, of one line.
"""

import yaml

MOST_CHARACTERS = 3_000  # of an argument: its parser takes seconds for 10,000
MOST_IN_ALL = 10_000  # of all arguments
MOST_BYTES = 1_000_000  # of a file
MOST_VALUES = 20_000  # of a file, those behind an alias counted each time: OmegaConf copies them
MOST_TEXT = 60_000  # characters of one value: YAML reads 1:1:1... in the square of its length
MOST_DEPTH = 50  # of blocks and lists in one another


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
