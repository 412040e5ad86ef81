"""Figures of training: learning rates, learning curves, losses on one batch."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import isnan
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.config import TrainConfig
from annlib.course.plots.scenes import Picture
from annlib.course.plots.style import (
    BLOCK_COLOURS,
    INK,
    colour_labels,
    draw_image,
    name_houses,
    styled,
)
from annlib.data.balloon_town.layout import Scene
from annlib.engine.runs import Run
from annlib.engine.train import poly_lr

DASHES = ("-", "--", ":", "-.")  # of curves that have no colour of their own


@styled
def training_curve(history: Sequence[tuple[int, float]], block: str) -> Picture:
    """Loss against step: each step thin, the mean of the 20 around it thick.

    history: (step, loss).
    """
    steps, losses = (np.array(values, float) for values in zip(*history, strict=True))
    smooth = [losses[max(0, middle - 10) : middle + 10].mean() for middle in range(len(losses))]
    figure = Figure((6.6, 3), layout="constrained")
    axes = figure.subplots()
    colour = BLOCK_COLOURS[block]
    axes.plot(steps, losses, color=colour, alpha=0.35, linewidth=0.9, label="each step")
    axes.plot(steps, smooth, color=colour, label="mean of 20 steps")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None), title="The loss while training")
    axes.legend()
    alt = (
        f"Training curve over {len(steps)} steps: the loss starts at {losses[0]:.2f} and "
        f"{'falls' if smooth[-1] < losses[0] else 'rises'} to {smooth[-1]:.2f}."
    )
    return Picture(figure, alt)


def say_strongest(weights: np.ndarray, asks: Sequence[str], answers: Sequence[str]) -> str:
    """Where each that asks looks most.  (N, S)"""
    return "; ".join(
        f"{name} looks most at {answers[row.argmax()]} ({row.max():.2f})"
        for name, row in zip(asks, weights, strict=True)
    )


@styled
def weight_matrix(
    weights: np.ndarray, title: str, asks: Sequence[str], answers: Sequence[str]
) -> Picture:
    """A small matrix of weights with its numbers, one row for each that asks.  (N, S)"""
    import seaborn  # takes a second, which lessons without such a matrix can spare

    rows, columns = weights.shape
    figure = Figure((2.4 + 0.72 * columns, 1.5 + 0.4 * rows), layout="constrained")
    axes = figure.subplots()
    seaborn.heatmap(
        weights,
        ax=axes,
        vmin=0,
        vmax=1,
        cmap="cividis",
        annot=True,
        fmt=".2f",
        cbar=False,
        linewidths=1,
        xticklabels=list(answers),
        yticklabels=list(asks),
    )
    axes.set(title=title, ylabel="who asks", xlabel="who answers")
    axes.tick_params(axis="x", rotation=30)
    axes.tick_params(axis="y", rotation=0)
    alt = f"{title}: {rows} x {columns} weights. {say_strongest(weights, asks, answers)}."
    return Picture(figure, alt)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of a fortieth of all values to either side of each.  (N,) -> (N,)"""
    reach = len(values) // 40
    spans = [values[max(0, at - reach) : at + reach + 1] for at in range(len(values))]
    return np.array([span.mean() for span in spans])


@styled
def learning_curve(run: Run) -> Picture:
    """Loss, learning rate and, once it was scored, validation mIoU of a run over its steps.

    Raises ValueError for a run that has recorded nothing yet.
    """
    steps, losses, rates = recorded(run)
    smooth, scored = smoothed(losses), bool(run.validations)
    figure = Figure((6.6, 5.6 if scored else 4.2), layout="constrained")
    axes = figure.subplots(2 + scored, sharex=True, height_ratios=(3, 1, 2)[: 2 + scored])
    colour = BLOCK_COLOURS.get(run.settings.get("model", {}).get("head"), INK)
    axes[0].plot(steps, losses, color=colour, alpha=0.35, linewidth=0.9, label="as recorded")
    axes[0].plot(steps, smooth, color=colour, label="smoothed", marker=single(steps))
    axes[0].set(ylabel="loss", ylim=(0, None), title=f"Training of {run.folder.resolve().name}")
    axes[0].legend()
    axes[1].plot(steps, rates, color=colour, marker=single(steps))
    axes[1].set(ylabel="learning rate", ylim=(0, None))
    if scored:
        draw_miou(axes[2], run, colour, "-")
    axes[-1].set_xlabel("step")
    rate = f"The learning rate ends at {rates[-1]:.2g}, its highest was {rates.max():.2g}."
    words = [
        f"Learning curve of {run.folder.resolve().name}.",
        say_loss(steps, smooth),
        rate,
        say_miou(run),
    ]
    return Picture(figure, " ".join(filter(None, words)))


@styled
def learning_curves(runs: Sequence[Run], names: Sequence[str]) -> Picture:
    """The smoothed losses of several runs on one axis and, if any was scored, their mIoU below."""
    scored = any(run.validations for run in runs)
    figure = Figure((6.6, 5.6 if scored else 3.4), layout="constrained")
    axes = figure.subplots(1 + scored, sharex=True, squeeze=False)[:, 0]
    colours = colormaps["cividis"](np.linspace(0, 0.75, len(runs)))
    words = ["Learning curves."]
    for run, name, colour, dashes in zip(runs, names, colours, cycle(DASHES), strict=False):
        steps, losses, _ = recorded(run)
        smooth, look = smoothed(losses), {"color": colour, "linestyle": dashes}
        axes[0].plot(steps, smooth, label=name, marker=single(steps), **look)
        if run.validations:
            draw_miou(axes[1], run, colour, dashes)
        words += [f"{name}:", say_loss(steps, smooth), say_miou(run)]
    axes[0].set(ylabel="loss, smoothed", ylim=(0, None), title="Learning curves")
    axes[0].legend()
    axes[-1].set_xlabel("step")
    return Picture(figure, " ".join(filter(None, words)))


def recorded(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, losses and learning rates of a run's history.  -> (N,), (N,), (N,)"""
    if not run.history:
        raise ValueError(
            f"{run.folder} has no curve yet: its history.jsonl holds no line. Let it train on."
        )
    return tuple(np.array([line[key] for line in run.history]) for key in ("step", "loss", "lr"))


def single(steps: np.ndarray) -> str:
    """The marker of a curve: a point that is alone would not be seen without."""
    return "o" if len(steps) == 1 else ""


def draw_miou(axes: Axes, run: Run, colour: str | np.ndarray, dashes: str) -> None:
    steps = [line["step"] for line in run.validations]
    shares = [100 * line["miou"] for line in run.validations]
    axes.plot(steps, shares, color=colour, linestyle=dashes, marker="o", markersize=4)
    axes.set(ylabel="validation mIoU %")


def say_loss(steps: np.ndarray, smooth: np.ndarray) -> str:
    if len(steps) == 1:
        return f"At step {steps[0]} the loss is {smooth[0]:.2f}."
    went = "falls" if smooth[-1] < smooth[0] else "rises"
    return (
        f"From step {steps[0]} to {steps[-1]} the loss {went} from {smooth[0]:.2f} to "
        f"{smooth[-1]:.2f}."
    )


def say_miou(run: Run) -> str:
    if not run.validations:
        return ""
    top = max(run.validations, key=lambda line: -1 if isnan(line["miou"]) else line["miou"])
    last = run.validations[-1]
    text = f"Validation mIoU is best after step {top['step']} ({100 * top['miou']:.1f} %)"
    if last["step"] == top["step"]:
        return f"{text}, the last."
    return f"{text} and {100 * last['miou']:.1f} % after step {last['step']}."


class Look(NamedTuple):
    """What a run was like after some step."""

    step: int
    miou: float  # of some unseen scenes
    houses: float  # share of house pixels that got the right kind
    labels: np.ndarray  # predicted for the scene that is shown, (H, W)


@styled
def rates(config: TrainConfig) -> Picture:
    """The learning rate of every step, beside that of the published recipe, stretched."""
    published = TrainConfig(iterations=config.iterations)
    figure = Figure((7.2, 3), layout="constrained")
    axes = figure.subplots()
    steps = range(config.iterations)
    values = [poly_lr(step, config) for step in steps]
    axes.plot(steps, values, color=BLOCK_COLOURS["ann"], label="this recipe")
    other = [poly_lr(step, published) for step in steps]
    axes.plot(steps, other, "--", color=INK, linewidth=1.4, label="published recipe (for SGD)")
    axes.set(xlabel="step", ylabel="learning rate", ylim=(0, None), title="The rate of each step")
    axes.legend()
    return Picture(figure, f"Curve of learning rates. {say_rates(config)}")


def say_rates(config: TrainConfig) -> str:
    """First, highest, middle and last rate in words, and how long it stays small."""
    values = [poly_lr(step, config) for step in range(config.iterations)]
    top = int(np.argmax(values))
    small = sum(value < 0.1 * values[top] for value in values)
    return (
        f"Step 0 has the rate {values[0]:.2g}, step {top} the highest, {values[top]:.2g}; half way "
        f"it is {values[len(values) // 2]:.2g}, in the last step {values[-1]:.2g}. {small} of "
        f"{len(values)} steps have less than a tenth of the highest."
    )


@styled
def one_batch(
    losses: Mapping[str, Sequence[float]], target: float, blocks: Sequence[str]
) -> Picture:
    """The loss of networks that see the same batch again and again, on a logarithmic axis."""
    figure = Figure((7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    for (name, values), block, dashes in zip(losses.items(), blocks, DASHES, strict=False):
        steps = range(1, len(values) + 1)
        axes.plot(steps, values, dashes, color=BLOCK_COLOURS[block], label=name)
    axes.axhline(target, color=INK, linewidth=1, linestyle=":")
    axes.text(1, target * 1.08, f"target: {target:g}", size=9)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="One batch, again and again")
    axes.legend()
    said = "; ".join(f"{name} from {v[0]:.2f} to {v[-1]:.3f}" for name, v in losses.items())
    return Picture(figure, f"Loss on one batch that is repeated: {said}. The target is {target:g}.")


@styled
def live(
    history: Sequence[tuple[int, float]],
    looks: Sequence[Look],
    total: int,
    scene: Scene,
    block: str,
) -> Picture:
    """Loss and scores so far, and what the network says of a scene now.  history: (step, loss)"""
    figure = Figure((10.5, 3), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.1, 1.1, 1.25))
    steps, losses = zip(*history, strict=True) if history else ((), ())
    axes[0].plot(steps, losses, color=BLOCK_COLOURS[block], linewidth=1)
    axes[0].set(title="Loss", xlabel="step", xlim=(0, total), ylim=(0, None))
    draw_scores(axes[1], looks, total, BLOCK_COLOURS[block])
    last = looks[-1]
    draw_image(axes[2], colour_labels(last.labels), f"After step {last.step}", block)
    name_houses(axes[2], scene, last.labels)
    return Picture(figure, f"A run under way. {say_live(history, looks, total)}")


def draw_scores(axes: Axes, looks: Sequence[Look], total: int, colour: str) -> None:
    """mIoU and right houses after the steps at which somebody looked."""
    marks = [look.step for look in looks]
    miou, houses = [look.miou for look in looks], [look.houses for look in looks]
    axes.plot(marks, miou, "o-", color=INK, label="mIoU", markersize=4)
    axes.plot(marks, houses, "s--", color=colour, label="houses", markersize=4)
    axes.axhline(1 / 3, color=INK, linewidth=1, linestyle=":")
    axes.text(total, 0.35, "guessing", size=9, ha="right")
    axes.set(title="Unseen scenes", xlabel="step", xlim=(0, total), ylim=(0, 1.02))
    axes.legend(loc="upper left", fontsize=9)


def say_live(history: Sequence[tuple[int, float]], looks: Sequence[Look], total: int) -> str:
    """Where a run is, in words."""
    last = looks[-1]
    now = f"Step {history[-1][0]} of {total}, loss {history[-1][1]:.2f}. " if history else ""
    return (
        f"{now}After step {last.step}: mIoU {last.miou:.2f}, houses {last.houses:.2f} on unseen "
        "scenes."
    )
