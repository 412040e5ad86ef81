"""Checker of lesson 01: mIoU of a data set.  K classes, T pictures, counts[label, prediction]"""

from collections.abc import Callable

import torch
from torch import Tensor

from annlib.course.exercises.checking import draw, expect, fresh
from annlib.course.exercises.confusion import judge, near, number
from annlib.course.lines import say


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
