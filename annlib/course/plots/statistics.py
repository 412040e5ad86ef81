"""Figures of runs and seeds: dots, intervals, paired differences, simulated studies."""

from collections.abc import Mapping, Sequence

import numpy as np

from annlib.course.plots.style import BLOCK_COLOURS, GREY, INK, FigureWithAlt, new_figure, styled
from annlib.course.statistics import (
    OPEN,
    REFUTED,
    SUPPORTED,
    Studies,
    half_width,
    interval,
    verdict,
)

LOOKS = {  # of a decision; they differ in grey, too
    SUPPORTED: (BLOCK_COLOURS["nonlocal"], "o"),
    REFUTED: (BLOCK_COLOURS["afnb"], "X"),
    OPEN: (BLOCK_COLOURS["fcn"], "|"),
}
SHOWN = 40  # studies, or experiments, of which the intervals are drawn
MARKS = "osD^vP"  # one for each group, so that colour is not needed

Values = Mapping[int, float]  # seed -> value of a metric


@styled
def paired(
    control: tuple[str, Values], treatment: tuple[str, Values], metric: str, smallest_effect: float
) -> FigureWithAlt:
    """A line for each seed from the control to the treatment; beside it the differences."""
    (control_name, before), (treatment_name, after) = control, treatment
    seeds = [seed for seed in before if seed in after]
    differences = [after[seed] - before[seed] for seed in seeds]
    figure, (left, right) = new_figure(8.6, 3.5, 1, 2, width_ratios=(1, 1.25))
    for seed in seeds:
        left.plot((0, 1), (before[seed], after[seed]), "o-", color=INK, alpha=0.7, linewidth=1.2)
    both = [*before.values(), *after.values()]
    ends = {seed: after[seed] for seed in seeds}
    for seed, height in spread_labels(ends, max(both) - min(both) if both else 0.0).items():
        left.text(1.04, height, str(seed), va="center", size=9)
    left.set_xticks((0, 1), (control_name, treatment_name))
    left.set(xlim=(-0.25, 1.25), ylabel=metric, title="Each line is a seed")
    decided = verdict(differences, smallest_effect)
    right.plot(differences, np.full(len(differences), 1.0), "o", color=INK, alpha=0.7)
    if len(differences) > 1:
        found = interval(differences)
        look = {"color": LOOKS[decided][0], "marker": "D", "capsize": 5}
        right.errorbar(found.mean, 0.5, xerr=found.half, **look)
    right.axvline(0, color=GREY, linewidth=1)
    right.axvline(smallest_effect, color=INK, linewidth=1.2, linestyle="--")
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    right.text(smallest_effect, 0.25, "smallest effect", size=9, ha="center", bbox=clear)
    right.set_yticks((0.5, 1), ("mean, 95 %", "seeds"))
    right.set(ylim=(0.2, 1.4), title=f"Decision: {decided}")
    right.set_xlabel(f"{metric}:\n{treatment_name} minus {control_name}")
    said = ", ".join(f"{d:+.3f}" for d in differences)
    alt = (
        f"{metric} of {control_name} and {treatment_name}, seed by seed. Differences: {said}. "
        f"At a smallest effect of {smallest_effect:g}: {decided}."
    )
    return FigureWithAlt(figure, alt)


def spread_labels(heights: Mapping[int, float], span: float) -> dict[int, float]:
    """Heights of labels beside points, so that labels do not overlap.  span: of the axis"""
    placed: dict[int, float] = {}
    lowest = -np.inf
    for seed, height in sorted(heights.items(), key=lambda item: item[1]):
        placed[seed] = lowest = max(height, lowest + 0.06 * span)
    return placed


@styled
def study_intervals(studies: Studies, effect: float) -> FigureWithAlt:
    """The intervals of 40 simulated studies; beside them how all of them decided."""
    figure, (left, right) = new_figure(8.6, 3.7, 1, 2, width_ratios=(1.25, 1))
    verdicts = studies.verdicts
    shown = min(SHOWN, len(verdicts))
    for row in range(shown):
        colour, marker = LOOKS[verdicts[row]]
        mean, half = studies.means[row], studies.halves[row]
        left.plot((mean - half, mean + half), (row, row), color=colour, linewidth=1.2)
        left.plot(mean, row, marker, color=colour, markersize=4.5)
    left.axvline(studies.smallest_effect, color=INK, linewidth=1.2, linestyle="--")
    left.axvline(effect, color=INK, linewidth=1.2)
    reach = max(0.15, 2.2 * float(np.median(studies.halves)))
    left.set(yticks=[], xlim=(effect - reach, effect + reach))
    left.set_xlabel("difference (solid: true; dashed: smallest effect)")
    left.set_title(f"{shown} studies and their intervals")
    rates = {decision: studies.share(decision) for decision in LOOKS}
    bars = right.barh(list(rates), rates.values(), color=[LOOKS[name][0] for name in rates])
    right.bar_label(bars, [f"{rate:.0%}" for rate in rates.values()], padding=4)
    right.set(xlim=(0, 1.18), xticks=[], title=f"Decisions of {len(verdicts)} studies")
    right.spines["bottom"].set_visible(False)
    said = ", ".join(f"{name} {rate:.0%}" for name, rate in rates.items())
    alt = f"{len(verdicts)} simulated studies of a true effect {effect:g}: {said}."
    return FigureWithAlt(figure, alt)


@styled
def dots(
    groups: Mapping[str, Sequence[float | None]], what: str, heads: Sequence[str]
) -> FigureWithAlt:
    """A mark for each run beside the mean's 95 % interval; heads give colours; None: failed."""
    figure, axes = new_figure(7.4, 1.5 + 0.55 * max(len(groups), 2))
    words = [f"{what}."]
    for row, ((name, values), head) in enumerate(zip(groups.items(), heads, strict=True)):
        colour = BLOCK_COLOURS.get(head, INK)
        ended = [value for value in values if value is not None]
        look = {"color": colour, "markeredgecolor": INK, "alpha": 0.85, "clip_on": False}
        axes.plot(ended, [row - 0.16] * len(ended), MARKS[row % len(MARKS)], **look)
        said = "no finished run"
        if len(ended) == 1:
            said = f"one run, {ended[0]:.3f}, so no spread"
        elif ended:
            found = interval(ended)
            bar = {"color": colour, "capsize": 4, "marker": "|", "markersize": 11, "elinewidth": 2}
            axes.errorbar(found.mean, row + 0.16, xerr=found.half, **bar)
            said = f"{found}, from {min(ended):.3f} to {max(ended):.3f}"
        if failed := len(values) - len(ended):
            at_right = {"transform": axes.get_yaxis_transform(), "va": "center"}
            axes.text(1.01, row, f"✗ {failed} failed", **at_right)
            said += f", {failed} failed"
        words.append(f"{name}: {said}.")
    axes.set(yticks=range(len(groups)), yticklabels=list(groups), ylim=(len(groups) - 0.4, -0.6))
    axes.set_xlabel(f"{what}   (bar: 95 % interval of the mean; ✗: failed)")
    axes.grid(axis="x", alpha=0.3)
    return FigureWithAlt(figure, " ".join(words))


@styled
def interval_widths(sd: float, n: int, head: str, level: float) -> FigureWithAlt:
    """How wide an interval of n runs is; beside it, what its level means in 40 experiments."""
    sd = max(sd, 1e-6)  # a logarithmic axis has no place for 0
    figure, (left, right) = new_figure(8.4, 3.3, 1, 2, width_ratios=(1, 1))
    colour, half = BLOCK_COLOURS.get(head, INK), half_width(sd, n, level)
    counts = np.arange(2, 41)
    widths = [half_width(sd, int(count), level) for count in counts]
    normal = half_width(sd, 100_000, level) * np.sqrt(100_000 / counts)
    left.plot(counts, widths, color=colour, label="with t")
    left.plot(counts, normal, "--", color=INK, linewidth=1.2, label="as if s were known (normal)")
    left.plot(n, half, "o", color=colour, markeredgecolor=INK, markersize=9)
    left.set(xlabel="runs (seeds)", ylabel="half width", yscale="log")
    left.set_title(f"{n} runs: ± {half:.3f}")
    left.legend()
    draws = np.random.default_rng(n).normal(0, sd, (SHOWN, n))  # around a true mean of 0
    tries = [interval(list(map(float, row)), level) for row in draws]
    for place, one in enumerate(tries):
        hit = one.holds(0.0)
        look = {"color": colour if hit else INK, "linestyle": "-" if hit else ":"}
        right.plot([place, place], [one.low, one.high], linewidth=2 if hit else 3, **look)
    right.axhline(0, color=INK, linewidth=1)
    held = sum(one.holds(0.0) for one in tries)
    right.set(xlabel="simulated experiments (dotted: misses)", ylabel="distance from the truth")
    right.set_title(f"{held} of {SHOWN} contain the true mean")
    alt = (
        f"Half width of a {level:.0%} interval against the number of runs, for a standard "
        f"deviation of {sd:.3f}: {half_width(sd, 2, level):.3f} with 2 runs, {half:.3f} with {n}. "
        f"Beside it {SHOWN} simulated experiments of {n} runs each: {held} of {SHOWN} intervals "
        "contain the true mean."
    )
    return FigureWithAlt(figure, alt)
