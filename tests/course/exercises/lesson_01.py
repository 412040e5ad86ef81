"""Answers to the exercises of lesson 01, right ones and plausible wrong ones."""

import torch
from torch import Tensor

from annlib.course import checks
from exercises import Gallery, Wrong


def by_flags(predicted: Tensor, labelled: Tensor) -> Tensor:
    return (predicted & labelled).sum() / (predicted | labelled).sum()


def by_sizes(predicted: Tensor, labelled: Tensor) -> float:
    both = int((predicted * labelled).sum())
    return both / (int(predicted.sum()) + int(labelled.sum()) - both)


def both_of(predicted: Tensor, labelled: Tensor) -> Tensor:
    return (predicted & labelled).sum()


MASK_IOU = Gallery(
    checks.mask_iou,
    (by_flags, by_sizes),
    {
        "union forgets to take off the intersection": Wrong(
            lambda p, t: both_of(p, t) / (p.sum() + t.sum()), "counts the intersection twice"
        ),
        "Dice": Wrong(lambda p, t: 2 * both_of(p, t) / (p.sum() + t.sum()), "Dice"),
        "recall": Wrong(lambda p, t: both_of(p, t) / t.sum(), "false positives"),
        "precision": Wrong(lambda p, t: both_of(p, t) / p.sum(), "false negatives"),
        "pixel accuracy": Wrong(lambda p, t: (p == t).float().mean(), "pixel accuracy"),
        "not divided": Wrong(both_of, "Divide it by the union"),
        "a mask, no number": Wrong(lambda p, t: p & t, "One number is wanted"),
    },
)


def by_bincount(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    valid, k = labels != 255, len(counts)
    pairs = k * labels[valid] + predictions[valid]
    return counts + torch.bincount(pairs, minlength=k * k).view(k, k)


def by_loops(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    for label, prediction in zip(
        labels.flatten().tolist(), predictions.flatten().tolist(), strict=True
    ):
        if label != 255:
            counts[label, prediction] += 1
    return counts


def by_index_put(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    valid = labels < len(counts)
    where, one = (labels[valid], predictions[valid]), torch.ones(())
    return counts.double().index_put_(where, one.double(), accumulate=True).long()


def transposed(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    return counts + by_bincount(0 * counts, predictions, labels).T


def with_255_as_sky(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    return by_bincount(counts, predictions, labels.where(labels != 255, 0))


def with_255_unmasked(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    pairs = (len(counts) * labels + predictions).flatten()
    return counts + torch.bincount(pairs, minlength=len(counts) ** 2).view_as(counts)


def unmasked_by_index(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    return counts.index_put((labels, predictions), torch.tensor(1), accumulate=True)


def without_minlength(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    valid, k = labels != 255, len(counts)
    return counts + torch.bincount(k * labels[valid] + predictions[valid]).view(k, k)


def without_both(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    k = len(counts)
    return counts + torch.bincount((k * labels + predictions).flatten()).view(k, k)


def one_class_more(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    k = len(counts) + 1
    pairs = k * labels.clamp(max=k - 1) + predictions
    return torch.bincount(pairs.flatten(), minlength=k * k).view(k, k)


def once_each(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    valid = labels != 255
    counts[labels[valid], predictions[valid]] += 1
    return counts


def starts_over(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    return by_bincount(torch.zeros_like(counts), predictions, labels)


def only_right(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    right = labels[labels == predictions]
    return counts + torch.bincount(right, minlength=len(counts)).diag()


def first_picture(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    return by_bincount(counts, predictions[0], labels[0])


def in_shares(counts: Tensor, predictions: Tensor, labels: Tensor) -> Tensor:
    found = by_bincount(0 * counts, predictions, labels)
    return counts + found / found.sum()


UPDATE = Gallery(
    checks.update_confusion,
    (by_bincount, by_loops, by_index_put),
    {
        "transposed": Wrong(transposed, "transposed"),
        "255 counted as class 0": Wrong(with_255_as_sky, "label 255"),
        "255 not taken out": Wrong(with_255_unmasked, "some labels are 255"),
        "255 as an index": Wrong(unmasked_by_index, "some labels are 255"),
        "minlength forgotten": Wrong(without_minlength, "minlength=K * K"),
        "255 and minlength forgotten": Wrong(without_both, "minlength=K * K"),
        "a row and a column for 255": Wrong(one_class_more, "row or column for 255"),
        "an assignment counts duplicates once": Wrong(once_each, "accumulate"),
        "starts over with each batch": Wrong(starts_over, "do not start over"),
        "only right pixels": Wrong(only_right, "which class was predicted"),
        "only the first image of a batch": Wrong(first_picture, "all images of the batch"),
        "ratios instead of counts": Wrong(in_shares, "whole numbers"),
    },
)


def ious(counts: Tensor) -> Tensor:
    both = counts.diagonal(dim1=-2, dim2=-1).double()
    return both / (counts.sum(-1) + counts.sum(-2) - both)


def by_nanmean(counts: Tensor) -> Tensor:
    return ious(counts.sum(0)).nanmean()


def class_by_class(counts: Tensor) -> float:
    total, found = counts.sum(0), []
    for k in range(len(total)):
        union = int(total[k].sum() + total[:, k].sum() - total[k, k])
        if union:
            found.append(int(total[k, k]) / union)
    return sum(found) / len(found)


def union_twice(counts: Tensor) -> Tensor:
    total = counts.sum(0).double()
    return (total.diagonal() / (total.sum(0) + total.sum(1))).nanmean()


def labelled_classes_only(counts: Tensor) -> Tensor:
    total = counts.sum(0)
    return ious(total)[total.sum(1) > 0].mean()


def weighted(counts: Tensor) -> Tensor:
    total = counts.sum(0)
    return (ious(total).nan_to_num(0) * total.sum(1)).sum() / total.sum()


MEAN = Gallery(
    checks.mean_iou,
    (by_nanmean, class_by_class),
    {
        "mean of per-image mIoU": Wrong(lambda c: ious(c).nanmean(1).mean(), "average over images"),
        "per-image, class by class": Wrong(
            lambda c: ious(c).nanmean(0).nanmean(), "average over images"
        ),
        "absent class counts 0": Wrong(
            lambda c: ious(c.sum(0)).nan_to_num(0).mean(), "counts as 0 with you"
        ),
        "absent class counts 1": Wrong(
            lambda c: ious(c.sum(0)).nan_to_num(1).mean(), "counts as 1 with you"
        ),
        "NaN spoils the mean": Wrong(lambda c: ious(c.sum(0)).mean(), "leaves NaN out"),
        "union forgets to take off the intersection": Wrong(union_twice, "twice"),
        "only predicted is left out": Wrong(labelled_classes_only, "it counts as 0"),
        "mean class accuracy": Wrong(
            lambda c: (c.sum(0).diagonal() / c.sum(0).sum(1)).nanmean(), "mean class accuracy"
        ),
        "precision": Wrong(
            lambda c: (c.sum(0).diagonal() / c.sum(0).sum(0)).nanmean(), "precision"
        ),
        "weighted by frequency": Wrong(weighted, "the same weight"),
        "pixel accuracy": Wrong(lambda c: c.sum(0).diagonal().sum() / c.sum(), "pixel accuracy"),
    },
)

GALLERIES = {"mask-iou": MASK_IOU, "update": UPDATE, "mean-iou": MEAN}
