"""Figures of predictions, confusion matrices and scores.

K classes. Counts are [label, prediction], as in annlib.engine.evaluate.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.plots.scenes import Picture
from annlib.course.plots.style import BLOCK_COLOURS, INK, styled
from annlib.engine.metrics import ConfusionMatrix, Scores

INSIDE = {"ha": "center", "va": "center", "in_layout": False}  # the layout need not measure it
LEANING = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
Colours = Sequence[Sequence[float]]  # one (r, g, b) of 0..1 a class


@styled
def painted(
    labels: np.ndarray, prediction: np.ndarray, names: Sequence[str], colours: Colours
) -> Picture:
    """A few pixels: the truth, what was painted, and the matrix of the two.  (h, w) twice"""
    matrix = confusion(labels, prediction, len(names))
    figure = Figure((9.4, 2.9), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.5, 1.5, 1.4))
    draw_pixels(axes[0], labels, names, colours, "Truth")
    draw_pixels(axes[1], prediction, names, colours, "Prediction (x: wrong)")
    wrong = (labels != prediction) & (labels != IGNORE_INDEX)
    for row, column in np.argwhere(wrong):
        axes[1].text(
            column + 0.36,
            row - 0.2,
            "x",
            size=12,
            weight="bold",
            **INSIDE,
            **on(colours, prediction[row, column]),
        )
    draw_counts(axes[2], matrix.counts.numpy(), names)
    return Picture(figure, f"A painted prediction beside its truth. {say_scores(matrix, names)}")


def confusion(labels: np.ndarray, prediction: np.ndarray, num_classes: int) -> ConfusionMatrix:
    """The matrix of one small picture."""
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.from_numpy(prediction), torch.from_numpy(labels))
    return matrix


def draw_pixels(
    axes: Axes, classes: np.ndarray, names: Sequence[str], colours: Colours, title: str
) -> None:
    """A grid of large pixels with the letter of each class; 255 stands on white."""
    image = np.ones((*classes.shape, 3))
    known = classes != IGNORE_INDEX
    image[known] = np.array(colours)[classes[known]]
    axes.imshow(image)
    for (row, column), value in np.ndenumerate(classes):
        letter, look = (
            ("255", {"color": INK, "size": 9})
            if value == IGNORE_INDEX
            else (names[value][0].upper(), on(colours, value))
        )
        axes.text(column, row, letter, **INSIDE, **look)
    height, width = classes.shape
    axes.set(xticks=range(width), yticks=range(height), title=title)
    axes.set_xticklabels(range(1, width + 1), size=9)
    axes.set_yticklabels(range(1, height + 1), size=9)


def on(colours: Colours, index: int) -> dict[str, str]:
    """Ink or white, whichever can be read on the colour of a class."""
    red, green, blue = colours[index]
    return {"color": INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"}


def draw_counts(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    """The matrix with its numbers; right pixels are on the diagonal, in bold.  (K, K)"""
    axes.imshow(
        np.sqrt(counts), vmin=0, vmax=max(1.0, 1.35 * np.sqrt(counts.max())), cmap="cividis"
    )
    for (label, prediction), count in np.ndenumerate(counts):
        weight = "bold" if label == prediction else "normal"
        shade = "white" if count < 0.4 * counts.max() else INK
        axes.text(prediction, label, str(count), weight=weight, color=shade, **INSIDE)
    axes.set(xticks=range(len(names)), yticks=range(len(names)))
    axes.set(xlabel="predicted", ylabel="labelled", title="Confusion matrix")
    axes.set_xticklabels(names, **LEANING)
    axes.set_yticklabels(names)


def say_scores(matrix: ConfusionMatrix, names: Sequence[str]) -> str:
    """Accuracy, mIoU and the IoU of each class in words; a dash where there is none."""
    scores, total = matrix.scores(), int(matrix.counts.sum())
    parts = [
        f"{name} {'-' if iou != iou else f'{iou:.2f}'}"
        for name, iou in zip(names, scores.iou.tolist(), strict=True)
    ]
    counted = int((~scores.iou.isnan()).sum())
    right = int(matrix.counts.diagonal().sum())
    return (
        f"Pixel accuracy {right} / {total} = {scores.pixel_accuracy:.3f}. IoU: {', '.join(parts)}. "
        f"mIoU, the mean of {counted} classes: {scores.miou:.3f}."
    )


@styled
def taken_for(matrix: ConfusionMatrix, names: Sequence[str], title: str) -> Picture:
    """Of the pixels of each class: which share was taken for which?  Rows sum to 100 %."""
    counts = matrix.counts.double()
    shares = 100 * (counts / counts.sum(1, keepdim=True)).nan_to_num(0).numpy()
    figure = Figure((6.8, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=100, cmap="cividis", aspect="auto")
    for (label, prediction), share in np.ndenumerate(shares):
        if share >= 0.5:
            shade = "white" if share < 55 else INK
            axes.text(prediction, label, f"{share:.0f}", ha="center", va="center", color=shade)
    axes.set(xticks=range(len(names)), yticks=range(len(names)), title=title)
    axes.set(xlabel="predicted", ylabel="labelled")
    axes.set_xticklabels(names, **LEANING)
    axes.set_yticklabels(names)
    diagonal = ", ".join(f"{n} {s:.0f} %" for n, s in zip(names, shares.diagonal(), strict=True))
    return Picture(figure, f"{title}: share of the pixels of each class that is right: {diagonal}.")


def of_scenes(counts: Tensor, first: int, number: int) -> tuple[ConfusionMatrix, list[float]]:
    """One matrix over chosen scenes, and the mIoU of each scene alone.  counts (T, K, K)"""
    total, each = ConfusionMatrix(counts.shape[1]), []
    for one in counts[first : first + number]:
        alone = ConfusionMatrix(counts.shape[1])
        alone.counts = one
        total, each = total + alone, [*each, alone.scores().miou]
    return total, each


@styled
def chosen_scenes(
    counts: Tensor, first: int, number: int, names: Sequence[str], block: str, title: str
) -> Picture:
    """Bars: IoU of each class by one matrix. Points: mIoU of each scene alone.  (T, K, K)"""
    total, each = of_scenes(counts, first, number)
    scores = total.scores()
    figure = Figure((9, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    draw_bars(left, scores, names, BLOCK_COLOURS[block])
    left.set_title(f"{title}: IoU of each class, one matrix")
    right.plot(range(first, first + number), each, "o", color=INK, markersize=5, label="one scene")
    right.axhline(np.mean(each), color=INK, linestyle=":", label="mean of the scenes")
    right.axhline(scores.miou, color=BLOCK_COLOURS[block], linestyle="-", label="one matrix")
    right.set(xlabel="scene", title="mIoU", xlim=(first - 1, first + number), ylim=(0, 1.02))
    right.legend(loc="lower right", fontsize=9, frameon=True)
    return Picture(figure, f"{title}. {say_chosen(total, each, first)}")


def draw_bars(axes: Axes, scores: Scores, names: Sequence[str], colour: str) -> None:
    """One bar a class with its number; a dash where the class does not occur."""
    values = scores.iou.tolist()
    axes.bar(range(len(names)), np.nan_to_num(values), color=colour, alpha=0.55)
    for place, value in enumerate(values):
        text = "-" if value != value else f"{value:.2f}"
        axes.text(place, 0.03, text, ha="center", size=9)
    axes.set(xticks=range(len(names)), ylim=(0, 1.02), ylabel="IoU")
    axes.set_xticklabels(names, size=9, **LEANING)


def say_chosen(total: ConfusionMatrix, each: Sequence[float], first: int) -> str:
    """The two means, and which is higher, in words."""
    scores, mean = total.scores(), float(np.mean(each))
    gap = mean - scores.miou
    compared = "as high as" if abs(gap) < 5e-4 else "higher than" if gap > 0 else "lower than"
    return (
        f"Scenes {first} to {first + len(each) - 1}: pixel accuracy {scores.pixel_accuracy:.3f}, "
        f"mIoU by one matrix {scores.miou:.3f}; the mean over scenes is {mean:.3f}, {compared} it."
    )
