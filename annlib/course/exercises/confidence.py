"""Checker of lesson 08: the confidence interval of a mean from few runs."""

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import NormalDist, mean, pstdev, stdev

from annlib.course.exercises.checking import NotYet, draw, expect, normal
from annlib.course.intervals import t_quantile
from annlib.course.lines import say

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
    for wrong, advice in slips(n, s, pstdev(values)).items():
        expect(abs(half / wrong - 1) > 0.004, advice)
    right = t_quantile(0.975, n - 1) * s / sqrt(n)
    expect(
        abs(half / right - 1) < 0.004,
        f"With n = {n} and s = {s:.4f} your interval reaches {half:.4f} to each side. It should be "
        "t · s/√n, with t from t_quantile(0.975, n - 1).",
    )


def slips(n: int, s: float, population: float) -> dict[float, str]:
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
