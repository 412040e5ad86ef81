"""The settings of a run as JSON, and what differs between those of two."""

import json
import platform
from typing import Any

import torch


def settings(experiment: dict[str, Any], classes: dict[str, Any]) -> dict[str, Any]:
    """What must stay the same for a run to go on. The data may have moved to another folder."""
    return experiment | {"class_names": classes["class_names"]}


def to_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """The same values as they come back from a file: tuples are lists."""
    return json.loads(json.dumps(values))


def differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings that differ, with both values."""
    found = []
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, is {new}")
    return sorted(found)


def versions() -> dict[str, str]:
    """What a result may depend on besides the settings."""
    return {"python": platform.python_version(), "torch": torch.__version__}
