"""Right and wrong answers to the exercises of lesson 04."""

import torch
from torch import Tensor
from torch.nn.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    interpolate,
)

from annlib.course import checks
from annlib.course.attention import anchor_boxes
from exercises import Gallery, Wrong
from exercises.pyramid_answers import APNB, by_loops, pooled


def square_only(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    side = x.shape[2]
    return pooled(x.flatten(2).unflatten(2, (side, side)), levels)


def strided(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    return pooled(x, levels, lambda maps, level: interpolate(maps, (level, level), mode="nearest"))


def sums(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    boxes = anchor_boxes(levels, *x.shape[2:]).tolist()
    return torch.stack([x[:, :, t:b, le:r].sum((2, 3)) for t, le, b, r in boxes], dim=-1)


def lines(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    return torch.cat([adaptive_avg_pool1d(x.flatten(2), n * n) for n in levels], dim=-1)


ANCHORS = Gallery(
    check=checks.sample_anchors,
    right=[pooled, by_loops],
    wrong={
        "not started": Wrong(lambda x, levels: ..., "three dots"),
        "largest instead of mean": Wrong(
            lambda x, levels: pooled(x, levels, adaptive_max_pool2d), "is the mean"
        ),
        "one position picked from each cell": Wrong(strided, "pick one position"),
        "resized instead of averaged": Wrong(
            lambda x, levels: pooled(
                x, levels, lambda m, n: interpolate(m, (n, n), mode="bilinear")
            ),
            "four positions",
        ),
        "levels the other way round": Wrong(
            lambda x, levels: pooled(x, levels[::-1]), "reverse order"
        ),
        "flattened before pooling": Wrong(lines, "flatten before"),
        "a map is square": Wrong(square_only, "height and width may differ"),
        "a level has n cells": Wrong(
            lambda x, levels: torch.cat(
                [adaptive_avg_pool2d(x, (n, 1)).flatten(2) for n in levels], -1
            ),
            "sums the squares",
        ),
        "always 1, 3, 6, 8": Wrong(
            lambda x, levels: pooled(x, (1, 3, 6, 8)), "levels of the argument"
        ),
        "anchors before channels": Wrong(lambda x, levels: pooled(x, levels).mT, "(B, C, S)"),
        "column by column": Wrong(
            lambda x, levels: pooled(x, levels, lambda m, n: adaptive_avg_pool2d(m, n).mT),
            "row by row",
        ),
        "sums, not means": Wrong(sums, "without dividing"),
        "over all channels": Wrong(lambda x, levels: pooled(x, levels).mean(1), "(B, C, S)"),
        "detached": Wrong(lambda x, levels: pooled(x.detach(), levels), "no gradient"),
    },
)


def floor_and_ceiling(index: int, side: int, level: int) -> tuple[int, int]:
    return index * side // level, -(-(index + 1) * side // level)


def with_math(index: int, side: int, level: int) -> tuple[int, int]:
    end, rest = divmod((index + 1) * side, level)
    return (index * side) // level, end + (rest > 0)


CELL = Gallery(
    check=checks.cell,
    right=[floor_and_ceiling, with_math],
    wrong={
        "not started": Wrong(lambda index, side, level: ..., "three dots"),
        "cells of one size": Wrong(
            lambda i, side, level: (i * (side // level), (i + 1) * (side // level)), "in no cell"
        ),
        "the last position as end": Wrong(
            lambda i, side, level: (i * side // level, (i + 1) * side // level - 1), "one further"
        ),
        "floor at both ends": Wrong(
            lambda i, side, level: (i * side // level, (i + 1) * side // level), "round the end up"
        ),
        "cells that always share": Wrong(
            lambda i, side, level: (i * side // level, min(side, (i + 1) * side // level + 1)),
            "none is shared",
        ),
        "broken numbers": Wrong(
            lambda i, side, level: (i * side / level, (i + 1) * side / level), "whole numbers"
        ),
        "one number": Wrong(lambda i, side, level: i * side // level, "(start, end)"),
        "side and level exchanged": Wrong(
            lambda i, side, level: (i * level // side, -(-(i + 1) * level // side)), "in no cell"
        ),
        "counting from 1": Wrong(
            lambda i, side, level: floor_and_ceiling(i - 1, side, level), "leaves the side"
        ),
    },
)


GALLERIES = {"anchors": ANCHORS, "cell": CELL, "apnb": APNB}
