"""sweep.yaml: what a results folder says of its sweep."""

from typing import Any

import yaml

from grok_sweep import limits

MOST_BYTES, MOST_VALUES = 10_000_000, 300_000  # a large grid, thousands of sessions; 20 s to load


def parse(content: bytes) -> dict[str, Any]:
    """What it says. Raises ValueError, with a line for people, where it is damaged."""
    try:
        return _record(content)
    except (ValueError, yaml.YAMLError) as error:
        why = str(error).partition("\n")[0].partition(";")[0][:200]
    except Exception:  # YAML raises all kinds at values that it cannot make
        why = "it has a value that is none"
    raise ValueError(why)


def _record(content: bytes) -> dict[str, Any]:
    """What sweep.yaml says. Raises whatever shows that it is damaged."""
    sweep = yaml.safe_load(limits.file(content, MOST_BYTES, MOST_VALUES))
    config = sweep.get("config") if isinstance(sweep, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("grid", {}), dict):
        raise ValueError("not the record of a sweep")
    if not isinstance(sweep.get("sessions", []), list):
        raise ValueError("its sessions are not a list")
    return dict(sweep)
