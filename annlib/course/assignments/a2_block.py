"""Hidden checks of assignment A2, second task: one level asks the anchors of another.

B batch, C channels, H x W the map that asks, h x w the one that answers, S its anchors.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a1_weights, slips
from annlib.course.assignments.a1_block import SHARED, Share, project
from annlib.course.assignments.a1_weights import reference as weights_of
from annlib.course.assignments.a2_sampling import PUBLISHED, Levels
from annlib.course.assignments.a2_sampling import reference as sample
from annlib.course.assignments.learning import check_gradients
from annlib.course.grading.assignment import integer, normal
from annlib.course.grading.questions import Answer, Call, Check, Misconception, compared

NAME = "AsymmetricBlock"
Weights = Mapping[str, Tensor]
Sampling = Callable[[Tensor, Levels], Tensor]


def draw_weights(generator: Generator, high: int, low: int, keys: int) -> dict[str, Tensor]:
    """Of the four convolutions, by the names that the assignment gives them."""
    shapes = {"to_query": (keys, high), "to_key": (keys, low), "to_value": (keys, low)}
    shapes["to_output"] = (high, keys + high)
    weights = {f"{n}.weight": normal(generator, *shape, 1, 1) for n, shape in shapes.items()}
    return weights | {f"{n}.bias": normal(generator, shape[0]) for n, shape in shapes.items()}


class Inputs:
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
        return Call(NAME, (self.high, self.low), sizes, self.weights)


def brought(
    maps: Sequence[Tensor],
    weights: Weights,
    levels: Levels,
    key_part: str = "to_key",
    value_part: str = "to_value",
    share: Share = weights_of,
    sampling: Sampling = sample,
) -> Tensor:
    """What attention brings, (B, keys, N), to the first of the maps that ask, answer, and give."""
    asking, answering, giving = maps
    query = project(asking, weights, "to_query").flatten(2)
    key = sampling(project(answering, weights, key_part), levels)
    value = sampling(project(giving, weights, value_part), levels)
    return (share(query, key, None) @ value.mT).mT


def joined(context: Tensor, high: Tensor, weights: Weights) -> Tensor:
    return project(torch.cat([context.unflatten(2, high.shape[2:]), high], 1), weights, "to_output")


def reference(high: Tensor, low: Tensor, weights: Weights, levels: Levels) -> Tensor:
    return joined(brought((high, low, low), weights, levels), high, weights)


Made = Callable[[Inputs], Tensor]


def wrongly(
    key_part: str = "to_key",
    value_part: str = "to_value",
    share: Share = weights_of,
    sampling: Sampling = sample,
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

    def made(one: Inputs) -> Tensor:
        maps = [getattr(one, name) for name in (asking, answering, giving)]
        return joined(brought(maps, one.weights, one.levels), one.high, one.weights)

    return made


def mixed_positions(one: Inputs) -> Tensor:
    context = brought((one.high, one.low, one.low), one.weights, one.levels)
    return joined(context.mT.reshape(context.shape), one.high, one.weights)


def other_way(one: Inputs) -> Tensor:
    context = brought((one.high, one.low, one.low), one.weights, one.levels)
    both = [one.high, context.unflatten(2, one.high.shape[2:])]
    return project(torch.cat(both, 1), one.weights, "to_output")


MISTAKES: Mapping[Misconception, Made] = {
    slips.NOT_SAMPLED: wrongly(sampling=lambda features, levels: features.flatten(2)),
    slips.FIXED_PYRAMID: wrongly(sampling=lambda features, levels: sample(features, PUBLISHED)),
    slips.KEYS_AS_VALUES: wrongly(value_part="to_key"),
    slips.POSITIONS_MIXED: mixed_positions,
    slips.JOINED_OTHERWISE: other_way,
} | {slip: wrongly(share=share) for slip, share in a1_weights.PLAIN.items() if slip in SHARED}
LEVELS_EXCHANGED: Mapping[Misconception, Made] = {
    slips.LOW_ASKS: exchanged("low", "low", "low"),
    slips.HIGH_ANSWERS: exchanged("high", "high", "high"),
    slips.HIGH_VALUES: exchanged("high", "low", "high"),
}


def check_values(
    name: str, points: float, asked: Sequence[Inputs], mistakes: Mapping[Misconception, Made]
) -> Check:
    """Outputs of blocks with given weights, against the reference and the mistakes."""

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        right = [reference(one.high, one.low, one.weights, one.levels) for one in asked]
        others = {slip: [made(one) for one in asked] for slip, made in mistakes.items()}
        return compared(answers, right, others, tolerance=1e-3)

    return Check(name, points, [one.call() for one in asked], judge)


def draw(generator: Generator) -> list[Check]:
    def size() -> tuple[int, int]:
        return integer(generator, 5, 6), integer(generator, 8, 10)

    same, other = size(), size()
    channels = integer(generator, 4, 6)
    twice = Inputs(generator, (channels, channels), (same, same), PUBLISHED)
    twice.low = twice.high
    two = [Inputs(generator, (channels, channels), (same, same), (1, 2, 4)) for _ in range(2)]
    smaller = (other[0] - 1, other[1] + 2)
    sizes = [Inputs(generator, (channels, 3), (same, smaller), (3, 1, 5)) for _ in range(2)]
    learning = Inputs(generator, (channels, 3), (same, smaller), (1, 4))
    call = learning.call()._replace(upstream=normal(generator, *learning.high.shape))
    return [
        check_values("one map twice", 1, [twice], MISTAKES),
        check_values("two maps", 2, two, MISTAKES | LEVELS_EXCHANGED),
        check_values("maps of two sizes, any pyramid", 2, sizes, MISTAKES),
        check_gradients(1, call, lambda maps, weights: reference(*maps, weights, learning.levels)),
    ]
