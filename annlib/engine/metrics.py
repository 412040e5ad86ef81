"""The confusion matrix, the scores computed from it, and tables of scores."""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.classes import DatasetSpec


class Scores(NamedTuple):
    """Shares between 0 and 1. NaN marks a class that has nothing to be compared with."""

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
        """The same shares for a file; JSON knows no NaN, so None marks what it marks."""
        classes = zip(class_names, self.iou.tolist(), self.accuracy.tolist(), strict=True)
        return {
            "miou": number_or_none(self.miou),
            "mean_accuracy": number_or_none(self.mean_accuracy),
            "pixel_accuracy": number_or_none(self.pixel_accuracy),
            "classes": {
                name: {"iou": number_or_none(iou), "accuracy": number_or_none(accuracy)}
                for name, iou, accuracy in classes
            },
        }


def number_or_none(number: float) -> float | None:
    """None for NaN."""
    return None if isnan(number) else number


class ConfusionMatrix:
    """Counts of (label, prediction) over all pixels that have a label.

    Matrices of parts of a data set add up to that of the whole, in any order and on any number
    of machines; mIoU of parts do not average to that of the whole.
    """

    def __init__(self, num_classes: int):
        if num_classes > IGNORE_INDEX:
            raise ValueError(
                f"{num_classes} classes are too many to score: labels are bytes, and "
                f"{IGNORE_INDEX} means none, which leaves {IGNORE_INDEX} classes at most."
            )
        self.counts = torch.zeros(
            num_classes, num_classes, dtype=torch.int64
        )  # [label, prediction]

    @property
    def num_classes(self) -> int:
        return len(self.counts)

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Adds pixels. predictions and labels: integer class indices of one shape; 255 ignored.

        Raises ValueError for shapes that differ and for a label or prediction outside 0..K-1.
        """
        if predictions.shape != labels.shape:
            raise ValueError(
                f"Predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} differ "
                "in shape: resize the logits to the labels before the argmax."
            )
        if predictions.dtype != torch.uint8:  # may hold anything where there is no label
            predictions = predictions.where(labels != IGNORE_INDEX, 0)
        labels = self.in_a_byte("label", labels)
        pairs = self.in_a_byte("prediction", predictions).add_(labels, alpha=256)
        counts = torch.bincount(pairs.flatten(), minlength=256 * 256).view(256, 256).cpu()
        counts[IGNORE_INDEX] = 0
        for kind, table in (("label", counts), ("prediction", counts.mT)):
            outside = table[self.num_classes :].any(1).nonzero()
            if len(outside):
                raise self.out_of_range(kind, self.num_classes + int(outside[0]))
        self.counts += counts[: self.num_classes, : self.num_classes]

    def in_a_byte(self, kind: str, values: Tensor) -> Tensor:
        """The same as int32, copied. Raises ValueError for a value that no byte can hold."""
        if values.dtype != torch.uint8 and values.numel():
            for extreme in values.aminmax():
                if not 0 <= extreme <= 255:
                    raise self.out_of_range(kind, extreme.item())
        return values.to(torch.int32, copy=True)

    def out_of_range(self, kind: str, value: float) -> ValueError:
        return ValueError(
            f"A {kind} is {value}, but there are {self.num_classes} classes "
            f"(0..{self.num_classes - 1}, and {IGNORE_INDEX} to ignore). Are these the labels "
            "of another data set, or raw ids that still need its label table?"
        )

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        total = ConfusionMatrix(self.num_classes)
        total.counts = self.counts + other.counts
        return total

    def entries(self) -> list[list[int]]:
        """The counts that are not 0: [label, prediction, count] each. Few, for one picture."""
        places = self.counts.nonzero()
        return torch.column_stack([places, self.counts[places[:, 0], places[:, 1]]]).tolist()

    def add_entries(self, entries: Sequence[Sequence[int]]) -> None:
        """Adds what `entries` of another matrix listed."""
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
        """Share that is right among pixels whose label and prediction are both of `classes`."""
        index = torch.tensor(classes)
        part = self.counts[index][:, index].double()
        return float(part.diagonal().sum() / part.sum())


def evaluate(
    predict: Callable[[Tensor], Tensor],
    samples: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
) -> ConfusionMatrix:
    """Compares predictions with labels, a batch at a time.

    predict: images (B, 3, H, W) -> logits (B, K, H, W), as `make_predictor` builds it.
    samples: images (B, 3, H, W) with labels (B, H, W).
    Raises ValueError for another number of scores a pixel than there are classes.
    """

    def label(images: Tensor) -> Tensor:
        logits = predict(images)
        if logits.shape[1] != num_classes:
            raise ValueError(
                f"The network tells {logits.shape[1]} classes apart, the labels {num_classes}: its "
                "class indices mean something else. Evaluate it on the data set it was trained on."
            )
        return logits.argmax(1)

    return evaluate_labels(label, samples, num_classes)


def evaluate_labels(
    label: Callable[[Tensor], Tensor],
    samples: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
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
    lines = [line(row, widths) for row in cells]
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.rjust(w) if i else text.ljust(w)
        for i, (text, w) in enumerate(zip(row, widths, strict=True))
    ]
    return "| " + " | ".join(cells) + " |"


def percent(share: float) -> str:
    """Two decimals, as in the published tables; a dash for NaN, a class that does not occur."""
    return "-" if share != share else f"{100 * share:.2f}"


def score_table(scores: Scores, class_names: Sequence[str]) -> str:
    """IoU and accuracy of each class in percent, their means, then the three in one line."""
    rows = [
        [name, percent(float(iou)), percent(float(accuracy))]
        for name, iou, accuracy in zip(class_names, scores.iou, scores.accuracy, strict=True)
    ]
    rows.append(["mean", percent(scores.miou), percent(scores.mean_accuracy)])
    classes = table(["class", "IoU %", "accuracy %"], rows)
    return f"{classes}\n\n{summary_line(scores)}"


def summary_line(scores: Scores) -> str:
    """The three numbers by which networks are compared, in percent."""
    return (
        f"mIoU {percent(scores.miou)}  mAcc {percent(scores.mean_accuracy)}  "
        f"aAcc {percent(scores.pixel_accuracy)}"
    )


class PictureScore(NamedTuple):
    """What one picture adds to the result. None: it has no pixel with a label."""

    index: int  # in the data set
    name: str
    pixel_accuracy: float | None
    miou: float | None  # over the classes that it has, or was thought to have
    counts: list[list[int]]  # [label, prediction, pixels], those that are not 0


def score_of(index: int, name: str, matrix: ConfusionMatrix) -> PictureScore:
    scores = matrix.scores()
    pixel_accuracy, miou = map(number_or_none, (scores.pixel_accuracy, scores.miou))
    return PictureScore(index, name, pixel_accuracy, miou, matrix.entries())


MOST_SHOWN = 20


def worst_pictures(pictures: Sequence[PictureScore], spec: DatasetSpec) -> str:
    """A Markdown page: the pictures of lowest mIoU, each with its most confused pair of classes."""
    scored = [picture for picture in pictures if picture.miou is not None]
    worst = sorted(scored, key=lambda picture: (picture.miou, picture.index))[:MOST_SHOWN]
    rows = [
        [
            picture.name,
            percent(picture.miou),
            percent(picture.pixel_accuracy),
            most_confused(picture, spec),
        ]
        for picture in worst
    ]
    header = ["picture", "mIoU %", "pixels right %", "most confused"]
    return (
        f"# The worst {len(worst)} of {len(scored)} pictures\n\n"
        "mIoU is the mean over the classes that a picture has, or was thought to have.\n\n"
        f"{table(header, rows)}\n"
    )


def most_confused(picture: PictureScore, spec: DatasetSpec) -> str:
    """The pair with most pixels, for example "car taken for bus: 12.50 % of the pixels"."""
    wrong = [entry for entry in picture.counts if entry[0] != entry[1]]
    if not wrong:
        return "nothing"
    label, prediction, count = max(wrong, key=lambda entry: entry[2])
    share = count / sum(entry[2] for entry in picture.counts)
    names = spec.class_names
    return f"{names[label]} taken for {names[prediction]}: {percent(share)} % of the pixels"
