"""Figures of runs and seeds: dots, intervals, paired differences, simulated studies."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.course.plots.scenes import Picture
from annlib.course.plots.style import BLOCK_COLOURS, INK, styled
from annlib.course.statistics import (
    OPEN,
    REFUTED,
    SUPPORTED,
    Interval,
    Studies,
    half_width,
    interval,
    verdict,
)

LOOKS = {  # of a decision; told apart in grey, too
    SUPPORTED: (BLOCK_COLOURS["nonlocal"], "o"),
    REFUTED: (BLOCK_COLOURS["afnb"], "X"),
    OPEN: (BLOCK_COLOURS["fcn"], "|"),
}
SHOWN = 40  # studies of which the intervals are drawn

Values = Mapping[int, float]  # seed -> value of a metric


@styled
def paired(
    control: tuple[str, Values], treatment: tuple[str, Values], metric: str, smallest_effect: float
) -> Picture:
    """Each seed a line from the control to the treatment; beside it the differences."""
    (control_name, before), (treatment_name, after) = control, treatment
    seeds = [seed for seed in before if seed in after]
    differences = [after[seed] - before[seed] for seed in seeds]
    figure = Figure((8.6, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for seed in seeds:
        left.plot((0, 1), (before[seed], after[seed]), "o-", color=INK, alpha=0.7, linewidth=1.2)
    both = [*before.values(), *after.values()]
    ends = {seed: after[seed] for seed in seeds}
    for seed, height in apart(ends, max(both) - min(both) if both else 0.0).items():
        left.text(1.04, height, str(seed), va="center", size=9)
    left.set_xticks((0, 1), (control_name, treatment_name))
    left.set(xlim=(-0.25, 1.25), ylabel=metric, title="Each line is a seed")
    draw_differences(right, differences, smallest_effect)
    right.set_xlabel(f"{metric}:\n{treatment_name} minus {control_name}")
    said = ", ".join(f"{d:+.3f}" for d in differences)
    decided = verdict(differences, smallest_effect)
    alt = (
        f"{metric} of {control_name} and {treatment_name}, seed by seed. Differences: {said}. "
        f"At a smallest effect of {smallest_effect:g}: {decided}."
    )
    return Picture(figure, alt)


def apart(heights: Mapping[int, float], span: float) -> dict[int, float]:
    """Where to write names beside points, so that none covers another.  span: of the axis"""
    step = 0.06 * span
    placed: dict[int, float] = {}
    lowest = -np.inf
    for seed, height in sorted(heights.items(), key=lambda item: item[1]):
        placed[seed] = lowest = max(height, lowest + step)
    return placed


def draw_differences(axes: Axes, differences: list[float], smallest_effect: float) -> None:
    """Dots, the interval of their mean, and the effect that it is compared with."""
    decided = verdict(differences, smallest_effect)
    colour, _ = LOOKS[decided]
    axes.plot(differences, np.full(len(differences), 1.0), "o", color=INK, alpha=0.7)
    if len(differences) > 1:
        found = interval(differences)
        axes.errorbar(found.mean, 0.5, xerr=found.half, color=colour, marker="D", capsize=5)
    axes.axvline(0, color="#8a8a8a", linewidth=1)
    axes.axvline(smallest_effect, color=INK, linewidth=1.2, linestyle="--")
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(smallest_effect, 0.25, "smallest effect", size=9, ha="center", bbox=clear)
    axes.set_yticks((0.5, 1), ("mean, 95 %", "seeds"))
    axes.set(ylim=(0.2, 1.4), title=f"Decision: {decided}")


@styled
def studies_picture(studies: Studies, effect: float) -> Picture:
    """The intervals of 40 pretended studies; beside them how all of them decided."""
    figure = Figure((8.6, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    verdicts = studies.verdicts
    for row in range(min(SHOWN, len(verdicts))):
        colour, marker = LOOKS[verdicts[row]]
        low, high = (studies.means[row] + sign * studies.halves[row] for sign in (-1, 1))
        left.plot((low, high), (row, row), color=colour, linewidth=1.2)
        left.plot(studies.means[row], row, marker, color=colour, markersize=4.5)
    left.axvline(studies.smallest_effect, color=INK, linewidth=1.2, linestyle="--")
    left.axvline(effect, color=INK, linewidth=1.2)
    reach = max(0.15, 2.2 * float(np.median(studies.halves)))
    left.set(
        yticks=[],
        xlim=(effect - reach, effect + reach),
        xlabel="difference (solid: true; dashed: smallest effect)",
        title=f"{min(SHOWN, len(verdicts))} studies and their intervals",
    )
    shares = {decision: studies.share(decision) for decision in LOOKS}
    bars = right.barh(list(shares), shares.values(), color=[LOOKS[name][0] for name in shares])
    right.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=4)
    right.set(xlim=(0, 1.18), xticks=[], title=f"Decisions of {len(verdicts)} studies")
    right.spines["bottom"].set_visible(False)
    said = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    alt = f"{len(verdicts)} pretended studies of a true effect {effect:g}: {said}."
    return Picture(figure, alt)


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
