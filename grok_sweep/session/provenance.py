"""What a results folder says of its sweep: the config, the versions, the machine, each session."""

import platform
import re
import subprocess
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grok_sweep.core import definitions, registry
from grok_sweep.core.sweep import Sweep
from grok_sweep.errors import shorten
from grok_sweep.store import Store
from grok_sweep.versions import COMPUTE, code, versions
from grok_sweep.worker.environment import RANDOM, cores

SCIENTIFIC = ("name", "task", "model", "optimizer", "train")
# Of a config: which runs it is of, and what those asked for that have no such key yet.
ASKED = ("grid", "zip", "seeds", "task", "model", "optimizer")
ASKED_SINCE = {"only": None, "redo": False, "repeats": 1}
# Keys that came later, and what sweeps did before.
LATER = {"train.snapshot_every": None, "train.batch_size": None}


def record(
    sweep: Sweep, config: Mapping[str, Any], command: str, workers: int, engines: Sequence[str]
) -> dict[str, Any]:
    """The content of sweep.yaml at the start of a session; what it said before is kept."""
    results = Store(sweep.out)
    before = results.sweep() if results.exists() else {}
    earlier = before.get("sessions", [])
    last = earlier[-1].get("session", len(earlier)) if earlier else results.last_session()
    session = {
        "session": last + 1,  # as in the runs table
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "executor": sweep.cluster.executor,
        "workers": workers,
        "engines": [*engines],
        "machine": machine(),
        "python": platform.python_version(),
        "versions": versions(),
        "git_commit": git_commit(),
        "code": code(),
        "float_bits": [*sweep.axes.get("float_bits", [sweep.values["float_bits"]])],
        "random": {k.removeprefix("JAX_").lower(): v for k, v in RANDOM.items()},
    }
    if sweep.refine is not None:
        session["refine"] = sweep.refine.on
    if sweep.source is not None:
        session["parts"] = sweep.source.digest
    if part_versions := _part_versions(sweep):
        session["part_versions"] = part_versions
    config = dict(config)
    if sweep.definition not in definitions.NAMES:  # who reads it has not the file that says their defaults
        config["phases"] = {**config.get("phases", {}), **sweep.thresholds}
    return before | {"config": config, "sessions": [*_with_asked(before, config, sweep), session]}


def refined(stored: Mapping[str, Any], axis: str) -> list[int]:
    """The sessions of a folder, by their numbers, that refined along an axis."""
    sessions = stored.get("sessions", [])
    return [int(session["session"]) for session in sessions if session.get("refine") == axis]


def first_asked(stored: Mapping[str, Any], config: Mapping[str, Any], sweep: Sweep) -> int | None:
    """The first session of a folder, by its number, that asked for the same runs as the config of `sweep`."""
    since = _since(config, sweep)
    for place, session in enumerate(stored.get("sessions", [])):
        then = ASKED_SINCE | session["asked"] if session.get("asked") else {}
        if _asked(stored.get("config", {}) | then, since) == _asked(config, since):
            return int(session.get("session", place + 1))
    return None


def _since(config: Mapping[str, Any], sweep: Sweep) -> dict[str, dict[str, float]]:
    """By group of a config, the hyperparameters that came later, and what runs before them had."""
    since = {key: number.since for key, number in sweep.numbers.items() if number.since is not None}
    groups = {group: config.get(group) or {} for group in registry.KINDS}
    return {group: {key: since[key] for key in keys if key in since} for group, keys in groups.items()}


def _asked(config: Mapping[str, Any], since: Mapping[str, dict[str, float]]) -> dict[str, Any]:
    """Which runs a config is of."""
    asked = ASKED_SINCE | {key: config[key] for key in (*ASKED_SINCE, *ASKED) if key in config}
    return asked | {group: more | asked[group] for group, more in since.items() if more and group in asked}


def _with_asked(before: Mapping[str, Any], config: Mapping[str, Any], sweep: Sweep) -> list[dict[str, Any]]:
    """The sessions so far; where `config` asks for other runs than theirs did, each says for which."""
    since, sessions = _since(config, sweep), before.get("sessions", [])
    asked, now = _asked(before.get("config", {}), since), _asked(config, since)
    if all(now.get(key) == value for key, value in asked.items()):
        return [*sessions]
    return [{"asked": asked, **session} for session in sessions]


def other_code(stored: Mapping[str, Any], sweep: Sweep) -> str | None:
    """What computes a sweep that has changed since its last session, if anything has.

    Two sets of numbers would stand under one id. Sessions of before that was recorded say nothing.
    """
    parts, digest = (sweep.source.name, sweep.source.digest) if sweep.source else ("the file of parts", None)
    for key, what, now in (("code", "the code of grok_sweep", code()), ("parts", parts, digest)):
        told = [session for session in stored.get("sessions", []) if key in session]
        if told and told[-1][key] != now:
            since = f"{what} has changed since the session of {told[-1].get('started')}"
            kept = " (it is in parts/ there)" if key == "parts" else ""
            return f"{since}; put it back{kept}, choose another folder, or say accept_code=true"
    return None


def changes(earlier: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> str | None:
    """What a session computes with that the last to say did not; None: nothing.

    Numbers may then differ, at first in their last digits. What `now` does not say is no change.
    """

    def of(session: Mapping[str, Any]) -> dict[str, str]:
        found = {key: session.get("versions", {}).get(key) for key in COMPUTE}
        found |= {f"random {key}": value for key, value in session.get("random", {}).items()}
        found |= {"machine": session.get("machine")}
        found |= {key: ", ".join(session.get(key, [])) for key in ("engines", "devices")}
        return {key: str(value) for key, value in found.items() if value}

    # Which engines is said since there was a second one.
    said = [{"engines": ["xla"], **session} if "versions" in session else session for session in earlier]
    before = dict(ChainMap(*[of(session) for session in reversed(said)]))
    changed = {key: new for key, new in of(now).items() if before.get(key, new) != new}
    words = [f"{key} {new} (before: {before[key]})" for key, new in changed.items()]
    may = "numbers may differ, at first in their last digits; rows name their session"
    return f"this session has {'; '.join(words)}: {may}" if words else None


def differences(stored: Mapping[str, Any], sweep: Sweep, config: Mapping[str, Any]) -> list[str]:
    """Scientific fields in which a record and a sweep differ, as `key=stored value`; a grid may grow."""
    before, last = stored.get("config", {}), (stored.get("sessions") or [{}])[-1]
    since = _since(config, sweep)
    later = LATER | {f"{group}.{key}": value for group in since for key, value in since[group].items()}
    old = later | _flat(before, last.get("part_versions", {}))
    new = later | _flat(config, _part_versions(sweep))
    axes = {*before.get("grid", {}), *config.get("grid", {})}
    return [
        f"{key}={shorten(str(old.get(key)))} (now {shorten(str(new.get(key)))})"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key.split(".")[-1] not in axes
    ]


def _flat(config: Mapping[str, Any], part_versions: Mapping[str, int]) -> dict[str, Any]:
    flat: dict[str, Any] = {f"version of {kind}": part_versions.get(kind, 1) for kind in registry.KINDS}
    for field in SCIENTIFIC:
        value = config.get(field)
        if isinstance(value, Mapping):
            flat |= {f"{field}.{key}": entry for key, entry in value.items()}
        else:
            flat[field] = value
    return flat


def _part_versions(sweep: Sweep) -> dict[str, int]:
    return registry.versions(sweep.task, sweep.model, sweep.optimizer, sweep.source)


def machine() -> str:
    """The processor, its cores and the system, in words."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):  # not Linux
        if found := re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8")):
            model = found[1]
    return f"{model}, {cores()} cores, {platform.system()}"


def git_commit() -> str | None:
    """The commit of this package's checkout, with + if it was changed since; None where it is none."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
