"""Checkers of lesson 08: a grid of runs, a confidence interval, a paired difference."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, sqrt
from statistics import mean, pstdev, stdev

from annlib.course.checks.base import NotYet, expect, judge, passed, result_of, text
from annlib.course.checks.inputs import draw, normal
from annlib.course.statistics import paired_interval, t_quantile

QUESTION = {"head": ["apnb", "ann"], "pool_scales": ["1", "1,3,6,8"]}
NUM_PIXELS = 200 * 128 * 192  # of the scenes that a run is scored on
Runs = dict[int, float | None]  # seed -> score, None where the run failed


def run_grid(student: Callable[[float, int, float], Mapping[str, list]]) -> None:
    """(minutes a run, cores, budget in minutes) -> lists of head, pool_scales and seed"""
    for _ in range(4):
        minutes, cores, most = draw(2, 9) / 2, draw(1, 5), draw(2, 7)
        rounds = ceil(4 * most / cores)
        budget = rounds * minutes + minutes / 4
        while ceil(4 * (most + 1) / cores) == rounds:  # these fit into the same rounds
            most += 1
        grid = result_of(student, minutes, cores, budget)
        expect(isinstance(grid, Mapping), f"plan gives a {type(grid).__name__}; a dict is wanted.")
        names = (*QUESTION, "seed")
        expect(set(grid) == set(names), "names of the grid", sorted(grid), ", ".join(names))
        for name in names:
            expect(isinstance(grid[name], list), "no list in the grid", name, grid[name])
        for name, wanted in QUESTION.items():
            same = len(grid[name]) == 2 and all(value in grid[name] for value in wanted)
            expect(same, f"{name} is {grid[name]}; the question is about {wanted}.")
        seeds, count = grid["seed"], len(grid["seed"])
        expect(len(set(seeds)) == count, "seed twice in the grid", seeds)
        time = ceil(4 * count / cores) * minutes
        taken = f"4 cells x {count} seeds, {cores} in parallel: {time:g} minutes"
        expect(time <= budget, "over the budget", taken, budget)
        expect(count > 1, "One seed shows no spread, and there is budget for more.")
        expect(count == most, "another seed fits", taken, budget, cores)
    passed("run_grid")


def two_numbers(student: Callable, *inputs: object) -> tuple[float, float]:
    """What the student returns, as two floats; NotYet otherwise."""
    found = result_of(student, *inputs)
    try:
        first, second = map(float, found)
    except (TypeError, ValueError) as error:
        raise NotYet(f"Two numbers are wanted, (..., ...); you return {found!r}.") from error
    expect(first == first and second == second, f"You return nan: {found!r}.")
    return first, second


def scores(count: int, middle: float = 0.7, sd: float = 0.05) -> list[float]:
    return (middle + sd * normal(count).double()).tolist()


def confidence_interval(student: Callable[[Sequence[float]], tuple[float, float]]) -> None:
    """scores of n runs -> (low, high), the 95 % confidence interval of their mean"""
    for n in (draw(3, 4), draw(5, 6), draw(9, 14)):
        values = scores(n)
        low, high = two_numbers(student, list(values))
        s, middle, half = stdev(values), mean(values), (high - low) / 2
        near = 0.02 * s / sqrt(n)
        expect(abs(low - middle) > near or abs(high - middle) <= near, "mean and deviation")
        expect(low < high, f"Your interval runs from {low:.3f} to {high:.3f}: low comes first.")
        found = (low + high) / 2
        expect(abs(found - middle) < near, "middle of the interval", found, middle)
        t, error = t_quantile(0.975, n - 1), s / sqrt(n)
        slips = {
            "s instead of its error": s,
            "t times s": t * s,
            "one standard error": error,
            "normal distribution": 1.96 * error,
            "1.96 times s": 1.96 * s,
            "deviation of a population": t * pstdev(values) / sqrt(n),
            "n degrees of freedom": t_quantile(0.975, n) * error,
            "one side": t_quantile(0.95, n - 1) * error,
            "half of the width": t * error / 2,
            "n counts pixels": t * s / sqrt(NUM_PIXELS),
            "divided by n": t * s / n,
        }
        judge(half, t * error, slips, text("another width", n, s, half), rtol=0.004)
    passed("confidence_interval")


def paired_difference(student: Callable[[Runs, Runs], tuple[float, float]]) -> None:
    """{seed: score or None} of two heads -> (mean difference, half width of its 95 % interval)"""
    for with_failures in (False, True):
        # The seeds of both have much in common, and come in another order; some runs failed.
        n = draw(6, 9)
        common, ours, theirs = scores(n, sd=0.08), scores(n, 0.0, 0.02), scores(n, -0.05, 0.02)
        seeds = [10 + 3 * i for i in range(n)]
        a: Runs = {seed: c + d for seed, c, d in zip(seeds, common, ours, strict=True)}
        b: Runs = {seed: c + d for seed, c, d in zip(seeds, common, theirs, strict=True)}
        if with_failures:
            a[seeds[draw(0, 2)]] = b[seeds[draw(3, 5)]] = None
        b = dict(reversed(b.items()))
        difference, half = two_numbers(student, dict(a), dict(b))
        right = paired_interval(a, b)
        near = 1e-6 * right.half
        expect(abs(difference - right.low) > near or abs(half - right.high) > near, "the two ends")
        filled = ({seed: value or 0.0 for seed, value in runs.items()} for runs in (a, b))
        means = [mean(v for v in runs.values() if v is not None) for runs in (a, b)]
        slips = {
            "sign reversed": -right.mean,
            "failed runs count as zero": paired_interval(*filled).mean,
            "difference of two means": means[0] - means[1],
        }
        otherwise = text("another mean difference", difference)
        judge(difference, right.mean, slips, otherwise, rtol=0, atol=near)
        if abs(half / right.half - 1) >= 1e-6:
            raise NotYet(half_width_advice(half, a, b))
    passed("paired_difference")


def half_width_advice(half: float, a: Runs, b: Runs) -> str:
    pairs = [(a[s], b[s]) for s in a if a[s] is not None and b.get(s) is not None]
    n, s = len(pairs), stdev(x - y for x, y in pairs)
    t, root = t_quantile(0.975, n - 1), sqrt(n)
    by_place = stdev(x - y for (x, _), (_, y) in zip(pairs, reversed(pairs), strict=True))
    errors = [stdev(values) / root for values in zip(*pairs, strict=True)]
    both = sqrt(sum(error**2 for error in errors))
    combined = [t * both, t_quantile(0.975, 2 * n - 2) * both, 1.96 * both, t * sum(errors)]
    slips = dict.fromkeys(combined, "spreads combined") | {
        s: "You return the deviation of the differences; the mean varies less: t · s/√n.",
        t * s: "√n is missing: t · s/√n.",
        s / root: "t is missing: one standard error is not a 95 % interval.",
        1.96 * s / root: "1.96 is for many runs; here t_quantile(0.975, number of pairs - 1).",
        t * by_place / root: "You paired by place: the dicts are in another order. Pair by seed.",
    }
    nearest = min(slips, key=lambda slip: abs(half / slip - 1))  # two slips may be close together
    if abs(half / nearest - 1) <= 0.004:
        return slips[nearest]
    if any(abs(half / slip - 1) <= 0.03 for slip in combined):
        return "spreads combined"
    return text("another half width", n, s, half)
