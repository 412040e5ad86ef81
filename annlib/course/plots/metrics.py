"""Figures of predictions, confusion matrices and scores.

K classes. Counts are [label, prediction], as in annlib.engine.metrics.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.plots.style import BLOCK_COLOURS, INK, FigureWithAlt, new_figure, styled
from annlib.engine.metrics import ConfusionMatrix

INSIDE = {"ha": "center", "va": "center", "in_layout": False}  # the layout need not measure it
Colours = Sequence[Sequence[float]]  # one (r, g, b) of 0..1 for each class


def text_colour(colours: Colours, index: int) -> str:
    """Ink or white, whichever can be read on the colour of a class."""
    red, green, blue = colours[index]
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"


def name_classes(axes: Axes, names: Sequence[str], title: str) -> None:
    """Ticks and labels of a matrix [label, prediction]."""
    axes.set(xticks=range(len(names)), yticks=range(len(names)), title=title)
    axes.set(xlabel="predicted", ylabel="labelled", yticklabels=names)
    axes.set_xticklabels(names, rotation=35, ha="right", rotation_mode="anchor")


@styled
def painted(
    labels: np.ndarray, prediction: np.ndarray, names: Sequence[str], colours: Colours
) -> FigureWithAlt:
    """A few pixels: labels, prediction, and their confusion matrix.  (h, w) twice"""
    figure, axes = new_figure(9.4, 2.9, 1, 3, width_ratios=(1.5, 1.5, 1.4))
    height, width = labels.shape
    titles = ("Labels", "Prediction (x: incorrect)")
    for place, classes, title in zip(axes, (labels, prediction), titles, strict=False):
        image = np.ones((height, width, 3))
        known = classes != IGNORE_INDEX
        image[known] = np.array(colours)[classes[known]]
        place.imshow(image)
        for (row, column), value in np.ndenumerate(classes):
            if value == IGNORE_INDEX:
                place.text(column, row, "255", color=INK, size=9, **INSIDE)
            else:
                colour = text_colour(colours, value)
                place.text(column, row, names[value][0].upper(), color=colour, **INSIDE)
        place.set(xticks=range(width), yticks=range(height), title=title)
        place.set_xticklabels(range(1, width + 1), size=9)
        place.set_yticklabels(range(1, height + 1), size=9)
    for row, column in np.argwhere((labels != prediction) & (labels != IGNORE_INDEX)):
        cross = {"color": text_colour(colours, prediction[row, column]), "weight": "bold"}
        axes[1].text(column + 0.36, row - 0.2, "x", size=12, **cross, **INSIDE)
    matrix = ConfusionMatrix(len(names))
    matrix.update(torch.from_numpy(prediction), torch.from_numpy(labels))
    counts = matrix.counts.numpy()
    axes[2].imshow(np.sqrt(counts), vmin=0, vmax=max(1.0, 1.35 * np.sqrt(counts.max())))
    for (label, predicted), count in np.ndenumerate(counts):
        weight = "bold" if label == predicted else "normal"
        shade = "white" if count < 0.4 * counts.max() else INK
        axes[2].text(predicted, label, str(count), weight=weight, color=shade, **INSIDE)
    name_classes(axes[2], names, "Confusion matrix")
    scores, total = matrix.scores(), int(counts.sum())
    parts = ", ".join(
        f"{name} {'-' if iou != iou else f'{iou:.2f}'}"
        for name, iou in zip(names, scores.iou.tolist(), strict=True)
    )
    alt = (
        f"Pixel accuracy {int(counts.trace())} / {total} = {scores.pixel_accuracy:.3f}. IoU: "
        f"{parts}. mIoU, the mean of {int((~scores.iou.isnan()).sum())} classes: "
        f"{scores.miou:.3f}."
    )
    return FigureWithAlt(figure, alt)


@styled
def confusion_matrix(matrix: ConfusionMatrix, names: Sequence[str], title: str) -> FigureWithAlt:
    """The confusion matrix in per cent of the pixels of each class, so rows sum to 100 %."""
    counts = matrix.counts.double()
    percent = 100 * (counts / counts.sum(1, keepdim=True)).nan_to_num(0).numpy()
    figure, axes = new_figure(6.8, 4.8)
    axes.imshow(percent, vmin=0, vmax=100, aspect="auto")
    for (label, prediction), value in np.ndenumerate(percent):
        if value >= 0.5:
            shade = "white" if value < 55 else INK
            axes.text(prediction, label, f"{value:.0f}", ha="center", va="center", color=shade)
    name_classes(axes, names, title)
    diagonal = ", ".join(f"{n} {s:.0f} %" for n, s in zip(names, percent.diagonal(), strict=True))
    return FigureWithAlt(figure, f"{title}: correct pixels of each class: {diagonal}.")


@styled
def chosen_scenes(
    counts: Tensor, first: int, number: int, names: Sequence[str], block: str, title: str
) -> FigureWithAlt:
    """Bars: IoU of each class by one matrix. Points: mIoU of each scene alone.  (T, K, K)"""
    total, each = ConfusionMatrix(counts.shape[1]), []
    for one in counts[first : first + number]:
        alone = ConfusionMatrix(counts.shape[1])
        alone.counts = one
        total, each = total + alone, [*each, alone.scores().miou]
    scores, colour = total.scores(), BLOCK_COLOURS[block]
    figure, (left, right) = new_figure(9, 3.3, 1, 2, width_ratios=(3, 2), sharey=True)
    values, mean = scores.iou.tolist(), float(np.mean(each))
    left.bar(range(len(names)), np.nan_to_num(values), color=colour, alpha=0.55)
    for place, value in enumerate(values):
        text = "-" if value != value else f"{value:.2f}"  # a class that does not occur
        left.text(place, 0.03, text, ha="center", size=9)
    left.set(xticks=range(len(names)), ylim=(0, 1.02), ylabel="IoU")
    left.set_xticklabels(names, size=9, rotation=35, ha="right", rotation_mode="anchor")
    left.set_title(f"{title}: IoU of each class, one matrix")
    right.plot(range(first, first + number), each, "o", color=INK, markersize=5, label="one scene")
    right.axhline(mean, color=INK, linestyle=":", label="mean of the scenes")
    right.axhline(scores.miou, color=colour, linestyle="-", label="one matrix")
    right.set(xlabel="scene", title="mIoU", xlim=(first - 1, first + number), ylim=(0, 1.02))
    right.legend(loc="lower right", fontsize=9, frameon=True)
    gap = mean - scores.miou
    compared = "as high as" if abs(gap) < 5e-4 else "higher than" if gap > 0 else "lower than"
    alt = (
        f"{title}. Scenes {first} to {first + len(each) - 1}: pixel accuracy "
        f"{scores.pixel_accuracy:.3f}, mIoU by one matrix {scores.miou:.3f}; the mean over scenes "
        f"is {mean:.3f}, {compared} it."
    )
    return FigureWithAlt(figure, alt)
