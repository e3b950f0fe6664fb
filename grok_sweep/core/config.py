"""A composed config, as plain dicts and lists, into one frozen `Sweep`: here and nowhere further.

In three steps, each with one ConfigError of all that is wrong: which blocks and parts there are, every key
and value by itself, and what values do not go together (`together`).
"""

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from grok_sweep.core import definitions, registry, spans, uris
from grok_sweep.core.choices import BLOCKS, GROUPS, choices, root
from grok_sweep.core.number import Number
from grok_sweep.core.parts import PartError
from grok_sweep.core.settings import OPTIONS, SEED, SEEDS, SETTINGS
from grok_sweep.core.source import Source
from grok_sweep.core.sweep import Cluster, Refine, Sweep
from grok_sweep.core.together import misfits
from grok_sweep.errors import ConfigError, nearest_of, one_of, shorten, show

REFINED = ("budget", "width")
MISSING = "???"  # what OmegaConf writes for a value that has to be given


def parse(config: Mapping[str, Any], source: Source | None = None) -> Sweep:
    """The Sweep that a composed config describes. Raises ConfigError with every problem of a step at once.

    `source`: the file of parts that the sweep names.
    """
    config = {"refine": {}, **config}
    read = _Reader(config)
    names = _names(read, source)
    own = {group: registry.find(group, names[group], source).numbers for group in BLOCKS}
    thresholds = registry.find("definition", names["definition"], source).numbers
    try:
        numbers = registry.numbers(**{group: names[group] for group in BLOCKS}, source=source)
    except PartError as error:
        raise ConfigError([str(error)]) from None
    _unknown_keys(
        read,
        {
            "": [*(key for key in root() if key != "defaults"), *GROUPS[:-1]],
            **{group: ["name", *own[group]] for group in BLOCKS},
            "grid": list(numbers),
            **{block: list(root()[block]) for block in ("refine", "train")},
            "phases": list({**root()["phases"], **thresholds}),
            "cluster": [field.name for field in fields(Cluster)],
        },
    )
    if read.at("parts", None) != (named := source.name if source else None):
        message = f"is for the sweep's own file to name; it names {named or 'none'}"
        read.wrong("parts", message, read.at("parts", None))
    values = {
        key: read.number(f"{group}.{key}", number, MISSING if number.since is None else number.since)
        for group in BLOCKS
        for key, number in own[group].items()
    }
    axes = {key: _axis(read, key, numbers[key]) for key in config["grid"] if key in numbers}
    every = {**definitions.pair.numbers, **thresholds}  # those of pair are in every config
    phases = {key: read.number(f"phases.{key}", number, number.default) for key, number in every.items()}
    found = {
        **names,
        "values": MappingProxyType(values),
        "axes": MappingProxyType(axes),
        "together": _zip(read),
        "seeds": _seeds(read),
        "repeats": read.setting("repeats", 1),
        **{key: read.setting(f"train.{key}") for key in ("steps", "log_every")},
        **{key: read.setting(f"train.{key}", None) for key in ("batch_size", "snapshot_every")},
        "name": _name(read),
        "out": _out(read),
        "only": _only(read),
        "refine": _refine(read),
        **{key: read.one_of(key, allowed) for key, (allowed, _) in OPTIONS.items()},
        "cluster": _cluster(read),
        "thresholds": MappingProxyType({key: phases[key] for key in thresholds}),
    }
    read.done()
    sweep = Sweep(**found, numbers=MappingProxyType(numbers), source=source)
    for misfit in misfits(sweep):
        read.wrong(*misfit)
    read.done()
    return sweep


class _Reader:
    """The values of a config by their dotted keys. Problems are collected; what cannot be used is None."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.problems: list[str] = []

    def at(self, where: str, default: Any = MISSING) -> Any:
        block, _, key = where.rpartition(".")
        return (self.config[block] if block else self.config).get(key, default)

    def wrong(self, where: str, message: str, value: Any) -> None:
        missing = isinstance(value, str) and value == MISSING
        given = ": is missing; " if missing else f"={show(value)}: "
        self.problems.append(f"{shorten(where)}{given}{message}")

    def number(self, where: str, number: Number, default: Any = MISSING) -> Any:
        """A canonical number, or None where that is the default."""
        value = self.at(where, default)
        if value is None and default is None:
            return None
        if why := number.problem(value):
            self.wrong(where, why, value)
            return None
        return number.canonical(value)

    def setting(self, where: str, default: Any = MISSING) -> Any:
        return self.number(where, SETTINGS[where], default)

    def one_of(self, where: str, options: list[Any]) -> Any:
        value = self.at(where)
        if any(type(value) is type(option) and value == option for option in options):
            return value
        words = [option if isinstance(option, str) else json.dumps(option) for option in options]
        self.wrong(where, one_of(value if isinstance(value, str) else "", words), value)
        return None

    def numbers(self, where: str, values: Sequence[Any], number: Number) -> tuple[Any, ...]:
        """The canonical ones of `values`."""
        if bad := [value for value in values if number.problem(value)]:
            self.wrong(where, str(number.problem(bad[0])), bad if len(bad) > 1 else bad[0])
            return ()
        return tuple(map(number.canonical, values))

    def done(self) -> None:
        """Raises ConfigError where there are problems."""
        if self.problems:
            raise ConfigError(self.problems)


def _names(read: _Reader, source: Source | None) -> dict[str, str]:
    """The chosen task, model, optimizer and definition. Raises ConfigError where one, or a block, is none."""
    for name in (*BLOCKS, "grid", "refine", "train", "phases", "cluster"):
        if not isinstance(read.at(name), Mapping):
            read.wrong(name, "must be a block of key: value", read.at(name))
    read.done()
    names = {group: read.one_of(f"{group}.name", choices(group, source)) for group in BLOCKS}
    names["definition"] = read.one_of("phases.definition", choices("definition", source))
    read.done()
    return names


def _unknown_keys(read: _Reader, known: Mapping[str, Collection[str]]) -> None:
    """Keys that a block (block -> its keys) has not are problems; meant may be one of another block."""
    for block, keys in known.items():
        for key, value in (read.at(block) if block else read.config).items():
            if key in keys:
                continue
            near = nearest_of(str(key), [*keys, *itertools.chain(*known.values())])
            meant = [f"{other}.{near}".lstrip(".") for other in known if near in known[other]]
            hint = f"did you mean {' or '.join(meant)}?" if meant else f"allowed are {', '.join(keys)}"
            read.wrong(f"{block}.{key}".lstrip("."), f"no such key; {hint}", value)


def _axis(read: _Reader, key: str, number: Number) -> tuple[Any, ...]:
    where, given, why = f"grid.{key}", read.at(f"grid.{key}"), ""
    if spans.is_span(given):
        try:
            given = spans.spread(given, number.kind)
        except ValueError as error:
            why = f"; {error}"
    if isinstance(given, list) and given:
        return read.numbers(where, given, number)
    read.wrong(where, f"must be a list [...] of at least one value, each {number.allowed}{why}", given)
    return ()


def _zip(read: _Reader) -> tuple[tuple[str, ...], ...]:
    """Which keys of grid change together."""
    given, grid = read.at("zip", []), read.config["grid"]
    if isinstance(given, list) and all(isinstance(keys, list) and len(keys) > 1 for keys in given):
        named = [key for keys in given for key in keys]
        if all(isinstance(key, str) and key in grid for key in named) and len({*named}) == len(named):
            return tuple(map(tuple, given))
    read.wrong("zip", "must be lists of at least two keys of grid, each once", given)
    return ()


def _seeds(read: _Reader) -> Sequence[Any]:
    given = read.at("seeds")
    if isinstance(given, list) and given:
        return read.numbers("seeds", given, SEED)
    if SEEDS.problem(given):
        message = f"must be a count, {SEEDS.allowed}, or a list of seeds, each {SEED.allowed}"
        read.wrong("seeds", message, given)
        return ()
    return range(given)


def _name(read: _Reader) -> Any:
    name = read.at("name")
    # It becomes a folder's name: nothing in it may lead out of the results folder.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        read.wrong("name", "must be text: 1 to 100 of A-Z a-z 0-9 . _ -, and not begin with . or -", name)
    return name


def _only(read: _Reader) -> str | None:
    value = read.at("only", None)
    if value is not None and not (isinstance(value, str) and value.strip()):
        read.wrong("only", "must be a query such as n_grok > 0 and n_fail > 0, or null", value)
    return value


def _refine(read: _Reader) -> Refine | None:
    on, budget, width = read.at("refine.on", None), *(read.setting(f"refine.{k}", None) for k in REFINED)
    return None if (on, budget, width) == (None, None, None) else Refine(on, budget or 0, width)


def _out(read: _Reader) -> Any:
    out, why = read.at("out"), ""
    if not isinstance(out, str) or not out.strip() or not out.isprintable() or out == MISSING:
        pass
    elif not uris.is_uri(out):
        try:
            return str(Path(out).expanduser())
        except RuntimeError as error:  # ~ of nobody
            why = f"; {error}"
    elif uris.has_secret(out):
        out = f"{out.partition(':')[0]}://..."  # messages and results folders are shown to others
        why = " without key or secret; give those in the environment, as AWS_ACCESS_KEY_ID and so on"
    elif trouble := uris.trouble(out):
        out, why = uris.shown(out), f", or a URI; {trouble}"
    else:
        return out
    read.wrong("out", f"must be text, the path of a folder{why}", out)
    return None


def _cluster(read: _Reader) -> Cluster:
    address = read.at("cluster.address", None)
    if address is not None and not re.fullmatch(r"auto|(ray://)?\S+:\d{1,5}", str(address)):
        read.wrong("cluster.address", "must be HOST:PORT, ray://HOST:PORT or auto", address)
    settings = [key.removeprefix("cluster.") for key in SETTINGS if key.startswith("cluster.")]
    return Cluster(
        executor=read.one_of("cluster.executor", ["auto", "ray", "inline"]),
        device=read.one_of("cluster.device", ["cpu", "gpu", "tpu"]),
        address=address,
        **{key: read.setting(f"cluster.{key}", getattr(Cluster, key, MISSING)) for key in settings},
    )
