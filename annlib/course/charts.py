"""Charts that are not scenes: curves of a training, and small matrices with their numbers."""

from collections.abc import Sequence

import numpy as np
import seaborn
from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.plots import Picture


@styled
def training_curve(
    history: Sequence[tuple[int, float]], block: str, guessing: float | None = None
) -> Picture:
    """Loss against step, each step thin, the running mean of the last 20 thick.

    history: (step, loss). guessing: the loss of a model that knows nothing, drawn as a line.
    """
    steps, losses = (np.array(values, float) for values in zip(*history, strict=True))
    smooth = [losses[max(0, end - 20) : end].mean() for end in range(1, len(losses) + 1)]
    figure = Figure((6.6, 3), layout="constrained")
    axes = figure.subplots()
    colour = BLOCK_COLOURS[block]
    axes.plot(steps, losses, color=colour, alpha=0.35, linewidth=0.9, label="each step")
    axes.plot(steps, smooth, color=colour, label="mean of the last 20")
    if guessing is not None:
        axes.axhline(guessing, color=INK, linestyle="--", linewidth=1.2, label="guessing")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None), title="The loss while training")
    axes.legend()
    alt = (
        f"Training curve over {len(steps)} steps: the loss starts at {losses[0]:.2f} and "
        f"{'falls' if smooth[-1] < losses[0] else 'rises'} to {smooth[-1]:.2f}."
    )
    return Picture(figure, alt)


@styled
def weight_matrix(
    weights: np.ndarray, title: str, asks: str = "n, who asks", answers: str = "s, who answers"
) -> Picture:
    """A small matrix of weights with its numbers, one row for each that asks.  (N, S)"""
    rows, columns = weights.shape
    figure = Figure((1.2 + 0.62 * columns, 1.0 + 0.42 * rows), layout="constrained")
    axes = figure.subplots()
    seaborn.heatmap(
        weights, ax=axes, vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".2f", cbar=False
    )
    axes.set(title=title, ylabel=asks, xlabel=answers)
    axes.tick_params(length=0)
    strongest = [f"row {n}: {row.argmax()} ({row.max():.2f})" for n, row in enumerate(weights)]
    alt = f"{title}: {rows} x {columns} weights. Strongest in each row: {', '.join(strongest)}."
    return Picture(figure, alt)
