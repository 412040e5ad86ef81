"""Runs as dots with the interval of their mean, and how an interval shrinks with more runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.intervals import Interval, half_width, interval
from annlib.course.plots import Picture

MARKS = "osD^vP"  # one for each group, so that colour is not needed
EXPERIMENTS = 40  # pretended, in the picture of what 95 % means


@styled
def dots(groups: Mapping[str, Sequence[float | None]], what: str, heads: Sequence[str]) -> Picture:
    """Each run a mark, the mean's 95 % interval beside it, a failed run (None) a cross below.

    heads: for each group the block that gives it its colour.
    """
    figure = Figure((7.4, 1.5 + 0.55 * max(len(groups), 2)), layout="constrained")
    axes = figure.subplots()
    words = []
    for row, ((name, values), head) in enumerate(zip(groups.items(), heads, strict=True)):
        words.append(draw_group(axes, row, name, values, BLOCK_COLOURS.get(head, INK)))
    axes.set(
        yticks=range(len(groups)),
        yticklabels=list(groups),
        ylim=(len(groups) - 0.4, -0.6),
        xlabel=f"{what}   (bar: 95 % interval of the mean; ✗: failed)",
    )
    axes.grid(axis="x", alpha=0.3)
    return Picture(figure, f"{what}. " + " ".join(words))


def draw_group(axes: Axes, row: int, name: str, values: Sequence[float | None], colour: str) -> str:
    """One group in one row; returns it in words."""
    sound = [value for value in values if value is not None]
    failed = len(values) - len(sound)
    axes.plot(
        sound,
        [row - 0.16] * len(sound),
        MARKS[row % len(MARKS)],
        color=colour,
        markeredgecolor=INK,
        alpha=0.85,
        clip_on=False,
    )
    if failed:
        axes.text(
            1.01, row, f"✗ {failed} failed", transform=axes.get_yaxis_transform(), va="center"
        )
    if len(sound) > 1:
        found = interval(sound)
        bar = {"color": colour, "capsize": 4, "marker": "|", "markersize": 11, "elinewidth": 2}
        axes.errorbar(found.mean, row + 0.16, xerr=found.half, **bar)
    return f"{name}: {say_group(sound)}{f', {failed} failed' if failed else ''}."


def say_group(values: Sequence[float]) -> str:
    """Runs in words."""
    if not values:
        return "no finished run"
    if len(values) == 1:
        return f"one run, {values[0]:.3f}, so no spread"
    return f"{interval(values)}, from {min(values):.3f} to {max(values):.3f}"


@styled
def narrowing(sd: float, n: int, head: str, level: float) -> Picture:
    """How wide an interval of n runs is; beside it, what its level means in 40 pretended tries."""
    sd = max(sd, 1e-6)  # a logarithmic axis has no place for 0
    figure = Figure((8.4, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    colour = BLOCK_COLOURS.get(head, INK)
    draw_widths(left, sd, n, level, colour)
    held = draw_tries(right, pretend(sd, n, level), colour)
    alt = (
        f"Half width of a {level:.0%} interval against the number of runs, for runs that deviate "
        f"by {sd:.3f}: {half_width(sd, 2, level):.3f} with 2 runs, {half_width(sd, n, level):.3f} "
        f"with {n}. Beside it {EXPERIMENTS} pretended experiments of {n} runs each: {held} of "
        f"{EXPERIMENTS} intervals hold the true mean."
    )
    return Picture(figure, alt)


def draw_widths(axes: Axes, sd: float, n: int, level: float, colour: str) -> None:
    """The half width with t, and what one would believe with the normal distribution."""
    counts = np.arange(2, 41)
    widths = np.array([half_width(sd, int(count), level) for count in counts])
    normal = half_width(sd, 100_000, level) * np.sqrt(100_000 / counts)
    axes.plot(counts, widths, color=colour, label="with t")
    axes.plot(counts, normal, "--", color=INK, linewidth=1.2, label="as if s were known (normal)")
    axes.plot(n, half_width(sd, n, level), "o", color=colour, markeredgecolor=INK, markersize=9)
    axes.set(
        xlabel="runs (seeds)",
        ylabel="half width",
        yscale="log",
        title=f"{n} runs: ± {half_width(sd, n, level):.3f}",
    )
    axes.legend()


def pretend(sd: float, n: int, level: float) -> list[Interval]:
    """Intervals of experiments with runs drawn around 0; the same for the same n."""
    draws = np.random.default_rng(n).normal(0, sd, (EXPERIMENTS, n))
    return [interval(list(map(float, row)), level) for row in draws]


def draw_tries(axes: Axes, tries: Sequence[Interval], colour: str) -> int:
    """One bar a try, dashed and dark if it misses the truth; returns how many hold it."""
    for place, one in enumerate(tries):
        hit = one.holds(0.0)
        look = {"color": colour if hit else INK, "linestyle": "-" if hit else ":"}
        axes.plot([place, place], [one.low, one.high], linewidth=2 if hit else 3, **look)
    axes.axhline(0, color=INK, linewidth=1)
    held = sum(one.holds(0.0) for one in tries)
    axes.set(
        xlabel="pretended experiments (dotted: misses)",
        ylabel="distance from the truth",
        title=f"{held} of {len(tries)} hold the truth",
    )
    return held
