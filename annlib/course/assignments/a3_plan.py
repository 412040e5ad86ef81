"""Hidden checks of assignment A3, first task: which runs a budget pays."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import ceil, floor
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_slips as slips
from annlib.course.grading.assignment import integer
from annlib.course.grading.questions import Answer, Call, Check, Misconception, as_numbers, compared

NAME = "plan_runs"
Runs = list[tuple[int, int]]


class Asked(NamedTuple):
    """seconds: of a run of each variant. budget: in seconds. seeds: those to take, in order."""

    seconds: tuple[float, ...]
    budget: float
    seeds: tuple[int, ...]


def paid(one: Asked, a_seed: float | None = None, rounded: Callable[[float], int] = floor) -> int:
    """How many seeds the budget pays.  a_seed: other seconds for one seed in all variants"""
    return min(rounded(one.budget / (a_seed or sum(one.seconds))), len(one.seeds))


def seed_by_seed(one: Asked, count: int) -> Runs:
    return [(variant, seed) for seed in one.seeds[:count] for variant in range(len(one.seconds))]


def reference(one: Asked) -> Runs:
    return seed_by_seed(one, paid(one))


def torn(one: Asked) -> Runs:
    """Runs until the budget ends, wherever that is."""
    left, runs = one.budget, []
    for seed, (variant, seconds) in product(one.seeds, enumerate(one.seconds)):
        left -= seconds
        if left < 0:
            break
        runs.append((variant, seed))
    return runs


def seeds_apart(one: Asked) -> Runs:
    return [(run[0], seed) for run, seed in zip(reference(one), one.seeds, strict=False)]


MISTAKES: Mapping[Misconception, Callable[[Asked], Runs]] = {
    slips.BUDGET_EACH: lambda one: seed_by_seed(one, paid(one, max(one.seconds))),
    slips.ONE_TOO_MANY: lambda one: seed_by_seed(one, paid(one, rounded=ceil)),
    slips.ONE_TOO_FEW: lambda one: seed_by_seed(
        one, paid(one, rounded=lambda seeds: floor(seeds) - 1)
    ),
    slips.LAST_SEED_TORN: torn,
    slips.VARIANT_BY_VARIANT: lambda one: sorted(reference(one), key=lambda run: run[0]),
    slips.BASELINE_LEFT_OUT: lambda one: [run for run in reference(one) if run[0]],
    slips.PAIR_TURNED: lambda one: [run[::-1] for run in reference(one)],
    slips.SLOWEST_FOR_ALL: lambda one: seed_by_seed(
        one, paid(one, len(one.seconds) * max(one.seconds))
    ),
    slips.CHEAPEST_FOR_ALL: lambda one: seed_by_seed(
        one, paid(one, len(one.seconds) * min(one.seconds))
    ),
    slips.SEEDS_NUMBERED: lambda one: [(v, one.seeds.index(seed)) for v, seed in reference(one)],
    slips.SEEDS_APART: seeds_apart,
}


def as_rows(runs: Runs) -> Tensor:
    return torch.tensor(runs, dtype=torch.float64).reshape(-1, 2)


def check(name: str, asked: Sequence[Asked]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        numbers = [  # no runs at all: whatever an empty list has become
            one._replace(output=one.output.reshape(-1, 2))
            if one.output is not None and one.output.numel() == 0
            else one
            for one in as_numbers(answers)
        ]
        others = {slip: [as_rows(made(one)) for one in asked] for slip, made in MISTAKES.items()}
        return compared(numbers, [as_rows(reference(one)) for one in asked], others)

    return Check(name, 1, [Call(NAME, tuple(one)) for one in asked], judge)


def draw_asked(generator: Generator, variants: int, num_seeds: int, rest: float) -> Asked:
    """A budget that pays so many seeds; a share `rest` of another one, 0 to 1, is left over."""
    first = integer(generator, 8, 12) / 4  # quarters add up without rounding
    seconds = tuple(first * (1 + 2 * variant) for variant in range(variants))
    seeds = tuple(100 * n + integer(generator, 0, 99) for n in range(1, 8 * num_seeds + 9))
    return Asked(seconds, num_seeds * sum(seconds) + rest * sum(seconds) // 0.25 * 0.25, seeds)


def draw(generator: Generator) -> list[Check]:
    def asked(variants: int, rest: float, num_seeds: int | None = None) -> Asked:
        return draw_asked(generator, variants, num_seeds or integer(generator, 6, 9), rest)

    few = asked(2, 0.5)
    return [
        check("two variants", [asked(2, 0.6)]),
        check(
            "any budget",
            [asked(4, 0.8), asked(3, 0.0), few._replace(budget=0.5), few._replace(budget=1e6)],
        ),
    ]
