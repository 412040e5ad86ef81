"""Figures of training: learning rates, learning curves, losses on one batch."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import isnan
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps

from annlib.config import TrainConfig
from annlib.course.plots import style
from annlib.course.plots.scenes import name_houses
from annlib.course.plots.style import BLOCK_COLOURS, DASHES, INK, FigureWithAlt, new_figure, styled
from annlib.course.runs import Run
from annlib.data.balloon_town.layout import Scene
from annlib.engine.optimization import poly_lr

History = Sequence[tuple[int, float]]  # (step, loss)


@styled
def training_curve(history: History, block: str) -> FigureWithAlt:
    """Loss against step: each step thin, the mean of the 20 around it thick."""
    steps, losses = (np.array(values, float) for values in zip(*history, strict=True))
    smooth = [losses[max(0, middle - 10) : middle + 10].mean() for middle in range(len(losses))]
    figure, axes = new_figure(6.6, 3)
    colour = BLOCK_COLOURS[block]
    axes.plot(steps, losses, color=colour, alpha=0.35, linewidth=0.9, label="each step")
    axes.plot(steps, smooth, color=colour, label="mean of 20 steps")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None), title="Training loss")
    axes.legend()
    alt = (
        f"Training curve over {len(steps)} steps: the loss starts at {losses[0]:.2f} and "
        f"{'falls' if smooth[-1] < losses[0] else 'rises'} to {smooth[-1]:.2f}."
    )
    return FigureWithAlt(figure, alt)


@styled
def weight_matrix(
    weights: np.ndarray, title: str, queries: Sequence[str], keys: Sequence[str]
) -> FigureWithAlt:
    """A small matrix of attention weights with its numbers, one row for each query.  (N, S)"""
    import seaborn  # takes a second, which lessons without such a matrix can spare

    rows, columns = weights.shape
    figure, axes = new_figure(2.4 + 0.72 * columns, 1.5 + 0.4 * rows)
    look = {"vmin": 0, "vmax": 1, "cmap": "cividis", "annot": True, "fmt": ".2f", "cbar": False}
    ticks = {"xticklabels": list(keys), "yticklabels": list(queries)}
    seaborn.heatmap(weights, ax=axes, linewidths=1, **look, **ticks)
    axes.set(title=title, ylabel="query position", xlabel="key position")
    axes.tick_params(axis="x", rotation=30)
    axes.tick_params(axis="y", rotation=0)
    strongest = "; ".join(
        f"{name} attends most to {keys[row.argmax()]} ({row.max():.2f})"
        for name, row in zip(queries, weights, strict=True)
    )
    return FigureWithAlt(figure, f"{title}: {rows} x {columns} weights. {strongest}.")


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of a fortieth of all values to either side of each.  (N,) -> (N,)"""
    reach = len(values) // 40
    spans = [values[max(0, at - reach) : at + reach + 1] for at in range(len(values))]
    return np.array([span.mean() for span in spans])


@styled
def learning_curves(runs: Sequence[Run], names: Sequence[str]) -> FigureWithAlt:
    """Loss, mIoU where validated, and a single run's learning rate; an empty run: ValueError."""
    alone, scored = len(runs) == 1, any(run.validations for run in runs)
    ratios = (3, *[1] * alone, *[2] * scored)
    options = {"sharex": True, "squeeze": False, "height_ratios": ratios}
    figure, axes = new_figure(6.6, 2.6 + 0.8 * alone + 1.8 * scored, len(ratios), **options)
    axes = axes[:, 0]
    colours = colormaps["cividis"](np.linspace(0, 0.75, len(runs)))
    words = [f"Learning curve of {names[0]}." if alone else "Learning curves."]
    for run, name, colour, dashes in zip(runs, names, colours, cycle(DASHES), strict=False):
        if not run.history:
            raise ValueError(
                f"{run.folder} has no curve yet: its history.jsonl holds no line. Let it train on."
            )
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
        words.append(say_loss(steps, smooth))
        if alone:
            highest = f"its highest was {rates.max():.2g}"
            words.append(f"The learning rate ends at {rates[-1]:.2g}, {highest}.")
        if run.validations:
            validated = [line["step"] for line in run.validations]
            percent = [100 * line["miou"] for line in run.validations]
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
    return FigureWithAlt(figure, " ".join(words))


def say_loss(steps: np.ndarray, smooth: np.ndarray) -> str:
    if len(steps) == 1:
        return f"At step {steps[0]} the loss is {smooth[0]:.2f}."
    went = "falls" if smooth[-1] < smooth[0] else "rises"
    return (
        f"From step {steps[0]} to {steps[-1]} the loss {went} from {smooth[0]:.2f} to "
        f"{smooth[-1]:.2f}."
    )


@styled
def rates(config: TrainConfig) -> FigureWithAlt:
    """The learning rate of every step, beside the published schedule over as many steps."""
    published = TrainConfig(iterations=config.iterations)
    figure, axes = new_figure(7.2, 3)
    steps = range(config.iterations)
    values = [poly_lr(step, config) for step in steps]
    axes.plot(steps, values, color=BLOCK_COLOURS["ann"], label="this recipe")
    other = [poly_lr(step, published) for step in steps]
    axes.plot(steps, other, "--", color=INK, linewidth=1.4, label="published recipe (for SGD)")
    axes.set(xlabel="step", ylabel="learning rate", ylim=(0, None), title="Learning rate")
    axes.legend()
    top = int(np.argmax(values))
    small = sum(value < 0.1 * values[top] for value in values)
    alt = (
        f"Step 0 has the learning rate {values[0]:.2g}, step {top} the highest, "
        f"{values[top]:.2g}; half way it is {values[len(values) // 2]:.2g}, in the last step "
        f"{values[-1]:.2g}. {small} of {len(values)} steps have less than a tenth of the highest."
    )
    return FigureWithAlt(figure, alt)


@styled
def one_batch(
    losses: Mapping[str, Sequence[float]], target: float, blocks: Sequence[str]
) -> FigureWithAlt:
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
    alt = f"Loss on one batch that is repeated: {said}. The target is {target:g}."
    return FigureWithAlt(figure, alt)


class Validation(NamedTuple):
    """Scores of a run after some step."""

    step: int
    miou: float  # of some unseen scenes
    houses: float  # share of house pixels with the correct kind of house
    labels: np.ndarray  # predicted for the scene that is shown, (H, W)


@styled
def live(
    history: History, validations: Sequence[Validation], total: int, scene: Scene, block: str
) -> FigureWithAlt:
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
    style.draw_image(axes[2], style.colour_labels(labels[-1]), f"After step {validated[-1]}", block)
    name_houses(axes[2], scene, labels[-1])
    return FigureWithAlt(figure, f"Training in progress. {say_live(history, validations, total)}")


def say_live(history: History, validations: Sequence[Validation], total: int) -> str:
    """The present step, loss and scores of a run, in words."""
    last = validations[-1]
    now = f"Step {history[-1][0]} of {total}, loss {history[-1][1]:.2f}. " if history else ""
    return (
        f"{now}After step {last.step}: mIoU {last.miou:.2f}, houses {last.houses:.2f} on unseen "
        "scenes."
    )
