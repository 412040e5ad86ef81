"""Costs of attention and of the parts of a network: by formula, and as they grow with the map.

B batch, N = H * W positions of the map, S anchors, C channels of query, key and value; the map has
8 C channels, as in the blocks that were measured for the paper (2048 and 256).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import log, prod
from statistics import LinearRegression, linear_regression
from typing import Any, NamedTuple

import torch

from annlib.config import ModelConfig
from annlib.course import implementations, profiler
from annlib.course.attention import Size, capture
from annlib.course.implementations import FOLDED_APNB, FUSED, NONLOCAL, PLAIN_APNB, Channels, Shape
from annlib.course.profiler import Comparison, Conditions, Timing, gib, seconds_of
from annlib.course.row_costs import REST, gflops_by_part
from annlib.engine.metrics import table
from annlib.experiments import find_experiment
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.build import build_model
from annlib.seeds import seeded

WIDER = 8  # channels of the map for each channel of a query
FLOAT32 = 4  # bytes
NAMES = (NONLOCAL, FUSED, FOLDED_APNB)  # whose growth is measured
MEASURED = (NONLOCAL, FUSED, PLAIN_APNB, FOLDED_APNB)  # as in the paper, at its size
PAPER_FASTER, PAPER_SMALLER = 6, 28  # abstract: at 256 x 128, on a GPU; "around", "times smaller"
HEADS = {"non-local": "nonlocal", "APNB alone": "apnb", "ANN (AFNB and APNB)": "ann"}


class Bill(NamedTuple):
    operations: float  # floating point, of one forward pass
    num_bytes: float  # held at its peak


class Setting(NamedTuple):
    size: tuple[int, int]  # of the map (height, width)
    channels: int  # C
    grids: tuple[int, ...]  # (1, 3) stands for 1 + 9 anchors

    positions = Shape.positions  # N

    @property
    def anchors(self) -> int:  # S
        return sum(side * side for side in self.grids)


def bills(positions: float, anchors: float, channels: float) -> dict[str, Bill]:
    """Of the non-local block, written out and fused, and of APNB as it is written."""
    wide, row = WIDER * channels, FLOAT32 * positions
    all_pairs = operations(positions, positions, channels)
    # While the softmax runs; at the end.
    written = max(2 * positions + 2 * channels, positions + 3 * channels + wide)
    anchored = operations(positions, anchors, channels)
    return {
        NONLOCAL: Bill(all_pairs, row * written),
        FUSED: Bill(all_pairs, row * (wide + 3 * channels)),
        PLAIN_APNB: Bill(anchored, row * (wide + 2 * channels + 2 * anchors)),
    }


def operations(positions: float, keys: float, channels: float) -> float:
    """Three 1 x 1 convolutions and two products, two operations for each multiply-add."""
    return 2 * positions * channels * (3 * WIDER * channels + 2 * keys)


@cache
def network_bill(head: str, size: tuple[int, int]) -> dict[str, float]:
    """GFLOPs of each part but the auxiliary head, for one image (height, width).  head: of HEADS"""
    found = gflops_by_part(network(head), 1, size, folded=False)
    return {name: value for name, value in found.items() if name not in (REST, "auxiliary")}


def network(head: str) -> ModelConfig:
    """The published ResNet-50 for 19 classes, with this head."""
    return replace(find_experiment("ann_r50-d8_512x1024_40k_cityscapes").model, head=HEADS[head])


def block_shape(name: str, size: tuple[int, int], channels: int) -> Shape:
    """AFNB or APNB of the published networks on maps of `size`; `channels` of the query map."""
    if name == "AFNB":
        return Shape(channels, channels // 2, channels // 8, channels // 8, size, shared=False)
    return Shape(channels, channels, channels // 2, channels // 2, size)


def step_gflops(shape: Shape, folded: bool) -> dict[str, float]:
    """GFLOPs of each step of a block; folding runs some steps S times instead of N."""
    return {name: flops / 1e9 for name, flops in implementations.step_flops(shape, folded).items()}


class Stage(NamedTuple):
    name: str
    shapes: tuple[tuple[int, ...], ...]  # of its outputs, without the batch: (C, H, W) each
    parameters: int


def walk(config: ModelConfig, image_size: tuple[int, int], training: bool = True) -> list[Stage]:
    """The parts in the order in which they run, on tensors without data: no memory is needed."""
    with torch.device("meta"):
        model = build_model(config).train(training)
        images = torch.empty(2, 3, *image_size)
    with torch.no_grad(), capture(dict(model.named_children())) as outputs:
        model(images)
    stages = []
    for name, output in outputs.items():
        maps = output if isinstance(output, tuple) else (output,)
        parameters = sum(p.numel() for p in model.get_submodule(name).parameters())
        stages.append(Stage(name, tuple(tuple(one.shape[1:]) for one in maps), parameters))
    return stages


def say_stages(stages: list[Stage]) -> str:
    lines = [f"{'part':11} {'parameters':>10}  output (C, H, W)"]
    for stage in stages:
        shapes = ", ".join("x".join(map(str, shape)) for shape in stage.shapes)
        lines.append(f"{stage.name:11} {stage.parameters or '-':>10}  {shapes}")
    return "\n".join(lines)


# Growth with the map, measured.


def fitted(x: Sequence[float], y: Sequence[float]) -> LinearRegression | None:
    """y = exp(intercept) * x ** slope, by least squares; None for fewer than two points."""
    return linear_regression([*map(log, x)], [*map(log, y)]) if len(set(x)) > 1 else None


@dataclass(frozen=True)
class Curve:
    """Cost of one implementation on feature maps of growing size."""

    name: str
    positions: tuple[int, ...]  # N
    milliseconds: tuple[float, ...]  # medians
    mebibytes: tuple[float, ...]  # peak memory

    @property
    def time(self) -> LinearRegression | None:
        return fitted(self.positions, self.milliseconds)

    @property
    def memory(self) -> LinearRegression | None:
        return fitted(self.positions, self.mebibytes)

    def end(self) -> "Curve":
        """Its two largest maps, where the fastest growing term shows most."""
        columns = (self.positions, self.milliseconds, self.mebibytes)
        return Curve(self.name, *(column[-2:] for column in columns))


def growing(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions
) -> Iterator[Comparison]:
    """Attention on feature maps of each size, the smallest first."""
    for size in sorted(sizes, key=prod):
        found = implementations.attention_implementations(channels, size, conditions)
        chosen = [each for each in found if each.name in NAMES]
        yield profiler.compare(f"{size[0]} x {size[1]}", size, chosen, conditions)


def curves_of(comparisons: Sequence[Comparison]) -> list[Curve]:
    """A curve for each implementation, up to the largest map that fits into memory."""
    points: dict[str, list] = {name: [] for name in NAMES}
    for each in comparisons:
        for name in points.keys() & each.measured.keys():
            own = each.measured[name]
            points[name].append((prod(each.size), own.timing.median, own.mebibytes))
    return [Curve(name, *zip(*found, strict=True)) for name, found in points.items() if found]


def slopes_table(curves: Sequence[Curve]) -> str:
    """The exponents of N, over all maps and between the two largest."""
    rows = []
    for curve in curves:
        lines = (curve.time, curve.end().time, curve.memory, curve.end().memory)
        slopes = [f"{line.slope:.2f}" if line else "-" for line in lines]
        rows.append([curve.name, f"{curve.positions[0]} to {curve.positions[-1]}", *slopes])
    return table(["", "N", "time", "last two", "memory", "last two"], rows)


def largest_affordable(
    sizes: Sequence[Size], small: Comparison, calls: int, seconds: float, num_bytes: float
) -> Size:
    """The largest map on which `calls` of all implementations fit into time and memory.

    small: measured on a smaller map. If no map is affordable, the first one is returned.
    """
    spent = calls * sum(each.timing.median for each in small.measured.values()) / 1000
    # At most N * N of a map that both allow; time grows with N * N at most.
    pairs = min(prod(small.size) ** 2 * seconds / spent, num_bytes / 2 / (2 * FLOAT32))
    return max([*sizes[:1], *(size for size in sizes if prod(size) ** 2 <= pairs)], key=prod)


def paper_table(found: Comparison) -> str:
    """The paper's two numbers, and ours compared with both implementations of non-local blocks."""
    apnb = found.measured[PLAIN_APNB]
    rows = [["paper, abstract: 256 x 128, GPU", f"around {PAPER_FASTER}", f"{PAPER_SMALLER}"]]
    for name in (NONLOCAL, FUSED):
        other, own = found.measured[name].timing, apnb.timing
        low, high = other.fastest / own.slowest, other.slowest / own.fastest
        faster = f"{other.median / own.median:.1f} ({low:.1f} to {high:.1f})"
        smaller = f"{found.measured[name].peak_bytes / apnb.peak_bytes:.1f}"
        rows.append([f"here, {found.size[0]} x {found.size[1]}: than {name}", faster, smaller])
    return table(["APNB is ...", "times faster", "times less memory"], rows)


# "Measure here": time as operations predict it, and as measured within a few seconds.
TIMED = (PLAIN_APNB, NONLOCAL)
SMALL = Setting((16, 24), 256, (1, 3, 6, 8))  # where the speed is measured
SECONDS = 3.0  # that one call may take by the prediction
MOST_ROUNDS = 5
BEFORE = (
    "'Measure here' calls the non-local block and APNB on this map, and draws their time beside "
    "the time that operations suggest. It takes a few seconds."
)

Key = tuple[str, Setting]
Call = Callable[[], Any]


class Times(NamedTuple):
    """What is known about time on this machine."""

    speed: float  # operations a second of the non-local block on the SMALL map
    timings: Mapping[Key, Timing] = {}

    def points(self, name: str, setting: Setting) -> list[tuple[int, Timing]]:
        """(N, timing) of all measured maps that differ from this one only in size."""
        return [
            (other.positions, timing)
            for (form, other), timing in self.timings.items()
            if (form, other._replace(size=setting.size)) == key(name, setting)
        ]


def key(name: str, setting: Setting) -> Key:
    """What the time depends on: the non-local block does not have anchors."""
    return name, setting if name == PLAIN_APNB else setting._replace(grids=())


def predicted(name: str, setting: Setting, speed: float) -> float:
    """Seconds of a call: operations / speed."""
    return bills(setting.positions, setting.anchors, setting.channels)[name].operations / speed


def refusal(name: str, setting: Setting, speed: float, memory: float) -> str | None:
    """Why an implementation must not be measured with so many free bytes, or None."""
    if predicted(name, setting, speed) > SECONDS:
        return f"that is more than the {SECONDS:.0f} s which a call of 'Measure here' may take"
    features = FLOAT32 * WIDER * setting.channels * setting.positions
    bill = bills(setting.positions, setting.anchors, setting.channels)[name]
    # The features exist twice for a moment, when their memory layout is changed.
    needed = max(features + bill.num_bytes, 2 * features)
    said = f"it needs {gib(needed)} with its map, and {gib(memory)} are free here"
    return said if needed > memory else None


def timed(times: Times | None, setting: Setting, memory: float, device: torch.device) -> Times:
    """Adds a measurement at this setting; the first one measures the speed before."""
    with profiler.full_float32(), seeded("timing here", device=device):
        if times is None:
            small = in_turn(calls(SMALL, [NONLOCAL], device), device, SECONDS / 6)
            # The fastest call, because other load on the machine can only make a call slower.
            times = Times(1000 * predicted(NONLOCAL, SMALL, small[NONLOCAL].fastest))
        may = [name for name in TIMED if refusal(name, setting, times.speed, memory) is None]
        found = in_turn(calls(setting, may, device), device, SECONDS / 2) if may else {}
    new = {key(name, setting): timing for name, timing in found.items()}
    return times._replace(timings={**times.timings, **new})


def calls(setting: Setting, names: list[str], device: torch.device) -> dict[str, Call]:
    """Inference of each implementation. Weights are random, which does not change the time."""
    place, keys, wide = Conditions(device).place, setting.channels, WIDER * setting.channels
    features = place(torch.randn(1, wide, *setting.size, device=device))
    with device:
        modules = {
            NONLOCAL: NonLocalAttention(wide, keys, keys),
            PLAIN_APNB: AsymmetricAttention(wide, wide, keys, keys, setting.grids, True),
        }
    attend = implementations.attention_of_itself
    return {name: attend(place(modules[name]), features) for name in names}


def in_turn(named: Mapping[str, Call], device: torch.device, seconds: float) -> dict[str, Timing]:
    """Rounds in which each is called once, as many as end within the seconds, or one."""
    rounds: list[dict[str, float]] = []
    last, until = 0.0, time.perf_counter() + seconds
    while not rounds or (len(rounds) <= MOST_ROUNDS and time.perf_counter() + last <= until):
        rounds.append({name: 1000 * seconds_of(call, device) for name, call in named.items()})
        last = sum(rounds[-1].values()) / 1000
    counted = rounds[1:] or rounds  # the first one warms up
    return {name: Timing.of([one[name] for one in counted]) for name in named}


def said_seconds(seconds: float) -> str:
    """Three digits, in ms below a second."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def say_times(setting: Setting, memory: float, times: Times | None) -> str:
    """Predicted and measured times at one map, or why there is no measurement."""
    if times is None:
        return f"Time: {BEFORE}"
    said = []
    for name in TIMED:
        seconds, asked = predicted(name, setting, times.speed), key(name, setting)
        if (timing := times.timings.get(asked)) is not None:
            every, ratio = (timing.median, timing.fastest, timing.slowest), timing.median / seconds
            told = "measured {} ({} to {})".format(*(said_seconds(one / 1000) for one in every))
            told += f", {ratio / 1000:.1f} times the prediction"
        else:
            why = refusal(name, setting, times.speed, memory)
            told = "not measured yet" if why is None else f"not measured: {why}"
        said.append(f"{name}: predicted {said_seconds(seconds)}, {told}.")
    return (
        f"Time by operations, at the {times.speed / 1e9:,.0f} GFLOPs a second of the non-local "
        f"block on the map of 16 x 24 (C = 256). {' '.join(said)}"
    )
