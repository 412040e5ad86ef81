"""Figures of lesson 06: rates of a recipe, a run under way, losses on one batch."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.config import TrainConfig
from annlib.course.charts import DASHES
from annlib.course.drawing import BLOCK_COLOURS, INK, colour_labels, draw_image, name_houses, styled
from annlib.course.plots import Picture
from annlib.data.scenes import Scene
from annlib.engine.train import poly_lr


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
