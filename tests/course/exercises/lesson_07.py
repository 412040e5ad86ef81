"""Answers to the exercises of lesson 07, right and wrong."""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, one_hot

from annlib.course import checks
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model
from exercises import Gallery, Wrong

# Exercise 7.1


def by_pooling(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    areas = adaptive_avg_pool2d(one_hot(labels, num_classes).permute(2, 0, 1).float(), heat.shape)
    return (areas * heat).sum((1, 2))


def by_enlarging(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    side = labels.shape[0] // heat.shape[0]
    light = heat.repeat_interleave(side, 0).repeat_interleave(side, 1) / side**2
    return torch.zeros(num_classes).index_add(0, labels.flatten(), light.flatten())


def by_loop(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    side = labels.shape[0] // heat.shape[0]
    masses = torch.zeros(num_classes)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            masses[labels[y, x]] += heat[y // side, x // side] / side**2
    return masses


def not_divided(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    light = interpolate(heat[None, None], labels.shape)[0, 0]
    return torch.stack([light[labels == n].sum() for n in range(num_classes)])


def averaged(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    light = interpolate(heat[None, None], labels.shape)[0, 0]
    means = [light[labels == n].mean() for n in range(num_classes)]
    return torch.stack(means).nan_to_num()


def middle_of_cell(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    side = labels.shape[0] // heat.shape[0]
    picked = labels[side // 2 :: side, side // 2 :: side]
    return torch.zeros(num_classes).index_add(0, picked.flatten(), heat.flatten())


def most_frequent(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    areas = adaptive_avg_pool2d(one_hot(labels, num_classes).permute(2, 0, 1).float(), heat.shape)
    chosen = one_hot(areas.argmax(0), num_classes).permute(2, 0, 1)
    return (chosen * heat).sum((1, 2))


def areas_only(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(labels.flatten(), minlength=num_classes) / labels.numel()


def transposed(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    wrong = heat.T.reshape(heat.shape)
    return by_pooling(wrong, labels, num_classes)


def only_occurring(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    masses = by_pooling(heat, labels, num_classes)
    return masses[labels.unique()]


def renormalised(heat: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    masses = by_pooling(heat, labels, num_classes)
    return masses / masses.sum()


# Exercise 7.2


def by_scatter(weights: Tensor, k: int) -> Tensor:
    kept = weights.scatter(-1, weights.topk(k, dim=-1).indices, 0.0)
    return kept / kept.sum(-1, keepdim=True)


def by_sorting(weights: Tensor, k: int) -> Tensor:
    ranks = weights.argsort(-1, descending=True).argsort(-1)
    kept = torch.where(ranks < k, 0.0, weights)
    return kept / kept.sum(-1, keepdim=True)


def not_renormalised(weights: Tensor, k: int) -> Tensor:
    return weights.scatter(-1, weights.topk(k, dim=-1).indices, 0.0)


def weakest(weights: Tensor, k: int) -> Tensor:
    kept = weights.scatter(-1, weights.topk(k, dim=-1, largest=False).indices, 0.0)
    return kept / kept.sum(-1, keepdim=True)


def whole_matrix(weights: Tensor, k: int) -> Tensor:
    flat = weights.flatten(1)
    kept = flat.scatter(-1, flat.topk(k, dim=-1).indices, 0.0).view_as(weights)
    return kept / kept.sum(-1, keepdim=True)


def same_columns(weights: Tensor, k: int) -> Tensor:
    columns = weights.mean((0, 1)).topk(k).indices
    kept = weights.clone()
    kept[..., columns] = 0
    return kept / kept.sum(-1, keepdim=True)


def along_n(weights: Tensor, k: int) -> Tensor:
    kept = weights.scatter(1, weights.topk(k, dim=1).indices, 0.0)
    return kept / kept.sum(-1, keepdim=True).clamp(min=1e-9)


def softmax_again(weights: Tensor, k: int) -> Tensor:
    kept = weights.scatter(-1, weights.topk(k, dim=-1).indices, -torch.inf)
    return kept.softmax(-1)


def spread_evenly(weights: Tensor, k: int) -> Tensor:
    off = torch.zeros_like(weights).scatter(-1, weights.topk(k, dim=-1).indices, 1.0)
    lost = (weights * off).sum(-1, keepdim=True)
    return (weights + lost / (weights.shape[-1] - k)) * (1 - off)


def in_place(weights: Tensor, k: int) -> Tensor:
    weights.scatter_(-1, weights.topk(k, dim=-1).indices, 0.0)
    return weights / weights.sum(-1, keepdim=True)


def one_too_many(weights: Tensor, k: int) -> Tensor:
    threshold = weights.topk(k + 1, dim=-1).values[..., -1:]
    kept = torch.where(weights >= threshold, 0.0, weights)
    return kept / kept.sum(-1, keepdim=True)


# Exercise 7.3

SCENE = make_scene(FIRST_VAL_SEED + 21)


@cache
def network() -> torch.nn.Module:
    return shipped_model("balloon_ann")


def check_pixel(pixel: object) -> None:
    checks.bright_without_need(pixel, network(), SCENE)


GALLERIES = {
    "mass": Gallery(
        checks.class_mass,
        right=[by_pooling, by_enlarging, by_loop],
        wrong={
            "a position's share goes to every pixel": Wrong(not_divided, "divide it among them"),
            "mean instead of sum": Wrong(averaged, "do not average"),
            "the class in the middle gets the cell": Wrong(middle_of_cell, "several classes"),
            "the most frequent class gets the cell": Wrong(most_frequent, "several classes"),
            "areas, without attention": Wrong(areas_only, "all attention was on one position"),
            "rows and columns exchanged": Wrong(transposed, "rows first"),
            "absent classes are left out": Wrong(only_occurring, "do not occur"),
            "always brought to sum 1": Wrong(renormalised, "half of the attention"),
        },
    ),
    "switch": Gallery(
        checks.switch_off,
        right=[by_scatter, by_sorting],
        wrong={
            "rows are left with less": Wrong(not_renormalised, "sum to 1 again"),
            "the weakest instead": Wrong(weakest, "weakest"),
            "the strongest of the whole matrix": Wrong(whole_matrix, "each row chooses"),
            "the same columns for all rows": Wrong(same_columns, "not the strongest of their own"),
            "along the axis of those who ask": Wrong(along_n, "every row"),
            "a softmax of weights": Wrong(softmax_again, "ratios"),
            "the loss is handed out evenly": Wrong(spread_evenly, "ratios"),
            "writes into its input": Wrong(in_place, "copy"),
            "one more than asked for": Wrong(one_too_many, "must be zero in every row"),
        },
    ),
    "bright": Gallery(
        check_pixel,
        right=[(12, 34), (14, 38)],
        wrong={
            "a house that needs its balloon": Wrong((95, 92), "needed"),
            "a house that a vote gets right": Wrong((95, 42), "by chance"),
            "sky looks nowhere in particular": Wrong((50, 100), "no weight is large"),
            "column first": Wrong((150, 12), "outside"),
            "on a border": Wrong((127, 96), "border"),
            "one number": Wrong(95, "two whole numbers"),
            "positions of the map": Wrong((2.5, 4), "two whole numbers"),
        },
    ),
}
