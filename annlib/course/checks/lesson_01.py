"""Checkers of lesson 01: IoU of one class, the confusion matrix, mIoU of a data set.

K classes. counts[label, prediction], as in annlib.engine.metrics.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.checks.base import NotYet, attempt, attempt_number, expect, judge, passed, text
from annlib.course.checks.inputs import draw, fresh


def mask_iou(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """predicted, labelled: bool (H, W) -> IoU of the two"""
    for _ in range(2):
        order = torch.randperm(77, generator=fresh()).view(7, 11)
        both, missed, extra = draw(3, 5), draw(6, 8), draw(9, 12)
        predicted = (order < both) | ((order >= both + missed) & (order < both + missed + extra))
        labelled = order < both + missed
        slips = {
            "intersection twice in the union": both / (2 * both + missed + extra),
            "Dice": 2 * both / (2 * both + missed + extra),
            "recall": both / (both + missed),
            "precision": both / (both + extra),
            "pixel accuracy": 1 - (missed + extra) / 77,
            "intersection not divided": both,
        }
        found = attempt_number(student, predicted, labelled, finite=False)
        otherwise = f"For two random masks you get {found:.3g}, which is not intersection / union."
        judge(found, both / (both + missed + extra), slips, otherwise)
    for mask, value in ((labelled, 1), (~labelled, 0)):
        found = attempt_number(student, mask, labelled, finite=False)
        judge(found, value, {}, "A perfect prediction must get 1, its opposite 0; yours does not.")
    passed("mask_iou")


def update_confusion(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """counts (K, K), predictions (B, H, W), labels (B, H, W) -> counts with these pixels added"""
    num_classes = draw(4, 6)
    empty, batches = torch.zeros(num_classes, num_classes, dtype=torch.int64), []
    for _ in range(2):  # predictions and labels that differ often; no prediction of the last class
        size = (draw(2, 3), draw(9, 11), 13)
        labels = torch.randint(num_classes, size, generator=fresh())
        kept = torch.randint(2, size, generator=fresh())
        predictions = (labels * kept).clamp(max=num_classes - 2)
        labels[torch.rand(size, generator=fresh()) < 0.2] = IGNORE_INDEX
        batches.append((predictions, labels))
    once = [updated(student, empty, *batch) for batch in batches]
    classes = range(num_classes)
    for found, (predictions, labels) in zip(once, batches, strict=True):
        pairs = [[((labels == a) & (predictions == b)).sum() for b in classes] for a in classes]
        right, counted, total = torch.tensor(pairs), int(found.sum()), labels.numel()
        otherwise = "pixels in the wrong places"
        if counted == total:
            otherwise = text("255 counted", total)
        elif counted != right.sum():
            otherwise = text("pixels lost or twice", int(right.sum()), counted)
        slips = {
            "rows are predictions": right.T,
            "pairs counted once": right.clamp(max=1),
            "only correct pixels": right.diagonal().diag(),
        }
        judge(found, right, slips, otherwise)
    one_way, other_way = (updated(student, once[n], *batches[1 - n]) for n in (0, 1))
    expect(not torch.equal(one_way, once[1]), "second batch replaces the first")
    both = torch.equal(one_way, once[0] + once[1]) and torch.equal(one_way, other_way)
    expect(both, "batches do not add up")
    passed("update_confusion")


def updated(student: Callable, counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    """The student's matrix, of the correct shape, with whole numbers in it."""

    def works(labels: Tensor) -> bool:
        try:
            return attempt(student, counts, predictions, labels).shape == counts.shape
        except NotYet:
            return False

    try:
        found = attempt(student, counts, predictions, labels)
    except NotYet:  # which property of the batch stops it?
        labels = labels.where(labels != IGNORE_INDEX, 0)
        if works(labels):
            raise NotYet("255 stops it", IGNORE_INDEX) from None
        labels[0, 0, 0] = predictions[0, 0, 0] = len(counts) - 1  # the last entry of the matrix
        if works(labels):
            raise NotYet("no minlength") from None
        raise
    expect(found.shape == counts.shape, "another size of matrix", counts.shape, found.shape)
    expect(bool(((found.double() == found.double().round()) & (found >= 0)).all()), "no counts")
    return found.long()


def mean_iou(student: Callable[[Tensor], Tensor]) -> None:
    """counts of T images (T, K, K) -> mIoU of the data set"""
    for _ in range(2):
        # The last class occurs nowhere, the one before it is predicted but never labelled.
        num_images, num_classes = draw(3, 4), draw(5, 7)
        counts = torch.randint(1, 30, (num_images, num_classes, num_classes), generator=fresh())
        counts += 60 * torch.eye(num_classes, dtype=torch.int64)
        counts[0, 2] = 0  # a class that the labels of one image lack
        counts[:, -1] = counts[:, :, -1] = counts[:, -2] = 0
        found, total = attempt_number(student, counts, finite=False), counts.sum(0).double()
        each, of_all, both = ious(counts.double()), ious(total), total.diagonal()
        labelled, predicted = total.sum(1), total.sum(0)
        slips = {
            "mean over images": [each.nanmean(1).mean(), each.nanmean(0).nanmean(), each.nanmean()],
            "absent class counts 0": of_all.nan_to_num(0).mean(),
            "absent class counts 1": of_all.nan_to_num(1).mean(),
            "NaN spoils the mean": float("nan"),
            "predicted class left out": of_all[labelled > 0].mean(),
            "correct pixels twice in the union": (both / (labelled + predicted)).nanmean(),
            "mean class accuracy": (both / labelled).nanmean(),
            "mean precision": (both / predicted).nanmean(),
            "weighted by frequency": (labelled * of_all.nan_to_num(0)).sum() / labelled.sum(),
            "mean is pixel accuracy": both.sum() / total.sum(),
        }
        otherwise = f"For random counts your number is {found:.3g}, which is not the mIoU."
        judge(found, of_all.nanmean(), slips, otherwise)
    judge(attempt_number(student, counts.flip(0), finite=False), found, {}, "order of images")
    passed("mean_iou")


def ious(counts: Tensor) -> Tensor:
    """float64 (..., K, K) -> (..., K)"""
    both = counts.diagonal(dim1=-2, dim2=-1)
    return both / (counts.sum(-1) + counts.sum(-2) - both)
