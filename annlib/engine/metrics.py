"""The confusion matrix, the scores computed from it, and tables of scores. K classes."""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.classes import DatasetSpec

SHARES = ("miou", "mean_accuracy", "pixel_accuracy")


class Scores(NamedTuple):
    """Shares between 0 and 1. NaN marks a class that is not in the labels (or nowhere)."""

    iou: Tensor  # (K,) float64, NaN where neither the labels nor the prediction have the class
    accuracy: Tensor  # (K,) float64, NaN where the labels lack the class
    pixel_accuracy: float

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur; a class only predicted counts as 0."""
        return float(self.iou.nanmean())

    @property
    def mean_accuracy(self) -> float:
        """Mean of the class accuracies over the classes that occur in the labels."""
        return float(self.accuracy.nanmean())

    def as_json(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The same shares for a file, with None for NaN."""
        rows = zip(class_names, self.iou.tolist(), self.accuracy.tolist(), strict=True)
        classes = {
            name: {"iou": number_or_none(iou), "accuracy": number_or_none(accuracy)}
            for name, iou, accuracy in rows
        }
        return {key: number_or_none(getattr(self, key)) for key in SHARES} | {"classes": classes}


def number_or_none(number: float) -> float | None:
    """None for NaN, which JSON lacks."""
    return None if isnan(number) else number


class ConfusionMatrix:
    """Counts of (label, prediction) over all pixels that have a label.

    Matrices of parts of a data set add up to that of the whole; their mIoU do not average to its.
    """

    def __init__(self, num_classes: int):
        if num_classes > IGNORE_INDEX:
            said = f"{num_classes} classes are too many to score: labels are bytes, and "
            raise ValueError(f"{said}{IGNORE_INDEX} means none: {IGNORE_INDEX} classes at most.")
        self.num_classes = num_classes
        shape = num_classes, num_classes  # [label, prediction]
        self.counts = torch.zeros(shape, dtype=torch.int64)

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Adds pixels. predictions and labels: integer class indices of one shape; 255 ignored.

        Raises ValueError for shapes that differ and for a label or prediction outside 0..K-1.
        """
        if predictions.shape != labels.shape:
            said = f"Predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} "
            raise ValueError(f"{said}differ in shape: resize the logits to the labels first.")
        if predictions.is_floating_point() or labels.is_floating_point():
            said = f"Predictions are {predictions.dtype} and labels {labels.dtype}, but class "
            raise ValueError(f"{said}indices are whole numbers: take the argmax of the logits.")
        counted = labels != IGNORE_INDEX
        labels, predictions = labels[counted].long(), predictions[counted].long()
        for kind, values in (("label", labels), ("prediction", predictions)):
            outside = values[(values < 0) | (values >= self.num_classes)]
            if len(outside):
                raise ValueError(
                    f"A {kind} is {int(outside.min())}, but there are {self.num_classes} classes "
                    f"(0..{self.num_classes - 1}, and {IGNORE_INDEX} to ignore). Are these the "
                    "labels of another data set, or raw ids that still need its label table?"
                )
        pairs = self.num_classes * labels + predictions
        counts = torch.bincount(pairs, minlength=self.num_classes**2).cpu()
        self.counts += counts.view(self.num_classes, self.num_classes)

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        total = ConfusionMatrix(self.num_classes)
        total.counts = self.counts + other.counts
        return total

    def entries(self) -> list[list[int]]:
        """The counts that are not 0: [label, prediction, count] each. Few, for one image."""
        places = self.counts.nonzero()
        return torch.column_stack([places, self.counts[places[:, 0], places[:, 1]]]).tolist()

    def add_entries(self, entries: Sequence[Sequence[int]]) -> None:
        """Adds the entries of another matrix."""
        labels, predictions, counts = torch.tensor(entries, dtype=torch.int64).view(-1, 3).T
        self.counts.index_put_((labels, predictions), counts, accumulate=True)

    def scores(self) -> Scores:
        """IoU and accuracy of each class (mmseg/evaluation/metrics/iou_metric.py, in float64)."""
        counts = self.counts.double()
        correct, labelled, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
        return Scores(
            iou=correct / (labelled + predicted - correct),
            accuracy=correct / labelled,
            pixel_accuracy=float(correct.sum() / counts.sum()),
        )

    def accuracy_among(self, classes: tuple[int, ...]) -> float:
        """Share of correct pixels among those whose label and prediction are both of `classes`."""
        index = torch.tensor(classes)
        part = self.counts[index][:, index].double()
        return float(part.diagonal().sum() / part.sum())


def evaluate(
    predict: Callable[[Tensor], Tensor], samples: Iterable[tuple[Tensor, Tensor]], num_classes: int
) -> ConfusionMatrix:
    """Compares predictions with labels, a batch at a time.

    predict: images (B, 3, H, W) -> logits (B, K, H, W), as `make_predictor` builds it.
    samples: images (B, 3, H, W) with labels (B, H, W).
    Raises ValueError for another number of logits per pixel than there are classes.
    """

    def label(images: Tensor) -> Tensor:
        logits = predict(images)
        if logits.shape[1] != num_classes:
            said = f"The network has {logits.shape[1]} classes, the labels {num_classes}: its "
            raise ValueError(f"{said}indices mean something else. Take the data it was trained on.")
        return logits.argmax(1)

    return evaluate_labels(label, samples, num_classes)


def evaluate_labels(
    label: Callable[[Tensor], Tensor], samples: Iterable[tuple[Tensor, Tensor]], num_classes: int
) -> ConfusionMatrix:
    """As `evaluate`, for a function that returns classes (B, H, W): `make_label_predictor`."""
    matrix = ConfusionMatrix(num_classes)
    for images, labels in samples:
        predictions = label(images)
        matrix.update(predictions, labels.to(predictions.device))
    return matrix


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: names to the left, numbers to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    first, *others = widths
    lines = [" | ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]) for row in cells]
    rule = "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)])
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def percent(share: float | None) -> str:
    """Two decimals, as in the published tables; a dash for NaN, a class that does not occur."""
    return "-" if share is None or isnan(share) else f"{100 * share:.2f}"


def score_table(scores: Scores, class_names: Sequence[str]) -> str:
    """IoU and accuracy of each class in percent, their means, then `summary_line`."""
    values = zip(class_names, scores.iou.tolist(), scores.accuracy.tolist(), strict=True)
    rows = [[name, percent(iou), percent(accuracy)] for name, iou, accuracy in values]
    rows.append(["mean", percent(scores.miou), percent(scores.mean_accuracy)])
    return f"{table(['class', 'IoU %', 'accuracy %'], rows)}\n\n{summary_line(scores)}"


def summary_line(scores: Scores) -> str:
    """The three numbers that networks are compared by, in percent."""
    shares = zip(("mIoU", "mAcc", "aAcc"), SHARES, strict=True)
    return "  ".join(f"{name} {percent(getattr(scores, key))}" for name, key in shares)


class ImageScore(NamedTuple):
    """The part of one image in the result. None: no pixel of it has a label."""

    index: int  # in the data set
    name: str
    pixel_accuracy: float | None
    miou: float | None  # over the classes in its labels or its prediction
    counts: list[list[int]]  # [label, prediction, pixels], those that are not 0
    files: str = ""  # the checksum of image and label


def score_of(index: int, name: str, matrix: ConfusionMatrix) -> ImageScore:
    scores = matrix.scores()
    pixel_accuracy, miou = map(number_or_none, (scores.pixel_accuracy, scores.miou))
    return ImageScore(index, name, pixel_accuracy, miou, matrix.entries())


MOST_SHOWN = 20


def worst_images(images: Sequence[ImageScore], spec: DatasetSpec) -> str:
    """A Markdown page: the images of lowest mIoU, each with its most confused pair of classes."""
    scored, rows = [image for image in images if image.miou is not None], []
    for one in sorted(scored, key=lambda image: (image.miou, image.index))[:MOST_SHOWN]:
        most, names = "nothing", spec.class_names
        if wrong := [entry for entry in one.counts if entry[0] != entry[1]]:
            label, prediction, count = max(wrong, key=lambda entry: entry[2])
            share = percent(count / sum(entry[2] for entry in one.counts))
            most = f"{names[label]} classified as {names[prediction]}: {share} % of the pixels"
        rows.append([one.name, percent(one.miou), percent(one.pixel_accuracy), most])
    return (
        f"# The worst {len(rows)} of {len(scored)} images\n\n"
        "mIoU is the mean over the classes in the labels or the prediction of an image.\n\n"
        f"{table(['image', 'mIoU %', 'correct pixels %', 'most confused'], rows)}\n"
    )
