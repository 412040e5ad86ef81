"""Figures of training, of runs and seeds, and of simulated studies."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle
from math import isnan
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps

from annlib.config import TrainConfig
from annlib.course import statistics
from annlib.course.plots.scenes import draw_labels
from annlib.course.plots.style import BLOCK_COLOURS, DASHES, GREY, INK, Drawn, new_figure, styled
from annlib.course.runs import Run
from annlib.data.balloon_town.layout import Scene
from annlib.engine.optimization import poly_lr

History = Sequence[tuple[int, float]]  # (step, loss)


@styled
def training_curve(history: History, block: str) -> Drawn:
    """Loss against step: each step thin, the mean of the 20 around it thick."""
    steps, losses = (np.array(values, float) for values in zip(*history, strict=True))
    smooth = [losses[max(0, middle - 10) : middle + 10].mean() for middle in range(len(losses))]
    (figure, axes), colour = new_figure(6.6, 3), BLOCK_COLOURS[block]
    axes.plot(steps, losses, color=colour, alpha=0.35, linewidth=0.9, label="each step")
    axes.plot(steps, smooth, color=colour, label="mean of 20 steps")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None), title="Training loss")
    axes.legend()
    return figure, (
        f"Training curve over {len(steps)} steps: the loss starts at {losses[0]:.2f} and "
        f"{'falls' if smooth[-1] < losses[0] else 'rises'} to {smooth[-1]:.2f}."
    )


@styled
def weight_matrix(weights: np.ndarray, title: str, queries: list[str], keys: list[str]) -> Drawn:
    """A small matrix of attention weights with its numbers, one row for each query.  (N, S)"""
    import seaborn  # takes a second, which lessons without such a matrix can spare

    rows, columns = weights.shape
    figure, axes = new_figure(2.4 + 0.72 * columns, 1.5 + 0.4 * rows)
    look = {"vmin": 0, "vmax": 1, "cmap": "cividis", "annot": True, "fmt": ".2f", "cbar": False}
    look |= {"xticklabels": keys, "yticklabels": queries, "linewidths": 1}
    seaborn.heatmap(weights, ax=axes, **look)
    axes.set(title=title, ylabel="query position", xlabel="key position")
    axes.tick_params(axis="x", rotation=30)
    axes.tick_params(axis="y", rotation=0)
    strongest = "; ".join(
        f"{name} attends most to {keys[row.argmax()]} ({row.max():.2f})"
        for name, row in zip(queries, weights, strict=True)
    )
    return figure, f"{title}: {rows} x {columns} weights. {strongest}."


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of a fortieth of all values to either side of each.  (N,) -> (N,)"""
    reach = len(values) // 40
    spans = [values[max(0, at - reach) : at + reach + 1] for at in range(len(values))]
    return np.array([span.mean() for span in spans])


@styled
def learning_curves(runs: Sequence[Run], names: Sequence[str]) -> Drawn:
    """Loss, mIoU where validated, and a single run's learning rate; an empty run: ValueError."""
    alone, scored = len(runs) == 1, any(run.validations for run in runs)
    ratios = (3, *[1] * alone, *[2] * scored)
    options, height = {"sharex": True, "height_ratios": ratios}, 2.6 + 0.8 * alone + 1.8 * scored
    figure, axes = new_figure(6.6, height, len(ratios), **options)
    axes, colours = np.atleast_1d(axes), colormaps["cividis"](np.linspace(0, 0.75, len(runs)))
    words = [f"Learning curve of {names[0]}." if alone else "Learning curves."]
    for run, name, colour, dashes in zip(runs, names, colours, cycle(DASHES), strict=False):
        if not run.history:
            reason = " ".join(run.troubles) or "its history.jsonl holds no line. Let it train on."
            raise ValueError(f"{run.folder} has no curve yet: {reason}")
        keys = ("step", "loss", "lr")
        steps, losses, rates = (np.array([line[key] for line in run.history]) for key in keys)
        smooth, words = smoothed(losses), words if alone else [*words, f"{name}:"]
        marker = "o" if len(steps) == 1 else ""  # a line through one point would not be seen
        if alone:
            colour = BLOCK_COLOURS.get(run.settings.get("model", {}).get("head"), INK)
            raw = {"alpha": 0.35, "linewidth": 0.9, "label": "as recorded"}
            axes[0].plot(steps, losses, color=colour, **raw)
            axes[1].plot(steps, rates, color=colour, marker=marker)
            axes[1].set(ylabel="learning rate", ylim=(0, None))
        look = {"color": colour, "linestyle": dashes}
        axes[0].plot(steps, smooth, label="smoothed" if alone else name, marker=marker, **look)
        went = "falls" if smooth[-1] < smooth[0] else "rises"
        words.append(
            f"At step {steps[0]} the loss is {smooth[0]:.2f}."
            if len(steps) == 1
            else f"From step {steps[0]} to {steps[-1]} the loss {went} from {smooth[0]:.2f} to "
            f"{smooth[-1]:.2f}."
        )
        if alone:
            highest = f"its highest was {rates.max():.2g}"
            words.append(f"The learning rate ends at {rates[-1]:.2g}, {highest}.")
        if run.validations:
            validated = [one["step"] for one in run.validations]
            percent = [100 * one["miou"] for one in run.validations]
            axes[-1].plot(validated, percent, marker="o", markersize=4, **look)
            axes[-1].set(ylabel="validation mIoU %")
            top = max(run.validations, key=lambda one: -1 if isnan(one["miou"]) else one["miou"])
            text = f"Validation mIoU is best after step {top['step']} ({100 * top['miou']:.1f} %)"
            last = f" and {percent[-1]:.1f} % after step {validated[-1]}."
            words.append(text + (", the last." if validated[-1] == top["step"] else last))
    title = f"Training of {names[0]}" if alone else "Learning curves"
    axes[0].set(ylabel="loss" if alone else "loss, smoothed", ylim=(0, None), title=title)
    axes[0].legend()
    axes[-1].set_xlabel("step")
    return figure, " ".join(words)


@styled
def rates(config: TrainConfig) -> Drawn:
    """The learning rate of every step, beside the published schedule over as many steps."""
    steps, recipes = range(config.iterations), (config, TrainConfig(iterations=config.iterations))
    values, published = ([poly_lr(step, recipe) for step in steps] for recipe in recipes)
    figure, axes = new_figure(7.2, 3)
    axes.plot(steps, values, color=BLOCK_COLOURS["ann"], label="this recipe")
    axes.plot(steps, published, "--", color=INK, linewidth=1.4, label="published recipe (for SGD)")
    axes.set(xlabel="step", ylabel="learning rate", ylim=(0, None), title="Learning rate")
    axes.legend()
    top, small = int(np.argmax(values)), sum(value < 0.1 * max(values) for value in values)
    return figure, (
        f"Step 0 has the learning rate {values[0]:.2g}, step {top} the highest, "
        f"{values[top]:.2g}; half way it is {values[len(values) // 2]:.2g}, in the last step "
        f"{values[-1]:.2g}. {small} of {len(values)} steps have less than a tenth of the highest."
    )


@styled
def one_batch(losses: Mapping[str, Sequence[float]], target: float, blocks: Sequence[str]) -> Drawn:
    """The loss of networks that train on the same batch repeatedly, on a logarithmic axis."""
    figure, axes = new_figure(7.2, 3.2)
    for (name, values), block, dashes in zip(losses.items(), blocks, DASHES, strict=False):
        steps = range(1, len(values) + 1)
        axes.plot(steps, values, dashes, color=BLOCK_COLOURS[block], label=name)
    axes.axhline(target, color=INK, linewidth=1, linestyle=":")
    axes.text(1, target * 1.08, f"target: {target:g}", size=9)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Training on one batch")
    axes.legend()
    said = "; ".join(f"{name} from {v[0]:.2f} to {v[-1]:.3f}" for name, v in losses.items())
    return figure, f"Loss on one batch that is repeated: {said}. The target is {target:g}."


class Validation(NamedTuple):
    """Scores of a run after some step."""

    step: int
    miou: float  # of some unseen scenes
    houses: float  # share of house pixels with the correct kind of house
    labels: np.ndarray  # predicted for the scene that is shown, (H, W)


@styled
def live(
    history: History, validations: Sequence[Validation], total: int, scene: Scene, block: str
) -> Drawn:
    """Loss and scores so far, and the present prediction for a scene.  history: (step, loss)"""
    figure, axes = new_figure(10.5, 3, 1, 3, width_ratios=(1.1, 1.1, 1.25))
    steps, losses = zip(*history, strict=True) if history else ((), ())
    axes[0].plot(steps, losses, color=BLOCK_COLOURS[block], linewidth=1)
    axes[0].set(title="Loss", xlabel="step", xlim=(0, total), ylim=(0, None))
    validated, miou, houses, labels = zip(*validations, strict=True)
    axes[1].plot(validated, miou, "o-", color=INK, label="mIoU", markersize=4)
    axes[1].plot(validated, houses, "s--", color=BLOCK_COLOURS[block], label="houses", markersize=4)
    axes[1].axhline(1 / 3, color=INK, linewidth=1, linestyle=":")
    axes[1].text(total, 0.35, "guessing", size=9, ha="right")
    axes[1].set(title="Unseen scenes", xlabel="step", xlim=(0, total), ylim=(0, 1.02))
    axes[1].legend(loc="upper left", fontsize=9)
    draw_labels(axes[2], scene, f"After step {validated[-1]}", labels[-1], block)
    return figure, f"Training in progress. {say_live(history, validations, total)}"


def say_live(history: History, validations: Sequence[Validation], total: int) -> str:
    """The present step, loss and scores of a run, in words."""
    step, miou, houses, _ = validations[-1]
    now = f"Step {history[-1][0]} of {total}, loss {history[-1][1]:.2f}. " if history else ""
    return f"{now}After step {step}: mIoU {miou:.2f}, houses {houses:.2f} on unseen scenes."


LOOKS = {  # of a decision; they differ in grey, too
    statistics.SUPPORTED: (BLOCK_COLOURS["nonlocal"], "o"),
    statistics.REFUTED: (BLOCK_COLOURS["afnb"], "X"),
    statistics.OPEN: (BLOCK_COLOURS["fcn"], "|"),
}
SHOWN = 40  # studies, or experiments, of which the intervals are drawn
Values = Mapping[int, float]  # seed -> value of a metric


@styled
def paired(
    control: tuple[str, Values], treatment: tuple[str, Values], metric: str, smallest_effect: float
) -> Drawn:
    """A line for each seed from the control to the treatment; beside it the differences."""
    (control_name, before), (treatment_name, after) = control, treatment
    seeds = [seed for seed in before if seed in after]
    differences = [after[seed] - before[seed] for seed in seeds]
    decided = statistics.verdict(differences, smallest_effect)
    figure, (left, right) = new_figure(8.6, 3.5, 1, 2, width_ratios=(1, 1.25))
    for seed in seeds:
        left.plot((0, 1), (before[seed], after[seed]), "o-", color=INK, alpha=0.7, linewidth=1.2)
    values = [*before.values(), *after.values()]
    lowest, gap = -np.inf, 0.06 * (max(values) - min(values)) if values else 0.0
    for seed in sorted(seeds, key=after.get):
        lowest = max(after[seed], lowest + gap)  # labels do not overlap
        left.text(1.04, lowest, str(seed), va="center", size=9)
    left.set_xticks((0, 1), (control_name, treatment_name))
    left.set(xlim=(-0.25, 1.25), ylabel=metric, title="Each line is a seed")
    right.plot(differences, [1] * len(seeds), "o", color=INK, alpha=0.7)
    if len(differences) > 1:
        found, colour = statistics.interval(differences), LOOKS[decided][0]
        right.errorbar(found.mean, 0.5, xerr=found.half, color=colour, marker="D", capsize=5)
    right.axvline(0, color=GREY, linewidth=1)
    right.axvline(smallest_effect, color=INK, linewidth=1.2, linestyle="--")
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    right.text(smallest_effect, 0.25, "smallest effect", size=9, ha="center", bbox=clear)
    right.set_yticks((0.5, 1), ("mean, 95 %", "seeds"))
    right.set(ylim=(0.2, 1.4), title=f"Decision: {decided}")
    right.set_xlabel(f"{metric}:\n{treatment_name} minus {control_name}")
    said = ", ".join(f"{d:+.3f}" for d in differences)
    return figure, (
        f"{metric} of {control_name} and {treatment_name}, seed by seed. Differences: {said}. "
        f"At a smallest effect of {smallest_effect:g}: {decided}."
    )


@styled
def study_intervals(studies: statistics.Studies, effect: float) -> Drawn:
    """The intervals of 40 simulated studies; beside them how all of them decided."""
    figure, (left, right) = new_figure(8.6, 3.7, 1, 2, width_ratios=(1.25, 1))
    verdicts = studies.verdicts
    drawn = zip(verdicts[:SHOWN], studies.means, studies.halves, strict=False)
    for row, (decided, mean, half) in enumerate(drawn):
        colour, marker = LOOKS[decided]
        left.plot((mean - half, mean + half), (row, row), color=colour, linewidth=1.2)
        left.plot(mean, row, marker, color=colour, markersize=4.5)
    left.axvline(studies.smallest_effect, color=INK, linewidth=1.2, linestyle="--")
    left.axvline(effect, color=INK, linewidth=1.2)
    reach = max(0.15, 2.2 * float(np.median(studies.halves)))
    title = f"{min(SHOWN, len(verdicts))} studies and their intervals"
    left.set(yticks=[], xlim=(effect - reach, effect + reach), title=title)
    left.set_xlabel("difference (solid: true; dashed: smallest effect)")
    rates = {decision: studies.share(decision) for decision in LOOKS}
    bars = right.barh(list(rates), rates.values(), color=[LOOKS[name][0] for name in rates])
    right.bar_label(bars, [f"{rate:.0%}" for rate in rates.values()], padding=4)
    right.set(xlim=(0, 1.18), xticks=[], title=f"Decisions of {len(verdicts)} studies")
    right.spines["bottom"].set_visible(False)
    said = ", ".join(f"{name} {rate:.0%}" for name, rate in rates.items())
    return figure, f"{len(verdicts)} simulated studies of a true effect {effect:g}: {said}."


@styled
def dots(groups: Mapping[str, Sequence[float | None]], what: str, heads: Sequence[str]) -> Drawn:
    """A mark for each run beside the mean's 95 % interval; heads give colours; None: failed."""
    figure, axes = new_figure(7.4, 1.5 + 0.55 * max(len(groups), 2))
    words = [f"{what}."]
    for row, ((name, values), head) in enumerate(zip(groups.items(), heads, strict=True)):
        colour = BLOCK_COLOURS.get(head, INK)
        ended = [value for value in values if value is not None]
        look = {"color": colour, "markeredgecolor": INK, "alpha": 0.85, "clip_on": False}
        axes.plot(ended, [row - 0.16] * len(ended), "osD^vP"[row % 6], **look)  # not colour alone
        said = "no finished run"
        if len(ended) == 1:
            said = f"one run, {ended[0]:.3f}, so no spread"
        elif ended:
            found = statistics.interval(ended)
            bar = {"color": colour, "capsize": 4, "marker": "|", "markersize": 11, "elinewidth": 2}
            axes.errorbar(found.mean, row + 0.16, xerr=found.half, **bar)
            said = f"{found}, from {min(ended):.3f} to {max(ended):.3f}"
        if failed := len(values) - len(ended):
            place = axes.get_yaxis_transform()  # at the right of the axes
            axes.text(1.01, row, f"✗ {failed} failed", transform=place, va="center")
            said += f", {failed} failed"
        words.append(f"{name}: {said}.")
    axes.set(yticks=range(len(groups)), yticklabels=list(groups), ylim=(len(groups) - 0.4, -0.6))
    axes.set_xlabel(f"{what}   (bar: 95 % interval of the mean; ✗: failed)")
    axes.grid(axis="x", alpha=0.3)
    return figure, " ".join(words)


@styled
def interval_widths(sd: float, n: int, head: str, level: float) -> Drawn:
    """How wide an interval of n runs is; beside it, what its level means in 40 experiments."""
    sd = max(sd, 1e-6)  # a logarithmic axis has no place for 0
    half_width = partial(statistics.half_width, sd, level=level)
    figure, (left, right) = new_figure(8.4, 3.3, 1, 2)
    colour, half, counts = BLOCK_COLOURS.get(head, INK), half_width(n), np.arange(2, 41)
    normal = half_width(100_000) * np.sqrt(100_000 / counts)
    left.plot(counts, [half_width(int(count)) for count in counts], color=colour, label="with t")
    left.plot(counts, normal, "--", color=INK, linewidth=1.2, label="as if s were known (normal)")
    left.plot(n, half, "o", color=colour, markeredgecolor=INK, markersize=9)
    title = f"{n} runs: ± {half:.3f}"
    left.set(xlabel="runs (seeds)", ylabel="half width", yscale="log", title=title)
    left.legend()
    held, draws = 0, np.random.default_rng(n).normal(0, sd, (SHOWN, n))  # around a true mean of 0
    for place, values in enumerate(draws.tolist()):
        held += (hit := (one := statistics.interval(values, level)).holds(0.0))
        look = {"color": colour, "lw": 2} if hit else {"color": INK, "lw": 3, "ls": ":"}
        right.plot([place, place], [one.low, one.high], **look)
    right.axhline(0, color=INK, linewidth=1)
    right.set(xlabel="simulated experiments (dotted: misses)", ylabel="distance from the truth")
    right.set_title(f"{held} of {SHOWN} contain the true mean")
    return figure, (
        f"Half width of a {level:.0%} interval against the number of runs, for a standard "
        f"deviation of {sd:.3f}: {half_width(2):.3f} with 2 runs, {half:.3f} with {n}. "
        f"Beside it {SHOWN} simulated experiments of {n} runs each: {held} of {SHOWN} intervals "
        "contain the true mean."
    )
