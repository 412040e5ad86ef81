"""Checkers of lesson 08: a grid of runs, a confidence interval, a paired difference."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, sqrt
from statistics import NormalDist, mean, pstdev, stdev

from annlib.course.checks.base import NotYet, draw, expect, normal
from annlib.course.lesson import say
from annlib.course.statistics import paired_interval, t_quantile

HEADS, BINS = ["apnb", "ann"], ["1", "1,3,6,8"]


def run_grid(student: Callable[[float, int, float], Mapping[str, list]]) -> None:
    """(minutes a run, cores, budget in minutes) -> lists of head, pool_scales and seed"""
    for _ in range(4):
        minutes, cores, seeds = draw(2, 9) / 2, draw(1, 5), draw(2, 7)
        waves = ceil(4 * seeds / cores)
        budget = waves * minutes + minutes / 4
        while ceil(4 * (seeds + 1) / cores) == waves:  # these fit into the same waves
            seeds += 1
        check_grid(planned(student, minutes, cores, budget), minutes, cores, budget, seeds)
    say(
        "Right: every head with every pyramid and every seed, no seed twice, as many seeds as the "
        "budget pays on the cores there are, and not one run more."
    )


def planned(
    student: Callable[[float, int, float], Mapping[str, list]],
    minutes: float,
    cores: int,
    budget: float,
) -> Mapping[str, list]:
    """The student's grid; NotYet if it is none."""
    expect(callable(student), "Put your function in place of the three dots.")
    try:
        grid = student(minutes, cores, budget)
    except Exception as error:
        raise NotYet(
            f"plan({minutes}, {cores}, {budget}) stopped with {type(error).__name__}: {error}"
        ) from error
    expect(
        grid is not None and grid is not ...,
        "plan gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    expect(isinstance(grid, Mapping), f"plan gives a {type(grid).__name__}; a dict is wanted.")
    check_names(grid)
    return grid


def check_names(grid: Mapping[str, list]) -> None:
    """The parameters of the job, each with a list."""
    names = ("head", "pool_scales", "seed")
    expect(
        set(grid) == set(names),
        f"The grid's parameters are {sorted(grid)}; the job's are called {', '.join(names)}. A "
        "parameter that the notebook does not know would have no effect.",
    )
    for name in names:
        expect(
            isinstance(grid[name], list),
            f"{name} is {grid[name]!r}. A grid goes into a JSON file: each parameter takes a list "
            "of values, also for one value; a range becomes one by list(...).",
        )


def check_grid(
    grid: Mapping[str, list], minutes: float, cores: int, budget: float, most: int
) -> None:
    for name, wanted in (("head", HEADS), ("pool_scales", BINS)):
        expect(
            len(grid[name]) == 2 and all(value in grid[name] for value in wanted),
            f"{name} is {grid[name]}; the question is about {wanted}.",
        )
    check_seeds(grid, minutes, cores, budget, most)


def check_seeds(
    grid: Mapping[str, list], minutes: float, cores: int, budget: float, most: int
) -> None:
    """As many as fit, none twice."""
    seeds = grid["seed"]
    expect(
        len(set(seeds)) == len(seeds),
        f"Seeds {seeds}: one comes twice. The same seed gives the same run, not a second witness.",
    )
    cells = len(grid["head"]) * len(grid["pool_scales"])
    waves = ceil(cells * len(seeds) / cores)
    told = (
        f"{cells} cells x {len(seeds)} seeds, {cores} runs at a time: {waves * minutes:g} minutes"
    )
    expect(
        waves * minutes <= budget,
        f"{told}, but the budget is {budget:g}. Multiply all the lists of the grid, and count in "
        "rounds: the last round takes a whole run even if some cores are idle.",
    )
    expect(len(seeds) > 1, "One seed shows no spread, and there is budget for more.")
    expect(
        len(seeds) == most,
        f"{told} of {budget:g}. Another seed would still fit: cores work side by side, so in a "
        f"budget there are rounds of {cores}.",
    )


NORMAL = NormalDist().inv_cdf(0.975)
VALUES = 200 * 128 * 192  # pixels of the scenes that a run is scored on


def two_numbers(
    student: Callable[..., tuple[float, float]], *inputs: object
) -> tuple[float, float]:
    """What the student returns, as two floats; NotYet otherwise."""
    name = getattr(student, "__name__", type(student).__name__)
    expect(callable(student), "Put your function in place of the three dots.")
    try:
        found = student(*inputs)
    except Exception as error:
        raise NotYet(f"{name} stopped with {type(error).__name__}: {error}") from error
    expect(
        found is not None and found is not ...,
        f"{name} gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    try:
        first, second = map(float, found)
    except (TypeError, ValueError) as error:
        raise NotYet(f"{name} gives {found!r}; two numbers are wanted: (..., ...).") from error
    expect(first == first and second == second, f"{name} gives nan: {found!r}.")
    return first, second


def scores(count: int, middle: float = 0.7, sd: float = 0.05) -> list[float]:
    """Scores of so many runs, drawn anew."""
    return (middle + sd * normal(count).double()).tolist()


def confidence_interval(student: Callable[[Sequence[float]], tuple[float, float]]) -> None:
    """scores of n runs -> (low, high), the 95 % confidence interval of their mean"""
    for n in (draw(3, 4), draw(5, 6), draw(9, 14)):
        values = scores(n)
        low, high = two_numbers(student, list(values))
        check_interval(low, high, values)
    say(
        "Right: the mean, plus and minus Student's t with n - 1 degrees of freedom times the "
        "standard error s/√n, for n small and larger."
    )


def check_interval(low: float, high: float, values: Sequence[float]) -> None:
    n, s, middle = len(values), stdev(values), mean(values)
    near = 0.02 * s / sqrt(n)
    given = (low, high)
    expect(
        abs(low - middle) > near or abs(high - middle) <= near,
        "You return the mean and a number beside it (half width or deviation?); what is wanted "
        "are the two ends: mean - half, mean + half.",
    )
    expect(low < high, f"Your interval runs from {low:.3f} to {high:.3f}: low comes first.")
    expect(
        abs((low + high) / 2 - middle) < near,
        f"The interval's middle is {sum(given) / 2:.4f}, the mean of the runs {middle:.4f}. It "
        "reaches as far below the mean as above.",
    )
    half = (high - low) / 2
    for wrong, advice in interval_slips(n, s, pstdev(values)).items():
        expect(abs(half / wrong - 1) > 0.004, advice)
    right = t_quantile(0.975, n - 1) * s / sqrt(n)
    expect(
        abs(half / right - 1) < 0.004,
        f"With n = {n} and s = {s:.4f} your interval reaches {half:.4f} to each side. It should be "
        "t · s/√n, with t from t_quantile(0.975, n - 1).",
    )


def interval_slips(n: int, s: float, population: float) -> dict[float, str]:
    """Half width -> the misconception that leads to it."""
    t, error = t_quantile(0.975, n - 1), s / sqrt(n)
    return {
        s: "You return mean ± s: where single runs lie. The mean of n is known better, by √n.",
        t * s: "You left out √n: the spread of the mean is s/√n, the standard error, not s.",
        error: "You left out t: mean ± one standard error holds the true mean far less often.",
        NORMAL * error: "1.96 is for a spread that is known, or for hundreds of runs. Here s is "
        "estimated from few: take t_quantile(0.975, n - 1).",
        NORMAL * s: "Two slips: s instead of s/√n, and 1.96 instead of t.",
        t * population / sqrt(n): "Your deviation divides by n. From a sample it divides by n - 1: "
        "statistics.stdev, not pstdev (numpy: ddof=1).",
        t_quantile(0.975, n) * error: "Degrees of freedom are n - 1: one went into the mean.",
        t_quantile(0.95, n - 1) * error: "t_quantile(0.95, ...) leaves 5 % on one side. Two sides "
        "with 2.5 % each: 0.975.",
        t * error / 2: "The interval reaches t·s/√n to each side; yours is half of that in all.",
        t
        * s
        / sqrt(VALUES): "You divide by the root of the number of pixels. Pixels of one network "
        "are no independent witnesses of how training goes: n counts runs.",
        t * s / n: "You divide by n; the standard error has its square root.",
    }


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
    found = dict.fromkeys(unpaired, UNPAIRED) | difference_slips(n, s, by_place)
    nearest = min(found, key=lambda slip: abs(half / slip - 1))  # two slips may lie close together
    expect(abs(half / nearest - 1) > 0.004, found[nearest])
    expect(all(abs(half / slip - 1) > 0.03 for slip in unpaired), UNPAIRED)
    expect(
        False,
        f"From {n} whole pairs whose differences deviate by {s:.4f}, the half width is not "
        f"{half:.4f}. It is t · s/√n with n pairs.",
    )


def difference_slips(n: int, s: float, by_place: float) -> dict[float, str]:
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
