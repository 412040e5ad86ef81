"""Checkers of lesson 04: pyramid cells, anchors, and the pyramid block (APNB).

B batch, C channels, H x W the feature map, N = H * W query positions, S anchors.
"""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from annlib.course.checks import blocks
from annlib.course.checks.base import NotYet, attempt, expect, judge, passed, result_of, text
from annlib.course.checks.inputs import draw, normal
from annlib.model.asymmetric import PyramidPool

Levels = tuple[int, ...]


def cell(student: Callable[[int, int, int], tuple[int, int]]) -> None:
    """student(index, side, level) -> (start, end): the positions start..end - 1 along one side"""
    for side, level in [(12, 4), (7, 1), (draw(13, 19), draw(5, 7)), (16, 6), (draw(3, 4), 7)]:
        edges = [result_of(student, index, side, level) for index in range(level)]
        for index, edge in enumerate(edges):
            two = isinstance(edge, tuple) and [isinstance(end, int) for end in edge] == [True, True]
            expect(two, "no pair of edges", index, side, level, edge)
        where = f"A side of {side} positions in {level} cells: yours are {edges}. "
        ends = {end for _, end in edges}
        missing = set(range(side)).difference(*(range(*edge) for edge in edges))
        # Which positions have an influence on a cell of torch's adaptive pooling?
        influence = F.adaptive_avg_pool1d(torch.eye(side)[None], level)[0].T > 0
        places = [row.nonzero().flatten().tolist() for row in influence]
        right = edges == [(row[0], row[-1] + 1) for row in places]
        claims = {
            "One of them leaves the side.": all(s >= 0 and max(s, e) <= side for s, e in edges),
            "A cell with start = end is empty, and has no mean.": all(s < e for s, e in edges),
            "Your end is the last position; it must be one further.": missing != ends,
            f"Positions {sorted(missing)} are in no cell, so no anchor contains them.": not missing,
            "Here the side divides evenly: none is shared.": right or side % level,
            "cells do not overlap": right or sum(e - s for s, e in edges) > side,
            "Round index x side / level down, (index + 1) x side / level up.": right,
        }
        for advice, claim in claims.items():
            expect(claim, where + text(advice))
    passed("cell")


def sample_anchors(student: Callable[[Tensor, Levels], Tensor]) -> None:
    """student(features (B, C, H, W), pool_scales) -> (B, C, S)"""
    check_anchors(student, normal(2, 3, 7, 7), (1, draw(2, 3), draw(4, 5)))
    oblong = normal(2, draw(3, 5), draw(9, 12), draw(14, 17))
    check_anchors(student, oblong, (1, draw(2, 3), draw(4, 5)))
    features = normal(1, 2, 4, 6).requires_grad_()  # any levels, also finer than the map
    anchors = check_anchors(student, features, (draw(2, 3), 1, 9))
    expect(anchors.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    (gradient,) = torch.autograd.grad(anchors.sum(), features)
    expect(bool((gradient != 0).all()), "Some positions count in no anchor: they get no gradient.")
    passed("sample_anchors")


def check_anchors(student: Callable, features: Tensor, levels: Levels) -> Tensor:
    """The student's anchors of these features, if they are correct."""
    oblong = features.shape[2] != features.shape[3]
    hint = "It works on a square map: height and width may differ." if oblong else ""
    anchors = attempt(student, features, levels, hint=hint)
    (batch, channels), num_anchors = features.shape[:2], sum(n * n for n in levels)
    got = tuple(anchors.shape)
    shapes = {
        "channels come before anchors: (B, C, S).": (batch, num_anchors, channels),
        "a level of n has n x n cells: S sums the squares.": (batch, channels, sum(levels)),
        "take the levels of the argument, not 1, 3, 6, 8.": (batch, channels, 110),
    }
    otherwise = f"it must be (B, C, S) with S = {num_anchors}, batch kept."
    where = f"From {tuple(features.shape)} and levels {levels} you make {got}; "
    judge(got, (batch, channels, num_anchors), shapes, otherwise, where)
    same = attempt(student, torch.full_like(features, 2.0), levels)
    if not torch.allclose(same, torch.full_like(same, 2.0)):
        raise NotYet("sums instead of means", float(same.min()), float(same.max()))

    def made(pool: Callable[[Tensor, int], Tensor]) -> Tensor:
        return torch.cat([pool(features, n).flatten(2) for n in levels], -1)

    def crop(x: Tensor, n: int) -> Tensor:
        return F.avg_pool2d(x, [side // n or 1 for side in x.shape[2:]])[:, :, :n, :n]

    slips = {
        "maximum of each cell": made(F.adaptive_max_pool2d),
        "one position of each cell": made(lambda x, n: F.interpolate(x, (n, n))),
        "resized": made(lambda x, n: F.interpolate(x, (n, n), mode="bilinear")),
        "flattened before pooling": made(lambda x, n: F.adaptive_avg_pool1d(x.flatten(2), n * n)),
        "column by column": made(lambda x, n: F.adaptive_avg_pool2d(x, n).mT),
        "cells of one size": made(crop),
        "levels reversed": PyramidPool(levels[::-1])(features),
    }
    judge(anchors, PyramidPool(levels)(features), slips, "not the means of the cells", atol=1e-5)
    return anchors


class MaxPool(PyramidPool):
    """The slip: the largest number of each cell."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.adaptive_max_pool2d(x, n).flatten(2) for n in self.pool_scales], -1)


PARTS = ("to_key", "to_value", "to_output", "fuse")  # of the block in the exercise


def pyramid_block(student: type[nn.Module]) -> None:
    """student(channels, key_channels, pool_scales), a module: (B, C, H, W) -> (B, C, H, W)"""
    channels, keys, levels = 2 * draw(3, 4), draw(2, 4), (1, draw(2, 3), 4)
    block = blocks.build(student, channels, keys, levels)
    children = dict(block.named_children())
    missing = [name for name in PARTS if not isinstance(children.get(name), nn.Module)]
    expect(not missing, "parts missing", ", ".join(missing), ", ".join(PARTS))
    features = distinct_features(block, channels, levels)
    check_block(block, features, levels, "another pyramid block")
    side = draw(4, 6)  # one level as large as a square map: nothing is lost
    whole = blocks.build(student, channels, keys, (side,))
    blocks.randomise(whole)
    check_block(whole, normal(1, channels, side, side), (side,), "whole map is not non-local")
    leaves = {name: list(block.get_submodule(name).parameters()) for name in PARTS}
    blocks.check_gradient(attempt(block, features), leaves)
    passed("pyramid_block")


def pooled_first(block: nn.Module, levels: Levels) -> blocks.Change:
    """The slip: sampling before the projection, whose ReLU then acts on means."""
    pool = PyramidPool(levels), nn.Unflatten(2, (-1, 1))  # to (B, C, S, 1)
    parts = {name: nn.Sequential(*pool, getattr(block, name)) for name in ("to_key", "to_value")}
    return {"pool": nn.Flatten(2), "to_query": block.to_key} | parts


@torch.no_grad()
def distinct_features(block: nn.Module, channels: int, levels: Levels) -> Tensor:
    """A map for which projecting first makes a difference, as some ReLU is at zero; (B, C, H, W).

    Gives the block random weights.
    """
    while True:
        blocks.randomise(block)
        features = normal(2, channels, draw(6, 7), draw(9, 11))
        with suppress(RuntimeError):  # parts of other sizes: reported when the block is called
            given = block, features, features, levels
            last = blocks.context_of(*given, {})
            first = blocks.context_of(*given, pooled_first(block, levels))
            if (first - last).abs().max() < 0.1 * last.abs().max():
                continue
        return features


def check_block(block: nn.Module, features: Tensor, levels: Levels, otherwise: str) -> None:
    hint = "Pool keys and values, both; the query keeps all N positions."
    output = attempt(block, features, hint=hint)
    got, wanted = output.shape, features.shape
    expect(got == wanted, "shape of the pyramid block's output", wanted, got)
    coarse = [nn.AdaptiveAvgPool2d(levels[-1]), nn.Upsample(tuple(features.shape[2:]))]
    changes = {
        "maximum in the pool": {"pool": MaxPool(levels)},
        "pool of 1, 3, 6, 8": {"pool": PyramidPool((1, 3, 6, 8))},
        "query sampled": {"to_query": nn.Sequential(block.to_key, *coarse)},
        "sampled before projected": pooled_first(block, levels),
    }
    blocks.check_fused(block, output, (features, features), levels, changes, otherwise)
