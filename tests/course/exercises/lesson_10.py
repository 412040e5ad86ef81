"""Answers to the exercises of lesson 10, right and wrong."""

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from statistics import mean, stdev

from annlib.course import checks
from annlib.course.statistics import Registration, interval, t_quantile
from exercises import Gallery, Wrong

SOUND = Registration(
    claim="APNB with 110 anchors names houses no worse than the non-local block with 384",
    source="lesson 4",
    treatment="apnb",
    control="nonlocal",
    metric="house accuracy",
    direction="higher",
    smallest_effect=-0.02,
    seeds=(0, 1, 2),
    budget_minutes=20,
)


def registered(**changes: object) -> Callable[[], Registration]:
    """A registration with some fields told otherwise."""
    return lambda: Registration(**(SOUND.__dict__ | changes))


def only_text() -> str:
    return "The pyramid is better."


# Exercise 10.2


def by_interval(differences: Sequence[float], smallest_effect: float) -> str:
    if len(differences) < 2:
        return "cannot tell"
    found = interval(differences)
    if found.low > smallest_effect:
        return "supported"
    return "refuted" if found.high < smallest_effect else "cannot tell"


def by_hand(differences: Sequence[float], smallest_effect: float) -> str:
    n = len(differences)
    if n == 1:
        return "cannot tell"
    t = (mean(differences) - smallest_effect) / (stdev(differences) / sqrt(n) + 1e-15)
    limit = t_quantile(0.975, n - 1)
    return "supported" if t > limit else "refuted" if t < -limit else "cannot tell"


def by_mean(differences: Sequence[float], smallest_effect: float) -> str:
    return "supported" if mean(differences) >= smallest_effect else "refuted"


def against_zero(differences: Sequence[float], smallest_effect: float) -> str:
    return by_interval(differences, 0.0)


def by_deviation(differences: Sequence[float], smallest_effect: float) -> str:
    if len(differences) < 2:
        return "cannot tell"
    low = mean(differences) - 2 * stdev(differences)
    high = mean(differences) + 2 * stdev(differences)
    if low > smallest_effect:
        return "supported"
    return "refuted" if high < smallest_effect else "cannot tell"


def by_normal(differences: Sequence[float], smallest_effect: float) -> str:
    if len(differences) < 2:
        return "cannot tell"
    half = 1.5 * stdev(differences) / sqrt(len(differences))
    if mean(differences) - half > smallest_effect:
        return "supported"
    return "refuted" if mean(differences) + half < smallest_effect else "cannot tell"


def without_sign(differences: Sequence[float], smallest_effect: float) -> str:
    return by_interval([abs(d) for d in differences], smallest_effect)


def by_majority(differences: Sequence[float], smallest_effect: float) -> str:
    ahead = sum(d > smallest_effect for d in differences)
    return "supported" if ahead > len(differences) / 2 else "refuted"


def best_seed(differences: Sequence[float], smallest_effect: float) -> str:
    return "supported" if max(differences) > smallest_effect else "refuted"


def fixed_spread(differences: Sequence[float], smallest_effect: float) -> str:
    if len(differences) < 2 or (stdev(differences) > 0.05 and len(differences) < 20):
        return "cannot tell"
    return by_interval(differences, smallest_effect)


def one_seed_crashes(differences: Sequence[float], smallest_effect: float) -> str:
    found = interval(differences)
    if found.low > smallest_effect:
        return "supported"
    return "refuted" if found.high < smallest_effect else "cannot tell"


GALLERIES = {
    "register": Gallery(
        checks.registration,
        right=[
            registered(),
            registered(smallest_effect=0.05, seeds=(3, 4, 5, 6), metric="mIoU"),
            registered(claim="APNB is as good as the block that it replaces, and right more often"),
        ],
        wrong={
            "no control": Wrong(registered(control="none"), "no control"),
            "control left empty": Wrong(registered(control=""), "control is missing"),
            "one seed": Wrong(registered(seeds=(0,)), "3 at least"),
            "the same seed twice": Wrong(registered(seeds=(0, 0, 1)), "not new evidence"),
            "threshold after the fact": Wrong(registered(smallest_effect=None), "after the fact"),
            "any trace counts": Wrong(registered(smallest_effect=0.0), "any tiny effect"),
            "metric not measured here": Wrong(registered(metric="FID"), "not measured here"),
            "prediction that fits all": Wrong(
                registered(claim="Attention may help networks to name houses better"), "refute"
            ),
            "any direction": Wrong(registered(direction="different"), "fits nearly any"),
            "effect in percent": Wrong(registered(smallest_effect=5), "between 0 and 1"),
            "nearly any loss is no worse": Wrong(registered(smallest_effect=-0.9), "no worse"),
            "only a sentence": Wrong(only_text, "not a Registration"),
        },
    ),
    "decide": Gallery(
        checks.decide,
        right=[by_interval, by_hand],
        wrong={
            "the mean alone": Wrong(by_mean, "cannot tell"),
            "compared with 0": Wrong(against_zero, "not with 0"),
            "deviation for standard error": Wrong(by_deviation, "standard error"),
            "too sure for three seeds": Wrong(by_normal, "too sure"),
            "sign forgotten": Wrong(without_sign, "sign"),
            "majority of seeds": Wrong(by_majority, "cannot tell"),
            "the best seed": Wrong(best_seed, "cannot tell"),
            "one seed stops it": Wrong(one_seed_crashes, "one seed has no spread"),
        },
    ),
    "budget": Gallery(
        checks.seeds_in_budget,
        right=[
            lambda minutes, seconds, arms: int(60 * minutes // (seconds * arms)),
            lambda minutes, seconds, arms: int(minutes / (arms * seconds / 60)),
        ],
        wrong={
            "runs, not seeds": Wrong(lambda m, s, a: int(60 * m / s), "number of runs"),
            "minutes taken for seconds": Wrong(lambda m, s, a: int(m / s / a), "not seconds"),
            "rounded up": Wrong(lambda m, s, a: ceil(60 * m / s / a), "time runs out"),
            "rounded to the nearest": Wrong(lambda m, s, a: round(60 * m / s / a), "seed"),
            "no whole number": Wrong(lambda m, s, a: 60 * m / s / a, "whole number"),
            "at least one": Wrong(lambda m, s, a: max(1, int(60 * m / s / a)), "too short"),
        },
    ),
}
