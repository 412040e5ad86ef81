"""Two arms, seed by seed, with the interval of their difference; and many pretended studies."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.course.capstone import OPEN, REFUTED, SUPPORTED, Studies, verdict
from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.intervals import interval
from annlib.course.plots import Picture

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
