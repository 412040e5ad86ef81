"""Hidden checks of assignment A2, third task: the block's operations, against torch's counter."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from annlib.course.assignments import slips
from annlib.course.assignments.a2_block import draw_weights, reference
from annlib.course.grading.assignment import integer
from annlib.course.grading.questions import Answer, Call, Check, Misconception, as_numbers, compared
from annlib.engine.counting import operation_counter

NAME = "asymmetric_operations"


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
        reference(high, low, on_meta, one.levels)
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


MISTAKES: dict[Misconception, Callable[[Asked], float]] = {
    slips.HALF: lambda one: sum(parts(one)) / 2,
    slips.NO_PROJECTIONS: lambda one: parts(one).products,
    slips.NO_PRODUCTS: lambda one: sum(parts(one)[:3]),
    slips.ONE_PRODUCT: lambda one: sum(parts(one)) - parts(one).products // 2,
    slips.LEVELS_SUMMED: lambda one: sum(parts(one, sum(one.levels))),
    slips.FINEST_ONLY: lambda one: sum(parts(one, max(one.levels) ** 2)),
    slips.NOT_SAMPLED: lambda one: sum(parts(one, one.low[0] * one.low[1])),
    slips.ONE_SIZE: lambda one: answers_on(one, one.high[0] * one.high[1]),
    slips.SAMPLED_FIRST: lambda one: answers_on(one, anchors_of(one)),
    slips.SQUARE_MAP: lambda one: sum(
        parts(one._replace(high=(one.high[0],) * 2, low=(one.low[0],) * 2))
    ),
    slips.NOT_JOINED: lambda one: (
        sum(parts(one)) - one.high[0] * one.high[1] * one.channels[0] ** 2
    ),
}


def check(name: str, points: float, asked: Sequence[Asked]) -> Check:
    def numbers(made: Callable[[Asked], float]) -> list[Tensor]:
        return [torch.tensor(made(one), dtype=torch.float64) for one in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [2 * n for n in numbers(made)] for slip, made in MISTAKES.items()}
        return compared(as_numbers(answers), numbers(counted), others, tolerance=1e-9)

    return Check(name, points, [Call(NAME, tuple(one)) for one in asked], judge)


def draw(generator: Generator) -> list[Check]:
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
        check("operations of small maps", 3, [asked(1) for _ in range(3)]),
        check("operations of large maps", 1, [asked(32) for _ in range(2)]),
    ]
