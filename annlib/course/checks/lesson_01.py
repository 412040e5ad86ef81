"""Checkers of lesson 01: IoU of one class, the confusion matrix, mIoU of a data set.

K classes. counts[label, prediction], as in annlib.engine.evaluate.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.checks.base import NotYet, attempt, draw, expect, fresh
from annlib.course.lesson import say

Update = Callable[[Tensor, Tensor, Tensor], Tensor]


def number(student: Callable[..., Tensor | float], *inputs: Tensor) -> float:
    """The student's result, a float or a tensor that holds one number."""

    def wrapped(*values: Tensor) -> Tensor | None:
        result = student(*values)
        return torch.as_tensor(float(result)) if isinstance(result, float | int) else result

    wrapped.__name__ = getattr(student, "__name__", "your function")
    result = attempt(wrapped, *(value.clone() for value in inputs))
    expect(
        result.numel() == 1,
        f"One number is wanted; yours has the shape {tuple(result.shape)}. Which sum is missing?",
    )
    return float(result)


def near(one: float, other: float) -> bool:
    """Equal but for rounding; NaN equals NaN."""
    return abs(one - other) < 1e-5 or (one != one and other != other)


def masks(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What is predicted and what is labelled, with some of everything.  -> bool (H, W) twice"""
    generator = fresh()
    order = torch.randperm(size[0] * size[1], generator=generator).view(size)
    both, missed, extra = draw(3, 5), draw(6, 8), draw(9, 12)
    predicted = (order < both) | ((order >= both + missed) & (order < both + missed + extra))
    return predicted, order < both + missed


def mask_iou(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """predicted, labelled: bool (H, W) -> IoU of the two"""
    for _ in range(2):
        predicted, labelled = masks((7, 11))
        found = number(student, predicted, labelled)
        right = float((predicted & labelled).sum()) / float((predicted | labelled).sum())
        judge(found, right, slips_of_the_union(predicted, labelled), "intersection / union")
    perfect = number(student, labelled, labelled)
    opposite = number(student, ~labelled, labelled)
    expect(
        near(perfect, 1) and near(opposite, 0),
        "A perfect prediction must get 1, its opposite 0; yours does not.",
    )
    say("Right: 1 for a perfect mask, 0 for its opposite, and both kinds of error cost.")


def slips_of_the_union(predicted: Tensor, labelled: Tensor) -> dict[float, str]:
    """Numbers that plausible mistakes lead to, and advice."""
    both, sizes = float((predicted & labelled).sum()), (predicted.sum(), labelled.sum())
    in_both = float(sum(sizes))
    return {
        both / in_both: "The union counts the intersection twice: |A| + |B| holds it once for A "
        "and once for B, so take it off once.",
        2 * both / in_both: "That is the Dice score, 2 |A and B| / (|A| + |B|), a relative of IoU "
        "that is always kinder. Divide by the union, once.",
        both / float(sizes[1]): "You divide by the labelled pixels only. Who predicts the class "
        "everywhere would get 1: wrong alarms must cost something.",
        both / float(sizes[0]): "You divide by the predicted pixels only. Who predicts one safe "
        "pixel would get 1: missed pixels must cost something.",
        float((predicted == labelled).double().mean()): "That is pixel accuracy: pixels where both "
        "say no are counted as right. They belong neither to intersection nor union.",
        both: "That is the intersection, a number of pixels. Divide it by the union.",
    }


def judge(found: float, right: float, slips: dict[float, str], wanted: str) -> None:
    """Raises NotYet, with the advice of the slip that leads to the number found."""
    if near(found, right):
        return
    for value, advice in slips.items():
        if near(found, value):
            raise NotYet(advice)
    raise NotYet(f"For inputs drawn anew your number is {found:.3g}, which is not {wanted}.")


def update_confusion(student: Update) -> None:
    """counts (K, K), predictions (B, H, W), labels (B, H, W) -> counts with these pixels added"""
    num_classes = draw(4, 6)
    empty = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    batches = [picture_pair(num_classes) for _ in range(2)]
    once = [updated(student, empty, *batch) for batch in batches]
    for counts, (predictions, labels) in zip(once, batches, strict=True):
        check_counts(counts, predictions, labels, num_classes)
    one_way = updated(student, once[0], *batches[1])
    other_way = updated(student, once[1], *batches[0])
    expect(
        not torch.equal(one_way, once[1]),
        "The second batch replaces the first: add to the counts that came in, do not start over.",
    )
    expect(
        torch.equal(one_way, once[0] + once[1]) and torch.equal(one_way, other_way),
        "Two batches, one after the other, must give the sum of what each gives alone, in "
        "either order. Yours do not: is something divided, or left over from before?",
    )
    say(
        "Right: rows are labels, columns predictions, each labelled pixel is counted once, 255 "
        "never, whatever is predicted there, and the order of batches does not matter."
    )


def picture_pair(num_classes: int) -> tuple[Tensor, Tensor]:
    """Predictions and labels that disagree often, some of the labels 255.  (B, H, W) twice"""
    generator, size = fresh(), (draw(2, 3), draw(9, 11), 13)
    labels = torch.randint(num_classes, size, generator=generator)
    predictions = (labels * torch.randint(2, size, generator=generator)).clamp(max=num_classes - 2)
    labels[torch.rand(size, generator=generator) < 0.2] = IGNORE_INDEX
    return predictions, labels


def updated(student: Update, counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    """The student's matrix, of the right shape and kind."""
    found = attempt(student, counts.clone(), predictions.clone(), labels.clone())
    expect(
        found.shape == counts.shape,
        f"The matrix must stay {tuple(counts.shape)}; yours is {tuple(found.shape)}. A row or "
        "column for 255 does not belong in it: take those pixels out first.",
    )
    whole = found.double() == found.double().round()
    expect(
        bool(whole.all()) and bool((found >= 0).all()),
        "Counts are whole numbers: shares come later, when all pixels are in. Shares of batches "
        "cannot be added.",
    )
    return found.long()


def check_counts(found: Tensor, predictions: Tensor, labels: Tensor, num_classes: int) -> None:
    """Compares with every pair of classes counted one by one."""
    pairs = [
        [(labels == a) & (predictions == b) for b in range(num_classes)] for a in range(num_classes)
    ]
    right = torch.tensor([[int(mask.sum()) for mask in row] for row in pairs])
    check_kind(found, right)
    valid, total = int((labels != IGNORE_INDEX).sum()), labels.numel()
    expect(
        int(found.sum()) != total,
        f"All {total} pixels are counted, those with the label 255 too: they have no class, so "
        "they may neither help nor harm. Leave them out first.",
    )
    expect(
        int(found.sum()) == valid,
        f"{valid} pixels have a label, but the sum of your matrix is {int(found.sum())}. Are all "
        "pictures of the batch counted, and none twice?",
    )
    expect(
        torch.equal(found, right),
        "As many pixels as there should be, but in the wrong places: entry (l, k) counts the "
        "pixels with label l that were taken for class k. Check the product and the view.",
    )


def check_kind(found: Tensor, right: Tensor) -> None:
    """Tells apart matrices that are another one than wanted as a whole."""
    expect(
        not torch.equal(found, right.T),
        "Your matrix is transposed: a row belongs to a label, so its sum says how often that "
        "class stands in the labels.",
    )
    expect(
        not torch.equal(found, (right > 0).long()),
        "Each pair of classes was counted once, however often it occurs: `counts[rows, columns] "
        "+= 1` writes the same place once. bincount, or index_put_(..., accumulate=True), adds.",
    )
    expect(
        not torch.equal(found, right.diagonal().diag()),
        "Only pixels that are right are counted. IoU needs to know which class was taken for "
        "which, so all labelled pixels go in.",
    )


def mean_iou(student: Callable[[Tensor], Tensor]) -> None:
    """counts of T pictures (T, K, K) -> mIoU of the data set"""
    for _ in range(2):
        counts = matrices_with_gaps()
        total = counts.sum(0).double()
        right = float(ious(total).nanmean())
        judge(number(student, counts), right, slips_of_the_mean(counts, total), "the mIoU")
    expect(
        near(number(student, counts), number(student, counts.flip(0))),
        "The order of the pictures changes your result. Add all matrices before anything is "
        "divided.",
    )
    say(
        "Right: all pictures go into one matrix first; a class that occurs nowhere is left out of "
        "the mean; a class that was only predicted counts as 0."
    )


def matrices_with_gaps() -> Tensor:
    """One class occurs nowhere, one is predicted but never labelled.  -> int64 (T, K, K)"""
    num_pictures, num_classes = draw(3, 4), draw(5, 7)
    counts = torch.randint(1, 30, (num_pictures, num_classes, num_classes), generator=fresh())
    counts += 60 * torch.eye(num_classes, dtype=torch.int64)
    counts[0, 2] = 0  # a class that the labels of one picture lack
    nowhere, only_predicted = num_classes - 1, num_classes - 2
    counts[:, nowhere] = 0
    counts[:, :, nowhere] = 0
    counts[:, only_predicted] = 0
    return counts


def ious(counts: Tensor) -> Tensor:
    """float64 (..., K, K) -> (..., K)"""
    both = counts.diagonal(dim1=-2, dim2=-1)
    return both / (counts.sum(-1) + counts.sum(-2) - both)


def slips_of_the_mean(counts: Tensor, total: Tensor) -> dict[float, str]:
    """Numbers that plausible mistakes lead to, and advice."""
    return slips_of_absence(counts, total) | slips_of_the_formula(total)


def slips_of_absence(counts: Tensor, total: Tensor) -> dict[float, str]:
    """Mistakes about what goes into the mean."""
    of_all, each = ious(total), ious(counts.double())
    per_picture = (
        "You average over pictures. A picture that lacks a class then changes how much the others "
        "weigh. Add the matrices first; one mean, at the very end."
    )
    return {
        float(each.nanmean(1).mean()): per_picture,
        float(each.nanmean(0).nanmean()): per_picture,
        float(each.nanmean()): per_picture,
        float(of_all.nan_to_num(0).mean()): "A class that occurs nowhere, neither in labels nor in "
        "predictions, counts as 0 with you: nobody could have done better. Leave it out.",
        float(of_all.nan_to_num(1).mean()): "A class that occurs nowhere counts as 1 with you: "
        "a present for something that was never asked. Leave it out.",
        float("nan"): "0/0 is NaN, and one NaN makes the whole mean NaN. torch has a mean that "
        "leaves NaN out.",
        float(of_all[total.sum(1) > 0].mean()): "A class that was predicted but stands in no label "
        "is left out with you. Each of its pixels is wrong: it counts as 0.",
    }


def slips_of_the_formula(total: Tensor) -> dict[float, str]:
    """Mistakes about what is divided by what."""
    both, labelled, predicted = total.diagonal(), total.sum(1), total.sum(0)
    share = labelled / labelled.sum()
    return {
        float((both / (labelled + predicted)).nanmean()): "The union counts the intersection "
        "twice: labelled + predicted holds right pixels once on each side.",
        float((both / labelled).nanmean()): "That is the mean class accuracy: you divide by what "
        "is labelled only, so wrong alarms cost nothing.",
        float((both / predicted).nanmean()): "You divide by what was predicted only (precision): "
        "missed pixels cost nothing.",
        float((share * ious(total).nan_to_num(0)).sum()): "You weigh classes by their pixels "
        "(frequency weighted IoU). In mIoU every class has one vote, however small.",
        float(both.sum() / total.sum()): "That is pixel accuracy, in which the sky decides.",
    }
