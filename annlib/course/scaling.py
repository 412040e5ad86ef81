"""Time of attention on this machine: predicted by operations, measured where that is soon done."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

import torch

from annlib.course.bills import FLOAT32, WIDER, Setting, bills
from annlib.engine.benchmark import Timing, seconds_of
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.seeds import seeded
from annlib.speed.attentions import NONLOCAL, PLAIN, OfOneMap
from annlib.speed.calls import inference, layout, placed
from annlib.speed.forms import Conditions, full_float32, gib

TIMED = (PLAIN, NONLOCAL)
SMALL = Setting((16, 24), 256, (1, 3, 6, 8))  # where the speed is measured
SECONDS = 3.0  # that a measurement may take
AFFORDED = 2.0  # the same by what a quarter of the map lets expect: it may fit into a cache
MOST_ROUNDS = 5
GROWTH = {PLAIN: 4, NONLOCAL: 16}  # with twice the sides, at most: linear, and quadratic in N

Key = tuple[str, Setting]
Call = Callable[[], Any]


class Times(NamedTuple):
    """What is known about time on this machine."""

    speed: float  # operations a second of the non-local block on the SMALL map
    timings: Mapping[Key, Timing] = {}
    refused: Mapping[Key, str] = {}  # why what was asked for took too long to be measured

    def points(self, name: str, setting: Setting) -> list[tuple[int, Timing]]:
        """(N, timing) of all maps that were measured and differ from this one in size alone."""
        return [
            (other.positions, timing)
            for (form, other), timing in self.timings.items()
            if (form, other._replace(size=setting.size)) == key(name, setting)
        ]


def key(name: str, setting: Setting) -> Key:
    """Of all that the time of a form depends on: in the non-local block there are no anchors."""
    return name, setting if name == PLAIN else setting._replace(grids=())


def predicted(name: str, setting: Setting, speed: float) -> float:
    """Seconds of a call, if operations were all: operations / speed."""
    found = bills(setting.positions, setting.anchors, setting.channels)
    return found[name].operations / speed


def refusal(name: str, setting: Setting, speed: float, memory: float) -> str | None:
    """Why a form is not to be measured, None if it may be.

    memory: bytes that are free here
    """
    seconds = predicted(name, setting, speed)
    if seconds > SECONDS:
        return f"that is more than the {SECONDS:.0f} s which 'Measure here' may take"
    the_map = FLOAT32 * WIDER * setting.channels * setting.positions
    found = bills(setting.positions, setting.anchors, setting.channels)
    # The map is there twice for a moment, when its memory layout is changed.
    needed = max(the_map + found[name].num_bytes, 2 * the_map)
    if needed > memory:
        return f"it needs {gib(needed)} with its map, and {gib(memory)} are free here"
    return None


def timed(times: Times | None, setting: Setting, memory: float, device: torch.device) -> Times:
    """Adds what a measurement at this setting shows; the first one finds the speed before.

    Each form is first called on a quarter of the map. A form that may then take longer than what
    is left of AFFORDED is not called on the whole.
    """
    started = time.perf_counter()
    with full_float32(), seeded("timing here", device=device):
        times = times or Times(speed_here(device))
        may = [name for name in TIMED if refusal(name, setting, times.speed, memory) is None]
        if not may:
            return times
        quarter = setting._replace(size=(setting.size[0] // 2, setting.size[1] // 2))
        began = time.perf_counter()
        rough = calls(quarter, may, device)
        expected = 4 * (time.perf_counter() - began)  # to prepare the whole
        accepted, refused = [], {}
        for name, call in rough:
            seconds = rough_seconds(call, device)
            longest = GROWTH[name] * seconds
            if time.perf_counter() - started + expected + longest > AFFORDED:
                refused[key(name, setting)] = (
                    f"a quarter of the map took {said_seconds(seconds)}, so the whole may take "
                    f"{said_seconds(longest)}, longer than 'Measure here' may block"
                )
            else:
                accepted, expected = [*accepted, name], expected + longest
        whole = dict(calls(setting, accepted, device)) if accepted else {}
        found = in_turn(whole, device, started + SECONDS / 2)
    timings = {key(name, setting): timing for name, timing in found.items()}
    kept = {one: why for one, why in times.refused.items() if one not in timings}
    return Times(times.speed, {**times.timings, **timings}, kept | refused)


def rough_seconds(call: Call, device: torch.device) -> float:
    """Of the fastest of a few calls: the first one, and one that is disturbed, promise too much."""
    seconds = [seconds_of(call, device)]
    while len(seconds) < 3 and sum(seconds) < SECONDS / 10:
        seconds.append(seconds_of(call, device))
    return min(seconds)


def speed_here(device: torch.device) -> float:
    """Operations a second."""
    ((_, call),) = calls(SMALL, [NONLOCAL], device)
    timing = in_turn({NONLOCAL: call}, device, time.perf_counter() + SECONDS / 6)[NONLOCAL]
    found = bills(SMALL.positions, SMALL.anchors, SMALL.channels)
    # The fastest call: whatever else runs on the machine can only make a call slower.
    return 1000 * found[NONLOCAL].operations / timing.fastest


def calls(setting: Setting, names: list[str], device: torch.device) -> list[tuple[str, Call]]:
    """Each of these forms, ready to run in inference. Weights are random: time is the same."""
    conditions = Conditions(device)
    channels, wide = setting.channels, WIDER * setting.channels
    features = torch.randn(1, wide, *setting.size, device=device)
    features = features.to(memory_format=layout(conditions))
    with device:
        modules = {
            PLAIN: lambda: OfOneMap(
                AsymmetricAttention(wide, wide, channels, channels, setting.grids, True)
            ),
            NONLOCAL: lambda: NonLocalAttention(wide, channels, channels),
        }
        made = [(name, placed(modules[name](), conditions)) for name in names]
    return [(name, inference(module, (features,))) for name, module in made]


def in_turn(forms: Mapping[str, Call], device: torch.device, until: float) -> dict[str, Timing]:
    """Rounds in which each form is called once, as many as there is time for; at least one.

    until: by time.perf_counter. The first round warms up: it counts only if it is the only one.
    """
    rounds: list[dict[str, float]] = []
    last = 0.0
    while not rounds or (len(rounds) <= MOST_ROUNDS and time.perf_counter() + last <= until):
        rounds.append({name: 1000 * seconds_of(call, device) for name, call in forms.items()})
        last = sum(rounds[-1].values()) / 1000
    counted = rounds[1:] or rounds
    columns = {name: [one[name] for one in counted] for name in forms}
    return {name: Timing(median(all_), min(all_), max(all_)) for name, all_ in columns.items()}


def said_seconds(seconds: float) -> str:
    """Three digits, in ms below a second."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
