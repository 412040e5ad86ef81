"""Several ways of doing the same, timed turn by turn: a busy machine is unfair to nobody."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

from annlib.engine.benchmark import Timing, seconds_of

WARM_UP_ROUNDS = 2


def race(
    calls: Mapping[str, Callable[[], Any]], device: torch.device, repeat: int
) -> dict[str, Timing]:
    """Times each call once a round, `repeat` rounds after some that do not count."""
    for _ in range(WARM_UP_ROUNDS):
        for call in calls.values():
            call()
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            milliseconds[name].append(1000 * seconds_of(call, device))
    return {
        name: Timing(median(times), min(times), max(times)) for name, times in milliseconds.items()
    }


def speedup(timings: Mapping[str, Timing], name: str, of: str) -> float:
    """How many times faster `name` is than `of`, by their medians."""
    return timings[of].median / timings[name].median
