"""Charts that are not scenes: curves of a training, and small matrices with their numbers."""

from collections.abc import Sequence

import numpy as np
import seaborn
from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, styled
from annlib.course.plots import Picture


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
