"""How time and memory of attention grow with the feature map: predicted and measured."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log, prod
from statistics import linear_regression, median
from typing import Any, NamedTuple

import torch

from annlib.course.costs import FLOAT32, WIDER, Setting, bills
from annlib.course.implementations import (
    FOLDED_APNB,
    FUSED,
    NONLOCAL,
    PLAIN_APNB,
    Channels,
    OfOneMap,
    Size,
    attention_forms,
)
from annlib.course.timing import (
    Comparison,
    Conditions,
    Form,
    compare_forms,
    full_float32,
    gib,
    inference,
    layout,
    placed,
)
from annlib.engine.metrics import table
from annlib.engine.profiler import Timing, peak_bytes, seconds_of
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.seeds import seeded

NAMES = (NONLOCAL, FUSED, FOLDED_APNB)


@dataclass(frozen=True)
class Line:
    """y = exp(intercept) * x ** slope"""

    slope: float
    intercept: float


def fitted(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line through the logarithms with the least squares; None for fewer than two points."""
    if len(set(x)) < 2:
        return None
    return Line(*linear_regression([log(value) for value in x], [log(value) for value in y]))


@dataclass(frozen=True)
class Curve:
    """What one form takes on maps of growing size."""

    name: str
    positions: tuple[int, ...]  # N
    milliseconds: tuple[float, ...]  # medians
    mebibytes: tuple[float, ...]  # most that tensors held at once

    @property
    def time(self) -> Line | None:
        return fitted(self.positions, self.milliseconds)

    @property
    def memory(self) -> Line | None:
        return fitted(self.positions, self.mebibytes)

    def end(self) -> "Curve":
        """Its two largest maps, where what grows fastest shows most."""
        columns = (self.positions, self.milliseconds, self.mebibytes)
        return Curve(self.name, *(column[-2:] for column in columns))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        time, memory = self.time, self.memory
        lines = {
            "time": asdict(time) if time else None,
            "memory": asdict(memory) if memory else None,
        }
        return asdict(self) | lines


def growing(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions
) -> Iterator[Comparison]:
    """Attention at maps of each size, the smallest first."""
    for size in sorted(sizes, key=prod):
        forms = attention_forms(channels, size, conditions)
        chosen = [form for form in forms if form.name in NAMES]
        yield compare_forms(f"{size[0]} x {size[1]}", size, chosen, conditions)


def curves_of(comparisons: Sequence[Comparison]) -> list[Curve]:
    """A curve for each form, as far as the memory went."""
    curves = []
    for name in NAMES:
        points = [
            (prod(each.size), finish.timing.median, finish.needs.peak_bytes / 2**20)
            for each in comparisons
            for finish in each.finishes
            if finish.name == name
        ]
        if points:
            curves.append(Curve(name, *zip(*points, strict=True)))
    return curves


def said(line: Line | None) -> str:
    return "-" if line is None else f"{line.slope:.2f}"


def slopes_table(curves: Sequence[Curve]) -> str:
    """The exponents of N, over all maps and between the two largest."""
    header = ["", "N", "time", "last two", "memory", "last two"]
    rows = [
        [
            curve.name,
            f"{curve.positions[0]} to {curve.positions[-1]}",
            said(curve.time),
            said(curve.end().time),
            said(curve.memory),
            said(curve.end().memory),
        ]
        for curve in curves
    ]
    return table(header, rows)


TIMED = (PLAIN_APNB, NONLOCAL)
SMALL = Setting((16, 24), 256, (1, 3, 6, 8))  # where the speed is measured
SECONDS = 3.0  # that a measurement may take
AFFORDED = 2.0  # the same by what a quarter of the map lets expect: it may fit into a cache
MOST_ROUNDS = 5
GROWTH = {PLAIN_APNB: 4, NONLOCAL: 16}  # with twice the sides, at most: linear, and quadratic in N

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
    return name, setting if name == PLAIN_APNB else setting._replace(grids=())


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
            PLAIN_APNB: lambda: OfOneMap(
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


MEASURED = (NONLOCAL, FUSED, PLAIN_APNB, FOLDED_APNB)
PAPER_FASTER, PAPER_SMALLER = (
    6,
    28,
)  # abstract: at 256 x 128, on a GPU, "around" and "times smaller"


class Visit(NamedTuple):
    """One call of one form: its milliseconds, or the MiB that it held at most."""

    name: str
    milliseconds: float | None
    mebibytes: float | None


class Found(NamedTuple):
    """What all visits to a form have shown."""

    timing: Timing
    mebibytes: float


def largest_affordable(
    sizes: Sequence[Size], small: Comparison, calls: int, seconds: float, num_bytes: float
) -> Size:
    """The largest map on which `calls` of all forms take so long at most, and fit; else the first.

    small: what was measured on a smaller map. Time and memory of the form that is written out grow
    with the square of the map, once it is large; so do the others at most.
    """
    spent = sum(each.timing.median for each in small.finishes) / 1000
    able = sizes[:1]
    for size in sizes:
        growth = (prod(size) / prod(small.size)) ** 2
        weights = 2 * 4 * prod(size) ** 2
        if calls * spent * growth <= seconds and weights <= num_bytes / 2:
            able = [*able, size]
    return max(able, key=prod)


def visits(forms: Sequence[Form], device: torch.device, repeat: int) -> Iterator[Visit]:
    """Memory of each form first, which warms it up; then rounds of the clock, in turn."""
    with full_float32():
        for form in forms:
            yield Visit(form.name, None, peak_bytes(form.compute, device) / 2**20)
        for _ in range(repeat):
            for form in forms:
                yield Visit(form.name, 1000 * seconds_of(form.compute, device), None)


def found_in(seen: Sequence[Visit]) -> dict[str, Found]:
    """Median and spread of each form, and its memory."""
    found = {}
    for name in dict.fromkeys(visit.name for visit in seen):
        own = [visit for visit in seen if visit.name == name]
        times = [visit.milliseconds for visit in own if visit.milliseconds is not None]
        timing = Timing(median(times), min(times), max(times))
        found[name] = Found(timing, own[0].mebibytes)
    return found


def beside_paper(found: dict[str, Found], size: Size) -> str:
    """A table: the paper's two numbers, and ours against either form of the non-local block."""
    apnb = found[PLAIN_APNB]

    def ratios(rival: str) -> list[str]:
        timing = found[rival].timing
        low, high = timing.fastest / apnb.timing.slowest, timing.slowest / apnb.timing.fastest
        faster = f"{timing.median / apnb.timing.median:.1f} ({low:.1f} to {high:.1f})"
        return [faster, f"{found[rival].mebibytes / apnb.mebibytes:.1f}"]

    here = f"here, {size[0]} x {size[1]}"
    columns = [
        ["paper, abstract: 256 x 128, GPU", f"around {PAPER_FASTER}", f"{PAPER_SMALLER}"],
        [f"{here}: than non-local", *ratios(NONLOCAL)],
        [f"{here}: than non-local, fused", *ratios(FUSED)],
    ]
    return table(["APNB is ...", "times faster", "times less memory"], columns)
