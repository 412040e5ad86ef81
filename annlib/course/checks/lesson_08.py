"""Checker of lesson 08: the difference of two heads, paired by seed, with failed runs in it."""

from collections.abc import Callable
from math import sqrt
from statistics import mean, stdev

from annlib.course.exercises.checking import draw, expect
from annlib.course.exercises.confidence import scores, two_numbers
from annlib.course.intervals import paired_interval, t_quantile
from annlib.course.lines import say

UNPAIRED = (
    "You add up the spreads of both heads. What a seed does to both (order of pictures, first "
    "weights) is in both spreads, but falls out of the differences: take s of those."
)
Runs = dict[int, float | None]  # seed -> score, None where the run failed


def paired_difference(student: Callable[[Runs, Runs], tuple[float, float]]) -> None:
    """{seed: score or None} of two heads -> (mean difference, half width of its 95 % interval)"""
    for with_failures in (False, True):
        ours, theirs = draw_pair(with_failures)
        found = two_numbers(student, dict(ours), dict(theirs))
        check_difference(found, ours, theirs)
    say(
        "Right: differences seed by seed, so what a seed does to both falls out; failed runs "
        "neither count as zero nor shift the others; t · s/√n with the number of pairs."
    )


def draw_pair(with_failures: bool) -> tuple[Runs, Runs]:
    """Two heads whose seeds have much in common, in another order; some runs failed."""
    n = draw(6, 9)
    common, ours, theirs = scores(n, sd=0.08), scores(n, 0.0, 0.02), scores(n, -0.05, 0.02)
    seeds = [10 + 3 * i for i in range(n)]
    a = {seed: c + d for seed, c, d in zip(seeds, common, ours, strict=True)}
    b = {seed: c + d for seed, c, d in zip(seeds, common, theirs, strict=True)}
    if with_failures:
        a[seeds[draw(0, 2)]] = None
        b[seeds[draw(3, 5)]] = None
    return a, dict(reversed(b.items()))


def check_difference(found: tuple[float, float], a: Runs, b: Runs) -> None:
    right = paired_interval(a, b)
    difference, half = found
    near = 1e-6 * right.half
    expect(
        abs(difference - right.low) > near or abs(half - right.high) > near,
        "You return the two ends of the interval; what is wanted are its middle and how far it "
        "reaches to each side: (mean difference, half width).",
    )
    if abs(difference - right.mean) > near:
        explain(difference, right.mean, near, a, b)
    check_half(half, right.half, a, b)


def explain(difference: float, right: float, near: float, a: Runs, b: Runs) -> None:
    """Raises NotYet with the slip that leads to this difference."""
    filled = ({seed: value or 0.0 for seed, value in runs.items()} for runs in (a, b))
    expect(
        abs(difference - paired_interval(*filled).mean) > near,
        "A failed run counts as 0 in yours. It says nothing about the score: leave out the pair, "
        "and say beside the table how many failed.",
    )
    expect(
        abs(difference + right) > near,
        "The sign is turned: ours - theirs is above zero where ours is better.",
    )
    means = [mean(v for v in runs.values() if v is not None) for runs in (a, b)]
    expect(
        abs(difference - (means[0] - means[1])) > near,
        "Yours is a difference of two means, over other seeds each: where one run failed its "
        "partner still counts. Take differences seed by seed, of pairs that are whole.",
    )
    expect(
        False,
        f"The mean difference of the pairs is not {difference:.4f}. Match runs by seed, not by "
        "their place: the two dicts are in another order.",
    )


def check_half(half: float, right: float, a: Runs, b: Runs) -> None:
    """Raises NotYet with the slip that leads to this half width."""
    if abs(half / right - 1) < 1e-6:
        return
    pairs = [(a[s], b[s]) for s in a if a[s] is not None and b.get(s) is not None]
    n, s = len(pairs), stdev(x - y for x, y in pairs)
    by_place = stdev(x - y for (x, _), (_, y) in zip(pairs, reversed(pairs), strict=True))
    spreads = [stdev(values) / sqrt(n) for values in zip(*pairs, strict=True)]
    apart, t = sqrt(sum(error**2 for error in spreads)), t_quantile(0.975, n - 1)
    unpaired = [f * apart for f in (t, t_quantile(0.975, 2 * n - 2), 1.96)] + [t * sum(spreads)]
    found = dict.fromkeys(unpaired, UNPAIRED) | slips(n, s, by_place)
    nearest = min(found, key=lambda slip: abs(half / slip - 1))  # two slips may lie close together
    expect(abs(half / nearest - 1) > 0.004, found[nearest])
    expect(all(abs(half / slip - 1) > 0.03 for slip in unpaired), UNPAIRED)
    expect(
        False,
        f"From {n} whole pairs whose differences deviate by {s:.4f}, the half width is not "
        f"{half:.4f}. It is t · s/√n with n pairs.",
    )


def slips(n: int, s: float, by_place: float) -> dict[float, str]:
    """Half width -> the misconception that leads to it.  by_place: deviation of wrong pairs"""
    t, root = t_quantile(0.975, n - 1), sqrt(n)
    mixed = t * by_place / root
    return {
        s: "You return the deviation of the differences; the mean is known better: t · s/√n.",
        t * s: "√n is missing: t · s/√n.",
        s / root: "t is missing: one standard error is no 95 % interval.",
        1.96 * s / root: "1.96 is for many runs; here t_quantile(0.975, number of pairs - 1).",
        mixed: "You paired by place: the dicts are in another order. Pair by seed.",
    }
