"""Hidden checks of assignment A3, second task: the interval of paired differences.

n seeds. nan: that run failed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import nan, sqrt
from statistics import NormalDist

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_slips as slips
from annlib.course.grading.assignment import integer, normal
from annlib.course.grading.questions import Answer, Call, Check, Misconception, as_numbers, compared
from annlib.course.intervals import t_quantile

NAME = "paired_interval"
Interval = Callable[[Tensor, Tensor, float], Tensor]  # (n,), (n,), confidence -> mean, low, high
EMPTY = torch.full((3,), nan, dtype=torch.float64)


def around(mean: Tensor, half: Tensor | float) -> Tensor:
    return torch.stack([mean, mean - half, mean + half])


def quantile(confidence: float, df: int) -> float:
    return t_quantile((1 + confidence) / 2, df)


def reference(
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
    return reference(a[:shorter], b[:shorter], confidence)


def failed_counted(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    mean, low, _ = reference(baseline, changed, confidence)
    n, whole = len(baseline), int((changed - baseline).isfinite().sum())
    if whole < 2:
        return EMPTY
    shrunk = quantile(confidence, n - 1) / quantile(confidence, whole - 1) * sqrt(whole / n)
    return around(mean, (mean - low) * shrunk)


def half_given(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    mean, low, _ = reference(baseline, changed, confidence)
    return EMPTY if mean.isnan() else torch.stack([mean, mean - low])


MISTAKES: Mapping[Misconception, Interval] = {
    slips.SIGN_TURNED: lambda baseline, changed, c: reference(changed, baseline, c),
    slips.UNPAIRED: unpaired,
    slips.NORMAL: partial(reference, value=lambda c, df: NormalDist().inv_cdf((1 + c) / 2)),
    slips.ALWAYS_1_96: partial(reference, value=lambda c, df: 1.96),
    slips.ONE_SIDE: partial(reference, value=t_quantile),
    slips.NO_ROOT: partial(reference, root=lambda n: 1),
    slips.WHOLE_POPULATION: partial(reference, correction=0),
    slips.HALF_GIVEN: half_given,
    slips.FAILED_IS_ZERO: lambda a, b, c: reference(a.nan_to_num(), b.nan_to_num(), c),
    slips.FAILED_COUNTED: failed_counted,
    slips.MOVED_UP: moved_up,
}


def draw_scores(generator: Generator, variants: int, n: int, effect: float) -> Tensor:
    """(variants, n): what a seed does to all, then the effect of each variant, then chance."""
    shared, own = normal(generator, 1, n), normal(generator, variants, n)
    effects = effect * torch.arange(variants)[:, None]
    return (0.6 + 0.1 * shared + 0.02 * own + effects).double()


def check(name: str, asked: Sequence[tuple[Tensor, Tensor, float]]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [made(*one) for one in asked] for slip, made in MISTAKES.items()}
        right = [reference(*one) for one in asked]
        return compared(as_numbers(answers), right, others, tolerance=1e-5)

    return Check(name, 1, [Call(NAME, one) for one in asked], judge)


def draw(generator: Generator) -> list[Check]:
    def asked(n: int) -> tuple[Tensor, Tensor, float]:
        confidence = integer(generator, 90, 97) / 100
        return *draw_scores(generator, 2, n, 0.03), confidence

    whole, failed, single = asked(integer(generator, 4, 8)), asked(9), asked(4)
    failed[0][integer(generator, 1, 3)] = nan
    failed[1][integer(generator, 5, 6)] = nan
    single[0][:2] = nan
    single[1][1:3] = nan
    return [
        check("whole pairs", [whole]),
        check("failed runs", [failed]),
        check("too few pairs", [single, asked(2)]),
    ]
