"""What a results folder says of its sweep: the config, the versions, the machine, each session."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
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
# Keys that came later, and what sweeps did before.
LATER = {"train.snapshot_every": None, "train.batch_size": None, "model.float_bits": 32}


def record(sweep: Sweep, config: Mapping[str, Any], command: str, workers: int) -> dict[str, Any]:
    """The content of sweep.yaml at the start of a session; what it said before is kept."""
    results = Store(sweep.out)
    before = results.sweep() if results.exists() else {}
    earlier = before.get("sessions", [])
    session = {
        "session": len(earlier) + 1,  # as in the runs table
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "workers": workers,
        "machine": machine(),
        "python": platform.python_version(),
        "versions": versions(),
        "git_commit": git_commit(),
        "code": code(),
        "float_bits": [*sweep.axes.get("float_bits", [sweep.values["float_bits"]])],
        "random": {k.removeprefix("JAX_").lower(): v for k, v in RANDOM.items()},
    }
    if sweep.source is not None:
        session["parts"] = sweep.source.digest
    if versions_now := registry.versions(sweep.task, sweep.model, sweep.optimizer, sweep.source):
        session["part_versions"] = versions_now
    config = dict(config)
    if (
        sweep.definition not in definitions.NAMES
    ):  # whoever reads it has not the file that says their defaults
        config["phases"] = {**config.get("phases", {}), **sweep.thresholds}
    return before | {"config": config, "sessions": [*earlier, session]}


def other_code(stored: Mapping[str, Any], sweep: Sweep) -> str | None:
    """Why a sweep cannot go on: what computes it has changed since an earlier session; None where it can.

    Two sets of numbers would stand under one id. Sessions of before that was recorded say nothing.
    """
    sessions = [s for s in stored.get("sessions", []) if isinstance(s, Mapping)]
    ours = registry.versions(sweep.task, sweep.model, sweep.optimizer, sweep.source)
    theirs = sessions[-1].get("part_versions", {}) if sessions else ours
    for kind in [kind for kind in registry.KINDS if theirs.get(kind, 1) != ours.get(kind, 1)]:
        are = f"holds runs of version {theirs.get(kind, 1)} of {kind} {getattr(sweep, kind)}"
        return f"{are}, which is now at {ours.get(kind, 1)}; choose another folder"
    if sweep.accept_code:
        return None
    now = {"code": code(), "parts": sweep.source.digest if sweep.source else None}
    what = {
        "code": "the code of grok_sweep",
        "parts": sweep.source.name if sweep.source else "the file of parts",
    }
    for key, value in now.items():
        told = [session for session in sessions if key in session]
        if told and told[-1][key] != value:
            since = f"{what[key]} has changed since the session of {told[-1].get('started')}"
            kept = " (it is in parts/ there)" if key == "parts" else ""
            return f"{since}; put it back{kept}, choose another folder, or say accept_code=true"
    return None


def changes(earlier: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> str | None:
    """What a session computes with that the last to say did not; None: nothing.

    Numbers may then differ in their last digits. What `now` does not say is no change.
    """

    def of(session: Mapping[str, Any]) -> dict[str, str]:
        found = {key: session.get("versions", {}).get(key) for key in COMPUTE}
        found |= {f"random {key}": value for key, value in session.get("random", {}).items()}
        found |= {"machine": session.get("machine"), "devices": ", ".join(session.get("devices", []))}
        return {key: str(value) for key, value in found.items() if value}

    before: dict[str, str] = {}
    for session in earlier:
        before |= of(session)
    words = [
        f"{key} {new} (before: {before[key]})" for key, new in of(now).items() if before.get(key, new) != new
    ]
    if not words:
        return None
    may = "numbers may differ in their last digits; rows name their session"
    return f"this session has {'; '.join(words)}: {may}"


def differences(stored: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Scientific fields in which two configs differ, as `key=stored value`; a grid may grow."""
    old, new = LATER | _flat(stored), LATER | _flat(config)
    axes = {*stored.get("grid", {}), *config.get("grid", {})}
    return [
        f"{key}={shorten(str(old.get(key)))} (now {shorten(str(new.get(key)))})"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key.split(".")[-1] not in axes
    ]


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for field in SCIENTIFIC:
        value = config.get(field)
        if isinstance(value, Mapping):
            flat |= {f"{field}.{key}": entry for key, entry in value.items()}
        else:
            flat[field] = value
    return flat


def machine() -> str:
    """The processor, its cores and the system, in words."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux
    return f"{model}, {cores()} cores, {platform.system()}"


def git_commit() -> str | None:
    """The commit of this package's checkout, with + if it was changed since; None where it is none."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "grok_sweep/session/provenance.py") is None:
        return None
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{git('rev-parse', 'HEAD')}{'+' if changed else ''}"
