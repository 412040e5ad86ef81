"""Assignment A2, after lesson 05: anchors of any pyramid, asymmetric attention; its hidden checks.

B batch, C channels, S anchors; H x W the high-level map (queries), h x w the low-level map (keys).
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate

from annlib.course.assignments import a1
from annlib.grader import judge as grading
from annlib.grader.hidden_checks import Call, Check, followed_up, gradients, integer, normal, values
from annlib.grader.judge import Files

SAMPLING, BLOCK, COST = "sample", "AsymmetricBlock", "asymmetric_operations"
PUBLISHED = (1, 3, 6, 8)
Levels = tuple[int, ...]
Pool = Callable[[Tensor, int], Tensor]  # (B, C, H, W), side n -> (B, C, n, n)


def sample(features: Tensor, levels: Levels, pool: Pool = adaptive_avg_pool2d) -> Tensor:
    """(B, C, H, W) -> (B, C, S)"""
    return torch.cat([pool(features, level).flatten(2) for level in levels], 2)


def first_positions(features: Tensor, level: int) -> Tensor:
    rows, columns = (torch.arange(level) * side // level for side in features.shape[2:])
    return features[:, :, rows][..., columns]


def apart(features: Tensor, level: int) -> Tensor:
    """Cells that end where the next one begins."""
    edges = [[n * side // level for n in range(level + 1)] for side in features.shape[2:]]
    rows, columns = (list(pairwise(one)) for one in edges)
    cut = [features[..., a:b, c:d].mean((2, 3)) for a, b in rows for c, d in columns]
    return torch.stack(cut, 2).unflatten(2, (level, level))


def always_published(features: Tensor, levels: Levels) -> Tensor:
    return sample(features, PUBLISHED)


SAMPLING_MISTAKES = {
    "largest, not mean": partial(sample, pool=adaptive_max_pool2d),
    "cells cut short": partial(sample, pool=apart),
    "one position per cell": partial(sample, pool=first_positions),
    "interpolated": partial(sample, pool=partial(interpolate, mode="bilinear")),
    "columns first": partial(sample, pool=lambda f, n: adaptive_avg_pool2d(f, n).mT),
    "levels reversed": lambda features, levels: sample(features, levels[::-1]),
    "levels sorted": lambda features, levels: sample(features, tuple(sorted(levels))),
    "fixed pyramid": always_published,
}


def draw_sampling_task(generator: Generator, _: Files) -> list[Check]:
    def call(height: int, width: int, levels: Levels) -> Call:
        features = normal(generator, 2, integer(generator, 2, 4), height, width)
        return Call(SAMPLING, (features, levels))

    factor = integer(generator, 1, 2)
    high, wide = 2 * integer(generator, 5, 6) + 1, integer(generator, 17, 19)
    asked = (
        ("levels that divide the map", 2, [call(6 * factor, 12, (1, 2, 3))]),
        ("cells that overlap", 2, [call(high, wide, PUBLISHED)]),
        ("any pyramid", 1, [call(high, wide, levels) for levels in ((4, 1, 7), (5,), (1, 2))]),
    )
    return [values(*one, sample, SAMPLING_MISTAKES) for one in asked]


def block(
    weights: a1.Weights,
    sizes: tuple,
    high: Tensor,
    low: Tensor,
    maps: str = "high low low",
    pooling: Callable[[Tensor, Levels], Tensor] = sample,
    after: Callable[[Tensor], Tensor] | None = None,
    reverse: bool = False,
    **mistake: object,
) -> Tensor:
    """sizes: as given to the constructor, levels last. Everything after `low` makes a mistake."""
    chosen = [{"high": high, "low": low}[name] for name in maps.split()]
    found = a1.context(weights, chosen, sampling=partial(pooling, levels=sizes[-1]), **mistake)
    both = [after(found) if after else found, high]
    return a1.project(torch.cat(both[::-1] if reverse else both, 1), weights, "to_output")


BLOCK_MISTAKES = {
    "not sampled": partial(block, pooling=lambda features, levels: features.flatten(2)),
    "fixed pyramid": partial(block, pooling=always_published),
    "keys serve as values": partial(block, parts=("to_query", "to_key", "to_key")),
    "positions mixed up": partial(block, after=a1.mixed),
    "concatenated in the other order": partial(block, reverse=True),
} | {
    slip: partial(block, attention=a1.PLAIN_WEIGHTS[slip])
    for slip in a1.PLAIN_WEIGHTS
    if slip != "transposed"
}
LEVELS_EXCHANGED = {  # these need maps of the same channels and size
    "queries from the low level": partial(block, maps="low low low"),
    "keys from the high level": partial(block, maps="high high high"),
    "values from the high level": partial(block, maps="high low high"),
}


def block_weights(generator: Generator, high: int, low: int, keys: int) -> dict[str, Tensor]:
    shapes = {"to_query": (keys, high), "to_key": (keys, low), "to_value": (keys, low)}
    return a1.convolutions(generator, **shapes, to_output=(high, keys + high))


def draw_block_task(generator: Generator, _: Files) -> list[Check]:
    def size() -> tuple[int, int]:
        return integer(generator, 5, 6), integer(generator, 8, 10)

    def call(channels: tuple[int, int], high: tuple, low: tuple, levels: Levels) -> Call:
        """One map twice is APNB, two maps are AFNB."""
        keys = integer(generator, 2, 4)
        weights = block_weights(generator, *channels, keys)
        maps = normal(generator, 2, channels[0], *high), normal(generator, 2, channels[1], *low)
        return Call(BLOCK, maps, (*channels, keys, levels), weights)

    same, other, channels = size(), size(), integer(generator, 4, 6)
    twice = call((channels, channels), same, same, PUBLISHED)
    twice = twice._replace(arguments=(twice.arguments[0],) * 2)
    two = [call((channels, channels), same, same, (1, 2, 4)) for _ in range(2)]
    smaller = (other[0] - 1, other[1] + 2)
    sizes = [call((channels, 3), same, smaller, (3, 1, 5)) for _ in range(2)]
    learning = call((channels, 3), same, smaller, (1, 4))
    learning = learning._replace(upstream=normal(generator, *learning.arguments[0].shape))
    asked = (
        ("one map twice", 1, [twice], BLOCK_MISTAKES),
        ("two maps", 2, two, BLOCK_MISTAKES | LEVELS_EXCHANGED),
        ("maps of two sizes, any pyramid", 2, sizes, BLOCK_MISTAKES),
    )
    follows = {slip: partial(block, pooling=made) for slip, made in SAMPLING_MISTAKES.items()}

    def after_sampling(make: Callable[[Callable], Check], calls: list[Call]) -> Check:
        pooled = [Call(SAMPLING, (call.arguments[1], call.sizes[-1])) for call in calls]
        earlier = values("", 0, pooled, sample, SAMPLING_MISTAKES)
        return followed_up(make, block, earlier, follows)

    def block_check(name: str, points: float, calls: list[Call], mistakes: dict) -> Check:
        make = partial(values, name, points, calls, mistakes=mistakes, tolerance=1e-3)
        return after_sampling(lambda right: make(reference=right), calls)

    return [
        *(block_check(*one) for one in asked),
        after_sampling(partial(gradients, 1, learning), [learning]),
    ]


class Asked(NamedTuple):
    """Two maps (height, width), their channels, the channels of queries and keys, the pyramid."""

    high: tuple[int, int]
    low: tuple[int, int]
    channels: tuple[int, int]
    keys: int
    levels: Levels

    def positions(self) -> int:
        return self.high[0] * self.high[1]

    def low_positions(self) -> int:
        return self.low[0] * self.low[1]

    def anchors(self) -> int:
        return sum(level**2 for level in self.levels)


def reference_cost(*asked: object) -> int:
    one = Asked(*asked)
    weights = block_weights(Generator(), *one.channels, one.keys)
    shapes = ((channels, *size) for channels, size in zip(one.channels, one[:2], strict=True))
    return a1.counted(block, weights, (one.levels,), *shapes)


def cost(
    *asked: object,
    anchors: Callable[[Asked], int] = Asked.anchors,
    keys_from: Callable[[Asked], int] = Asked.low_positions,
    projections: int = 1,
    products: int = 2,
    concatenated: int = 1,
    per: int = 2,
) -> int:
    """The formula for what was asked; each option is where a mistake differs."""
    one = Asked(*asked)
    (high, low), keys, queries = one.channels, one.keys, one.positions()
    projected = queries * high * keys + 2 * keys_from(one) * low * keys
    projected += queries * (keys + concatenated * high) * high
    return per * (projections * projected + products * queries * anchors(one) * keys)


COST_MISTAKES = {
    "multiply-adds": partial(cost, per=1),
    "projections forgotten": partial(cost, projections=0),
    "products forgotten": partial(cost, products=0),
    "one product": partial(cost, products=1),
    "levels not squared": partial(cost, anchors=lambda one: sum(one.levels)),
    "finest level only": partial(cost, anchors=lambda one: max(one.levels) ** 2),
    "not sampled": partial(cost, anchors=Asked.low_positions),
    "one size for both": partial(cost, keys_from=Asked.positions),
    "projected after sampling": partial(cost, keys_from=Asked.anchors),
    "height for width": lambda high, low, *others: cost((high[0],) * 2, (low[0],) * 2, *others),
    "concatenated map forgotten": partial(cost, concatenated=0),
}


def draw_cost_task(generator: Generator, _: Files) -> list[Check]:
    def call(factor: int) -> Call:
        high = integer(generator, 5, 9), integer(generator, 10, 15)
        low = integer(generator, 11, 14), integer(generator, 16, 19)
        one = Asked(
            (factor * high[0], factor * high[1]),
            (factor * low[0], factor * low[1]),
            (integer(generator, 20, 60), integer(generator, 61, 90)),
            integer(generator, 4, 15),
            (1, integer(generator, 2, 4), integer(generator, 5, 8)),
        )
        return Call(COST, tuple(one))

    asked = (
        ("operations of small maps", 3, [call(1) for _ in range(3)]),
        ("operations of large maps", 1, [call(32) for _ in range(2)]),
    )
    return [values(*one, reference_cost, COST_MISTAKES, 1e-9, True) for one in asked]


A2 = grading.Assignment(
    name="A2",
    title="Asymmetric attention with any pyramid",
    folder=a1.FOLDER,
    prelude=a1.A1.prelude,
    public=("not_yet", "a2_checks"),
    tasks=(
        grading.Task(SAMPLING, "Anchors of any pyramid", draw_sampling_task, SAMPLING),
        grading.Task(BLOCK, "Attention between two levels", draw_block_task, "asymmetric_block"),
        grading.Task(COST, "What it costs", draw_cost_task, COST),
    ),
    questions=a1.questions_of("A2"),
    misconceptions=a1.MISCONCEPTIONS,
)
