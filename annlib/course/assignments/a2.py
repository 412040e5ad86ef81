"""Assignment A2, after lesson 05: anchors of any pyramid, asymmetric queries; its hidden checks.

B batch, C channels, H x W the map, S anchors.

B batch, C channels, H x W the map that asks, h x w the one that answers, S its anchors.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate

from annlib.course.assignments import a1, misconceptions
from annlib.course.assignments.a1 import A1, SHARED, Share, project
from annlib.course.assignments.a1 import reference_weights as weights_of
from annlib.course.assignments.base import (
    Answer,
    Assignment,
    Call,
    Check,
    Misconception,
    OpenQuestion,
    as_numbers,
    compared,
    integer,
    normal,
    task,
)
from annlib.course.assignments.misconceptions import check_gradients
from annlib.engine.profiler import operation_counter

SAMPLING_TASK = "sample"
PUBLISHED = (1, 3, 6, 8)
Levels = tuple[int, ...]
Pool = Callable[[Tensor, int], Tensor]  # (B, C, H, W), side n -> (B, C, n, n)
SamplingInputs = tuple[Tensor, Levels]


def reference_sample(features: Tensor, levels: Levels, pool: Pool = adaptive_avg_pool2d) -> Tensor:
    """(B, C, H, W) -> (B, C, S)"""
    return torch.cat([pool(features, level).flatten(2) for level in levels], 2)


def first_positions(features: Tensor, level: int) -> Tensor:
    rows, columns = (torch.arange(level) * side // level for side in features.shape[2:])
    return features[:, :, rows][..., columns]


def apart(features: Tensor, level: int) -> Tensor:
    """Cells that end where the next one begins."""
    height, width = features.shape[2:]
    cut = [
        features[:, :, row * height // level : (row + 1) * height // level]
        [..., column * width // level : (column + 1) * width // level].mean((2, 3))
        for row in range(level)
        for column in range(level)
    ]  # fmt: skip
    return torch.stack(cut, 2).unflatten(2, (level, level))


SAMPLING_MISTAKES: Mapping[Misconception, Callable[[Tensor, Levels], Tensor]] = {
    misconceptions.MAX_POOLED: partial(reference_sample, pool=adaptive_max_pool2d),
    misconceptions.CELLS_APART: partial(reference_sample, pool=apart),
    misconceptions.ONE_POSITION: partial(reference_sample, pool=first_positions),
    misconceptions.INTERPOLATED: partial(
        reference_sample, pool=lambda f, level: interpolate(f, (level, level), mode="bilinear")
    ),
    misconceptions.COLUMNS_FIRST: partial(
        reference_sample, pool=lambda f, n: adaptive_avg_pool2d(f, n).mT
    ),
    misconceptions.LEVELS_REVERSED: lambda features, levels: reference_sample(
        features, levels[::-1]
    ),
    misconceptions.LEVELS_SORTED: lambda features, levels: reference_sample(
        features, tuple(sorted(levels))
    ),
    misconceptions.FIXED_PYRAMID: lambda features, levels: reference_sample(features, PUBLISHED),
}


def check_sampling(name: str, points: float, asked: Sequence[SamplingInputs]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [made(*one) for one in asked] for slip, made in SAMPLING_MISTAKES.items()}
        return compared(answers, [reference_sample(*one) for one in asked], others)

    return Check(name, points, [Call(SAMPLING_TASK, one) for one in asked], judge)


def draw_sampling_task(generator: Generator) -> list[Check]:
    def features(height: int, width: int) -> Tensor:
        return normal(generator, 2, integer(generator, 2, 4), height, width)

    factor = integer(generator, 1, 2)
    high, wide = 2 * integer(generator, 5, 6) + 1, integer(generator, 17, 19)
    return [
        check_sampling("levels that divide the map", 2, [(features(6 * factor, 12), (1, 2, 3))]),
        check_sampling("cells that overlap", 2, [(features(high, wide), PUBLISHED)]),
        check_sampling(
            "any pyramid",
            1,
            [(features(high, wide), levels) for levels in ((4, 1, 7), (5,), (1, 2))],
        ),
    ]


BLOCK_TASK = "AsymmetricBlock"
Weights = Mapping[str, Tensor]
Sampling = Callable[[Tensor, Levels], Tensor]


def draw_weights(generator: Generator, high: int, low: int, keys: int) -> dict[str, Tensor]:
    """Of the four convolutions, by the names that the assignment gives them."""
    shapes = {"to_query": (keys, high), "to_key": (keys, low), "to_value": (keys, low)}
    shapes["to_output"] = (high, keys + high)
    weights = {f"{n}.weight": normal(generator, *shape, 1, 1) for n, shape in shapes.items()}
    return weights | {f"{n}.bias": normal(generator, shape[0]) for n, shape in shapes.items()}


class BlockInputs:
    """Sizes, weights, and the two maps; one map twice is APNB, two maps are AFNB."""

    def __init__(
        self,
        generator: Generator,
        channels: tuple[int, int],
        sizes: tuple[tuple[int, int], tuple[int, int]],
        levels: Levels,
    ):
        self.levels, self.keys = levels, integer(generator, 2, 4)
        self.weights = draw_weights(generator, *channels, self.keys)
        self.high = normal(generator, 2, channels[0], *sizes[0])
        self.low = normal(generator, 2, channels[1], *sizes[1])

    def call(self) -> Call:
        sizes = (self.high.shape[1], self.low.shape[1], self.keys, self.levels)
        return Call(BLOCK_TASK, (self.high, self.low), sizes, self.weights)


def brought(
    maps: Sequence[Tensor],
    weights: Weights,
    levels: Levels,
    key_part: str = "to_key",
    value_part: str = "to_value",
    share: Share = weights_of,
    sampling: Sampling = reference_sample,
) -> Tensor:
    """What attention brings, (B, keys, N), to the first of the maps that ask, answer, and give."""
    asking, answering, giving = maps
    query = project(asking, weights, "to_query").flatten(2)
    key = sampling(project(answering, weights, key_part), levels)
    value = sampling(project(giving, weights, value_part), levels)
    return (share(query, key, None) @ value.mT).mT


def joined(context: Tensor, high: Tensor, weights: Weights) -> Tensor:
    return project(torch.cat([context.unflatten(2, high.shape[2:]), high], 1), weights, "to_output")


def reference_block(high: Tensor, low: Tensor, weights: Weights, levels: Levels) -> Tensor:
    return joined(brought((high, low, low), weights, levels), high, weights)


Made = Callable[[BlockInputs], Tensor]


def wrongly(
    key_part: str = "to_key",
    value_part: str = "to_value",
    share: Share = weights_of,
    sampling: Sampling = reference_sample,
) -> Made:
    """A block with another part, other shares, or another sampling."""
    mistaken = partial(
        brought, key_part=key_part, value_part=value_part, share=share, sampling=sampling
    )
    return lambda one: joined(
        mistaken((one.high, one.low, one.low), one.weights, one.levels), one.high, one.weights
    )


def exchanged(asking: str, answering: str, giving: str) -> Made:
    """A block that takes "high" for "low" somewhere; both have the same channels and size."""

    def made(one: BlockInputs) -> Tensor:
        maps = [getattr(one, name) for name in (asking, answering, giving)]
        return joined(brought(maps, one.weights, one.levels), one.high, one.weights)

    return made


def mixed_positions(one: BlockInputs) -> Tensor:
    context = brought((one.high, one.low, one.low), one.weights, one.levels)
    return joined(context.mT.reshape(context.shape), one.high, one.weights)


def other_way(one: BlockInputs) -> Tensor:
    context = brought((one.high, one.low, one.low), one.weights, one.levels)
    both = [one.high, context.unflatten(2, one.high.shape[2:])]
    return project(torch.cat(both, 1), one.weights, "to_output")


BLOCK_MISTAKES: Mapping[Misconception, Made] = {
    misconceptions.NOT_SAMPLED: wrongly(sampling=lambda features, levels: features.flatten(2)),
    misconceptions.FIXED_PYRAMID: wrongly(
        sampling=lambda features, levels: reference_sample(features, PUBLISHED)
    ),
    misconceptions.KEYS_AS_VALUES: wrongly(value_part="to_key"),
    misconceptions.POSITIONS_MIXED: mixed_positions,
    misconceptions.JOINED_OTHERWISE: other_way,
} | {slip: wrongly(share=share) for slip, share in a1.PLAIN_WEIGHTS.items() if slip in SHARED}
LEVELS_EXCHANGED: Mapping[Misconception, Made] = {
    misconceptions.LOW_ASKS: exchanged("low", "low", "low"),
    misconceptions.HIGH_ANSWERS: exchanged("high", "high", "high"),
    misconceptions.HIGH_VALUES: exchanged("high", "low", "high"),
}


def check_values(
    name: str, points: float, asked: Sequence[BlockInputs], mistakes: Mapping[Misconception, Made]
) -> Check:
    """Outputs of blocks with given weights, against the reference and the mistakes."""

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        right = [reference_block(one.high, one.low, one.weights, one.levels) for one in asked]
        others = {slip: [made(one) for one in asked] for slip, made in mistakes.items()}
        return compared(answers, right, others, tolerance=1e-3)

    return Check(name, points, [one.call() for one in asked], judge)


def draw_block_task(generator: Generator) -> list[Check]:
    def size() -> tuple[int, int]:
        return integer(generator, 5, 6), integer(generator, 8, 10)

    same, other = size(), size()
    channels = integer(generator, 4, 6)
    twice = BlockInputs(generator, (channels, channels), (same, same), PUBLISHED)
    twice.low = twice.high
    two = [BlockInputs(generator, (channels, channels), (same, same), (1, 2, 4)) for _ in range(2)]
    smaller = (other[0] - 1, other[1] + 2)
    sizes = [BlockInputs(generator, (channels, 3), (same, smaller), (3, 1, 5)) for _ in range(2)]
    learning = BlockInputs(generator, (channels, 3), (same, smaller), (1, 4))
    call = learning.call()._replace(upstream=normal(generator, *learning.high.shape))
    return [
        check_values("one map twice", 1, [twice], BLOCK_MISTAKES),
        check_values("two maps", 2, two, BLOCK_MISTAKES | LEVELS_EXCHANGED),
        check_values("maps of two sizes, any pyramid", 2, sizes, BLOCK_MISTAKES),
        check_gradients(
            1, call, lambda maps, weights: reference_block(*maps, weights, learning.levels)
        ),
    ]


COST_TASK = "asymmetric_operations"


class Asked(NamedTuple):
    """Two maps (height, width), their channels, the channels of queries and keys, the pyramid."""

    high: tuple[int, int]
    low: tuple[int, int]
    channels: tuple[int, int]
    keys: int
    levels: tuple[int, ...]


def counted(one: Asked) -> int:
    """What torch counts in the reference block; nothing is computed."""
    weights = draw_weights(torch.Generator(), *one.channels, one.keys)
    on_meta = {name: value.to("meta") for name, value in weights.items()}
    high = torch.empty(1, one.channels[0], *one.high, device="meta")
    low = torch.empty(1, one.channels[1], *one.low, device="meta")
    with operation_counter() as counter, torch.no_grad():
        reference_block(high, low, on_meta, one.levels)
    return counter.get_total_flops()


class Parts(NamedTuple):
    """Multiply-adds of the block; a mistake has another one of them."""

    query: int
    answers: int  # projections of keys and values
    output: int
    products: int


def anchors_of(one: Asked) -> int:
    return sum(level**2 for level in one.levels)


def parts(one: Asked, anchors: int | None = None) -> Parts:
    """anchors: another number of them"""
    asking, answering = one.high[0] * one.high[1], one.low[0] * one.low[1]
    anchors = anchors_of(one) if anchors is None else anchors
    return Parts(
        asking * one.channels[0] * one.keys,
        2 * answering * one.channels[1] * one.keys,
        asking * (one.keys + one.channels[0]) * one.channels[0],
        2 * asking * anchors * one.keys,
    )


def answers_on(one: Asked, positions: int) -> int:
    """Multiply-adds of all, keys and values projected on so many positions."""
    return sum(parts(one)._replace(answers=2 * positions * one.channels[1] * one.keys))


COST_MISTAKES: dict[Misconception, Callable[[Asked], float]] = {
    misconceptions.HALF: lambda one: sum(parts(one)) / 2,
    misconceptions.NO_PROJECTIONS: lambda one: parts(one).products,
    misconceptions.NO_PRODUCTS: lambda one: sum(parts(one)[:3]),
    misconceptions.ONE_PRODUCT: lambda one: sum(parts(one)) - parts(one).products // 2,
    misconceptions.LEVELS_SUMMED: lambda one: sum(parts(one, sum(one.levels))),
    misconceptions.FINEST_ONLY: lambda one: sum(parts(one, max(one.levels) ** 2)),
    misconceptions.NOT_SAMPLED: lambda one: sum(parts(one, one.low[0] * one.low[1])),
    misconceptions.ONE_SIZE: lambda one: answers_on(one, one.high[0] * one.high[1]),
    misconceptions.SAMPLED_FIRST: lambda one: answers_on(one, anchors_of(one)),
    misconceptions.SQUARE_MAP: lambda one: sum(
        parts(one._replace(high=(one.high[0],) * 2, low=(one.low[0],) * 2))
    ),
    misconceptions.NOT_JOINED: lambda one: (
        sum(parts(one)) - one.high[0] * one.high[1] * one.channels[0] ** 2
    ),
}


def check_cost(name: str, points: float, asked: Sequence[Asked]) -> Check:
    def numbers(made: Callable[[Asked], float]) -> list[Tensor]:
        return [torch.tensor(made(one), dtype=torch.float64) for one in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [2 * n for n in numbers(made)] for slip, made in COST_MISTAKES.items()}
        return compared(as_numbers(answers), numbers(counted), others, tolerance=1e-9)

    return Check(name, points, [Call(COST_TASK, tuple(one)) for one in asked], judge)


def draw_cost_task(generator: Generator) -> list[Check]:
    def asked(factor: int) -> Asked:
        high = integer(generator, 5, 9), integer(generator, 10, 15)
        low = integer(generator, 11, 14), integer(generator, 16, 19)
        return Asked(
            (factor * high[0], factor * high[1]),
            (factor * low[0], factor * low[1]),
            (integer(generator, 20, 60), integer(generator, 61, 90)),
            integer(generator, 4, 15),
            (1, integer(generator, 2, 4), integer(generator, 5, 8)),
        )

    return [
        check_cost("operations of small maps", 3, [asked(1) for _ in range(3)]),
        check_cost("operations of large maps", 1, [asked(32) for _ in range(2)]),
    ]


A2 = Assignment(
    name="A2",
    title="Asymmetric attention with any pyramid",
    prelude=A1.prelude,
    public=("not_yet", "a2_checks"),
    tasks=(
        task(SAMPLING_TASK, "Anchors of any pyramid", draw_sampling_task),
        task(BLOCK_TASK, "One level asks another", draw_block_task),
        task(COST_TASK, "What it costs", draw_cost_task),
    ),
    questions=(
        OpenQuestion(
            "design-change",
            "A change of the design",
            {
                "One change is described so that somebody else could build it": 1,
                "What it costs is measured: operations or times, repeated, with their spread": 1,
                "What it does to the output is measured, too, with a number": 1,
                "The claim says no more than the measurement, and for which sizes": 1,
                "What would have to be measured before a network is built this way": 1,
            },
        ),
    ),
)
