"""Charts that are not scenes: curves of a training, and small matrices with their numbers."""

from collections.abc import Sequence
from itertools import cycle
from math import isnan

import numpy as np
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.plots import Picture
from annlib.engine.runs import Run

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
