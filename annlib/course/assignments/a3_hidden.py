"""Hidden checks of assignment A3: plan of runs, paired interval, verdicts, one run.

n seeds. nan: that run failed.

V variants, the first of which is the baseline; n seeds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from math import ceil, floor, isfinite, nan, sqrt
from statistics import NormalDist
from threading import Lock
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from annlib.course.assignments import a3_misconceptions as slips
from annlib.course.assignments import a3_world as world
from annlib.course.assignments.base import (
    NOT_FINITE,
    OTHER,
    WRONG_SHAPE,
    Answer,
    Call,
    Check,
    Misconception,
    as_numbers,
    close,
    compared,
    failed,
    integer,
    normal,
)
from annlib.course.statistics import t_quantile

PLAN_TASK = "plan_runs"
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


def reference_plan(one: Asked) -> Runs:
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
    return [(run[0], seed) for run, seed in zip(reference_plan(one), one.seeds, strict=False)]


PLAN_MISTAKES: Mapping[Misconception, Callable[[Asked], Runs]] = {
    slips.BUDGET_EACH: lambda one: seed_by_seed(one, paid(one, max(one.seconds))),
    slips.ONE_TOO_MANY: lambda one: seed_by_seed(one, paid(one, rounded=ceil)),
    slips.ONE_TOO_FEW: lambda one: seed_by_seed(
        one, paid(one, rounded=lambda seeds: floor(seeds) - 1)
    ),
    slips.LAST_SEED_TORN: torn,
    slips.VARIANT_BY_VARIANT: lambda one: sorted(reference_plan(one), key=lambda run: run[0]),
    slips.BASELINE_LEFT_OUT: lambda one: [run for run in reference_plan(one) if run[0]],
    slips.PAIR_TURNED: lambda one: [run[::-1] for run in reference_plan(one)],
    slips.SLOWEST_FOR_ALL: lambda one: seed_by_seed(
        one, paid(one, len(one.seconds) * max(one.seconds))
    ),
    slips.CHEAPEST_FOR_ALL: lambda one: seed_by_seed(
        one, paid(one, len(one.seconds) * min(one.seconds))
    ),
    slips.SEEDS_NUMBERED: lambda one: [
        (v, one.seeds.index(seed)) for v, seed in reference_plan(one)
    ],
    slips.SEEDS_APART: seeds_apart,
}


def as_rows(runs: Runs) -> Tensor:
    return torch.tensor(runs, dtype=torch.float64).reshape(-1, 2)


def check_plan(name: str, asked: Sequence[Asked]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        numbers = [  # no runs at all: whatever an empty list has become
            one._replace(output=one.output.reshape(-1, 2))
            if one.output is not None and one.output.numel() == 0
            else one
            for one in as_numbers(answers)
        ]
        others = {
            slip: [as_rows(made(one)) for one in asked] for slip, made in PLAN_MISTAKES.items()
        }
        return compared(numbers, [as_rows(reference_plan(one)) for one in asked], others)

    return Check(name, 1, [Call(PLAN_TASK, tuple(one)) for one in asked], judge)


def draw_asked(generator: Generator, variants: int, num_seeds: int, rest: float) -> Asked:
    """A budget that pays so many seeds; a share `rest` of another one, 0 to 1, is left over."""
    first = integer(generator, 8, 12) / 4  # quarters add up without rounding
    seconds = tuple(first * (1 + 2 * variant) for variant in range(variants))
    seeds = tuple(100 * n + integer(generator, 0, 99) for n in range(1, 8 * num_seeds + 9))
    return Asked(seconds, num_seeds * sum(seconds) + rest * sum(seconds) // 0.25 * 0.25, seeds)


def draw_plan_task(generator: Generator) -> list[Check]:
    def asked(variants: int, rest: float, num_seeds: int | None = None) -> Asked:
        return draw_asked(generator, variants, num_seeds or integer(generator, 6, 9), rest)

    few = asked(2, 0.5)
    return [
        check_plan("two variants", [asked(2, 0.6)]),
        check_plan(
            "any budget",
            [asked(4, 0.8), asked(3, 0.0), few._replace(budget=0.5), few._replace(budget=1e6)],
        ),
    ]


INTERVAL_TASK = "paired_interval"
Interval = Callable[[Tensor, Tensor, float], Tensor]  # (n,), (n,), confidence -> mean, low, high
EMPTY = torch.full((3,), nan, dtype=torch.float64)


def around(mean: Tensor, half: Tensor | float) -> Tensor:
    return torch.stack([mean, mean - half, mean + half])


def quantile(confidence: float, df: int) -> float:
    return t_quantile((1 + confidence) / 2, df)


def reference_interval(
    baseline: Tensor,
    changed: Tensor,
    confidence: float,
    root: Callable[[float], float] = sqrt,
    correction: int = 1,
    value: Callable[[float, int], float] = quantile,
) -> Tensor:
    """-> (3,) mean, low, high of changed - baseline; nan with fewer than two whole pairs"""
    differences = (changed - baseline)[(changed - baseline).isfinite()]
    n = len(differences)
    if n < 2:
        return EMPTY
    spread = differences.std(correction=correction) / root(n)
    return around(differences.mean(), value(confidence, n - 1) * spread)


def unpaired(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    whole = (baseline - changed).isfinite()
    a, b, n = baseline[whole], changed[whole], int(whole.sum())
    if n < 2:
        return EMPTY
    return around(b.mean() - a.mean(), quantile(confidence, n - 1) * sqrt((a.var() + b.var()) / n))


def moved_up(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    a, b = (values[values.isfinite()] for values in (baseline, changed))
    shorter = min(len(a), len(b))
    return reference_interval(a[:shorter], b[:shorter], confidence)


def failed_counted(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    mean, low, _ = reference_interval(baseline, changed, confidence)
    n, whole = len(baseline), int((changed - baseline).isfinite().sum())
    if whole < 2:
        return EMPTY
    shrunk = quantile(confidence, n - 1) / quantile(confidence, whole - 1) * sqrt(whole / n)
    return around(mean, (mean - low) * shrunk)


def half_given(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    mean, low, _ = reference_interval(baseline, changed, confidence)
    return EMPTY if mean.isnan() else torch.stack([mean, mean - low])


INTERVAL_MISTAKES: Mapping[Misconception, Interval] = {
    slips.SIGN_TURNED: lambda baseline, changed, c: reference_interval(changed, baseline, c),
    slips.UNPAIRED: unpaired,
    slips.NORMAL: partial(
        reference_interval, value=lambda c, df: NormalDist().inv_cdf((1 + c) / 2)
    ),
    slips.ALWAYS_1_96: partial(reference_interval, value=lambda c, df: 1.96),
    slips.ONE_SIDE: partial(reference_interval, value=t_quantile),
    slips.NO_ROOT: partial(reference_interval, root=lambda n: 1),
    slips.WHOLE_POPULATION: partial(reference_interval, correction=0),
    slips.HALF_GIVEN: half_given,
    slips.FAILED_IS_ZERO: lambda a, b, c: reference_interval(a.nan_to_num(), b.nan_to_num(), c),
    slips.FAILED_COUNTED: failed_counted,
    slips.MOVED_UP: moved_up,
}


def draw_scores(generator: Generator, variants: int, n: int, effect: float) -> Tensor:
    """(variants, n): what a seed does to all, then the effect of each variant, then chance."""
    shared, own = normal(generator, 1, n), normal(generator, variants, n)
    effects = effect * torch.arange(variants)[:, None]
    return (0.6 + 0.1 * shared + 0.02 * own + effects).double()


def check_interval(name: str, asked: Sequence[tuple[Tensor, Tensor, float]]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [made(*one) for one in asked] for slip, made in INTERVAL_MISTAKES.items()}
        right = [reference_interval(*one) for one in asked]
        return compared(as_numbers(answers), right, others, tolerance=1e-5)

    return Check(name, 1, [Call(INTERVAL_TASK, one) for one in asked], judge)


def draw_interval_task(generator: Generator) -> list[Check]:
    def asked(n: int) -> tuple[Tensor, Tensor, float]:
        confidence = integer(generator, 90, 97) / 100
        return *draw_scores(generator, 2, n, 0.03), confidence

    whole, failed, single = asked(integer(generator, 4, 8)), asked(9), asked(4)
    failed[0][integer(generator, 1, 3)] = nan
    failed[1][integer(generator, 5, 6)] = nan
    single[0][:2] = nan
    single[1][1:3] = nan
    return [
        check_interval("whole pairs", [whole]),
        check_interval("failed runs", [failed]),
        check_interval("too few pairs", [single, asked(2)]),
    ]


VERDICTS_TASK = "verdicts"


def signs(low: Tensor | float, high: Tensor | float) -> int:
    return int(low > 0) - int(high < 0)


def judged(scores: Tensor, share: float, interval: Interval = reference_interval) -> list[int]:
    """A verdict for each change.  share: of misses that one interval may have"""
    found = [interval(scores[0], changed, 1 - share) for changed in scores[1:]]
    return [signs(low, high) for _, low, high in found]


def verdicts(scores: Tensor, confidence: float) -> list[int]:
    """(V, n) -> for each change 1 better, -1 worse, 0 not shown; all right at this confidence"""
    return judged(scores, (1 - confidence) / (len(scores) - 1))


def by_neighbours(scores: Tensor, confidence: float) -> list[int]:
    share = (1 - confidence) / (len(scores) - 1)
    return [judged(scores[v : v + 2], share)[0] for v in range(len(scores) - 1)]


def by_overlap(scores: Tensor, confidence: float) -> list[int]:
    share = (1 - confidence) / (len(scores) - 1)
    alone = [reference_interval(torch.zeros_like(row), row, 1 - share) for row in scores]
    return [signs(low - alone[0][2], high - alone[0][1]) for _, low, high in alone[1:]]


def of_means(scores: Tensor, confidence: float) -> list[int]:
    means = (scores[1:] - scores[0]).nanmean(1)
    return [signs(mean, mean) for mean in means]


Verdicts = Callable[[Tensor, float], list[int]]
WRONG_VERDICTS: Mapping[Misconception, Verdicts] = {
    slips.NOT_CORRECTED: lambda scores, c: judged(scores, 1 - c),
    slips.BY_ALL_VARIANTS: lambda scores, c: judged(scores, (1 - c) / len(scores)),
    slips.CORRECTED_WRONGLY: lambda scores, c: judged(scores, 1 - c / (len(scores) - 1)),
    slips.MEAN_ONLY: of_means,
    slips.SIGN_TURNED: lambda scores, c: [-one for one in verdicts(scores, c)],
    slips.NEXT_ONES: by_neighbours,
    slips.OVERLAP: by_overlap,
    slips.UNPAIRED: lambda scores, c: judged(scores, (1 - c) / (len(scores) - 1), unpaired),
}


def check_verdicts(name: str, asked: Sequence[tuple[Tensor, float]]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        def numbers(made: Verdicts) -> list[Tensor]:
            return [torch.tensor(made(*one), dtype=torch.float64) for one in asked]

        others = {slip: numbers(made) for slip, made in WRONG_VERDICTS.items()}
        return compared(as_numbers(answers), numbers(verdicts), others)

    return Check(name, 1, [Call(VERDICTS_TASK, one) for one in asked], judge)


def telling(
    generator: Generator,
    variants: int,
    slip: Misconception,
    other: Verdicts = verdicts,
    effects: tuple[int, int] = (8, 30),  # thousandths
) -> tuple[Tensor, float]:
    """Scores for which a mistake gives other verdicts than the right ones, or another mistake."""
    for _ in range(5000):
        effect = (integer(generator, 0, 1) * 2 - 1) * integer(generator, *effects) / 1000
        scores = draw_scores(generator, variants, integer(generator, 4, 7), effect)
        if WRONG_VERDICTS[slip](scores, 0.95) != other(scores, 0.95):
            return scores, 0.95
    raise ValueError(f"no scores were found that tell {slip.name!r} from what is right")


def draw_verdicts_task(generator: Generator) -> list[Check]:
    alone = (slips.BY_ALL_VARIANTS, slips.MEAN_ONLY, slips.SIGN_TURNED)
    alone += (slips.OVERLAP, slips.UNPAIRED)
    overlap = WRONG_VERDICTS[slips.OVERLAP]
    apart = [telling(generator, v, slips.UNPAIRED, overlap, (100, 300)) for v in (2, 4)]
    nothing = draw_scores(generator, 2, 4, 0.5)
    nothing[0, 1:] = nan
    one_change = [telling(generator, 2, slip) for slip in alone]
    several = [telling(generator, 4, slip) for slip in WRONG_VERDICTS]
    return [
        check_verdicts("one change", [*one_change, apart[0], (nothing, 0.95)]),
        check_verdicts("several changes", [*several, apart[1]]),
    ]


RUN_TASK = "run"
OptimizerOf = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ADAM = partial(torch.optim.Adam, lr=world.LEARNING_RATE)
GUESS, NEAR_A_GUESS = 1 / world.PATTERNS, 0.15  # scores after a handful of steps
TOLERANCE = 1e-7  # in double precision a run repeats itself far better
BUILDING = Lock()  # weights are drawn from torch's one generator, and grading has threads


def fresh_network(seed: int) -> nn.Module:
    """The baseline before its first step."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return world.Network(lambda variant: world.PyramidBlock(), 0)


def reference_run(
    seed: int,
    steps: int,
    weights_seed: int | None = None,
    batch: Callable[[int, int], world.Maps] = world.training_maps,
    optimizer_of: OptimizerOf = ADAM,
    forgets: bool = True,
    moves: bool = True,
    score: Callable[[nn.Module], float] = world.score,
) -> float:
    """The score of a run of the baseline.  Everything after `steps` is how a mistake differs."""
    network = fresh_network(seed if weights_seed is None else weights_seed)
    optimizer = optimizer_of(network.parameters())
    for step in range(steps):
        features, labels = batch(seed, step)
        if forgets:
            optimizer.zero_grad()
        F.cross_entropy(network(features), labels, ignore_index=world.IGNORE).backward()
        if moves:
            optimizer.step()
    return score(network)


RUN_MISTAKES: Mapping[Misconception, Callable[[int, int], float]] = {
    slips.WEIGHTS_FIXED: partial(reference_run, weights_seed=0),
    slips.MAPS_FIXED: partial(reference_run, batch=lambda seed, step: world.training_maps(0, step)),
    slips.ONE_BATCH: partial(reference_run, batch=lambda seed, step: world.training_maps(seed, 0)),
    slips.STEPS_FROM_ONE: partial(
        reference_run, batch=lambda seed, step: world.training_maps(seed, step + 1)
    ),
    slips.STEP_MORE: lambda seed, steps: reference_run(seed, steps + 1),
    slips.GRADIENTS_ADD_UP: partial(reference_run, forgets=False),
    slips.NO_STEP: partial(reference_run, moves=False),
    slips.OTHER_RATE: partial(reference_run, optimizer_of=torch.optim.Adam),
    slips.OTHER_OPTIMIZER: partial(
        reference_run, optimizer_of=partial(torch.optim.SGD, lr=world.LEARNING_RATE)
    ),
    slips.ON_TRAINING_MAPS: lambda seed, steps: reference_run(
        seed,
        steps,
        score=lambda network: world.probability(network, *world.training_maps(seed, steps - 1)),
    ),
}


def check_recipe(points: float, seed: int, steps: int) -> Check:
    """The score of the baseline, asked for twice."""
    calls = [Call(RUN_TASK, (0, seed, steps))] * 2

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        if any(answer.output.numel() != 1 for answer in answers):
            return WRONG_SHAPE
        score, again = (answer.output.double().flatten()[0] for answer in answers)
        if not close(score, again, 0):
            return slips.NOT_SEEDED

        def explains(made: Callable[[int, int], float]) -> bool:
            return close(score, torch.tensor(made(seed, steps), dtype=torch.float64), TOLERANCE)

        if explains(reference_run):
            return None
        return next((slip for slip, made in RUN_MISTAKES.items() if explains(made)), OTHER)

    return Check("the recipe", points, calls, judge)


def check_change(points: float, seeds: tuple[int, int], steps: int) -> Check:
    """Variant 1 is trained, too; a run of the baseline in between may not matter."""
    asked = [(1, seeds[0]), (0, seeds[0]), (1, seeds[0]), (1, seeds[1])]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        if any(answer.output.numel() != 1 for answer in answers):
            return WRONG_SHAPE
        scores = [answer.output.double().item() for answer in answers]
        if not all(map(isfinite, scores)):
            return NOT_FINITE
        first, baseline, again, other = scores
        if first != again:
            return slips.NOT_SEEDED
        if first == baseline:
            return slips.NO_EFFECT
        if first == other:
            return slips.SEED_IGNORED
        guesses = (first, baseline, other)
        return None if all(abs(g - GUESS) < NEAR_A_GUESS for g in guesses) else slips.KNOWS_AT_ONCE

    calls = [Call(RUN_TASK, (variant, seed, steps)) for variant, seed in asked]
    return Check("a change", points, calls, judge)


def draw_run_task(generator: Generator) -> list[Check]:
    def seed() -> int:
        return integer(generator, 10**6, 10**7)

    return [
        check_recipe(2, seed(), integer(generator, 3, 6)),
        check_change(1, (seed(), seed()), integer(generator, 3, 5)),
    ]
