"""Checkers of lesson 04: pyramid cells, anchors, and the pyramid block (APNB).

B batch, C channels, H x W the feature map, N = H * W query positions, S anchors.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    interpolate,
)

from annlib.course.checks.base import (
    NotYet,
    attempt,
    attention_slips,
    build,
    check_gradient,
    draw,
    expect,
    judge,
    normal,
    randomise,
    result_of,
    with_parts,
)
from annlib.course.lesson import say
from annlib.model.asymmetric import APNB, AsymmetricAttention, PyramidPool

Levels = tuple[int, ...]


def cell(student: Callable[[int, int, int], tuple[int, int]]) -> None:
    """student(index, side, level) -> (start, end): the positions start..end - 1 along one side"""
    for side, level in [(12, 4), (7, 1), (draw(13, 19), draw(5, 7)), (16, 6), (draw(3, 4), 7)]:
        edges = [result_of(student, index, side, level) for index in range(level)]
        for index, edge in enumerate(edges):
            whole = isinstance(edge, tuple) and len(edge) == 2
            expect(
                whole and all(isinstance(end, int) for end in edge),
                f"cell({index}, {side}, {level}) gives {edge!r}; it must be (start, end), two "
                "whole numbers. // divides and rounds down.",
            )
        where = f"A side of {side} positions in {level} cells: yours are {edges}. "
        check_cover(edges, side, where)
        # Which positions have an influence on a cell of torch's adaptive pooling?
        influence = adaptive_avg_pool1d(torch.eye(side)[None], level)[0].T > 0
        places = [row.nonzero().flatten().tolist() for row in influence]
        if edges == [(row[0], row[-1] + 1) for row in places]:
            continue
        expect(
            side % level != 0,
            f"{where}Here the side divides evenly: each cell gets side / level positions, none "
            "shared.",
        )
        expect(
            sum(end - start for start, end in edges) > side,
            f"{where}They do not overlap, but where the side does not divide evenly, adaptive "
            "pooling lets neighbours share a position: the end is rounded up.",
        )
        raise NotYet(
            f"{where}The start is index x side / level rounded down, the end (index + 1) x side / "
            "level up."
        )
    say(
        "Correct: cells start at the floor and end at the ceiling. They cover the side, none is "
        "empty, and where the side does not divide evenly neighbours share a position."
    )


def check_cover(edges: list[tuple[int, int]], side: int, where: str) -> None:
    for start, end in edges:
        expect(0 <= start <= side and end <= side, f"{where}One of them leaves the side.")
        expect(
            start < end,
            f"{where}A cell with start = end is empty: the mean of nothing is not a number.",
        )
    inside = {place for start, end in edges for place in range(start, end)}
    missing = sorted(set(range(side)) - inside)
    expect(
        set(missing) != {end for _, end in edges},
        f"{where}Your end is the last position itself; it must be one further, as in a range.",
    )
    expect(not missing, f"{where}Positions {missing} are in no cell: no anchor represents them.")


def sample_anchors(student: Callable[[Tensor, Levels], Tensor]) -> None:
    """student(features (B, C, H, W), pool_scales) -> (B, C, S)"""
    for features in (normal(2, 3, 7, 7), normal(2, draw(3, 5), draw(9, 12), draw(14, 17))):
        levels = (1, draw(2, 3), draw(4, 5))
        check_anchors(student, features, levels)
        anchors = attempt(student, torch.full_like(features, 2.0), levels)
        expect(
            torch.allclose(anchors, torch.full_like(anchors, 2.0)),
            f"A map that is 2 everywhere gives anchors from {float(anchors.min()):.3g} to "
            f"{float(anchors.max()):.3g}. A mean of equal numbers is that number: did you add up "
            "without dividing, or count positions outside the map?",
        )
    features = normal(1, 2, 4, 6).requires_grad_()  # any levels, also finer than the map
    anchors = check_anchors(student, features, (draw(2, 3), 1, 9))
    expect(anchors.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    (gradient,) = torch.autograd.grad(anchors.sum(), features)
    expect(bool((gradient != 0).all()), "Some positions count in no anchor: they get no gradient.")
    say(
        "Correct: S is the sum of the squares, each anchor is the mean of its cell, level 1 that "
        "of the map; a constant stays a constant, and a map need not be square."
    )


def check_anchors(student: Callable, features: Tensor, levels: Levels) -> Tensor:
    """The student's anchors of these features, if they are correct."""
    try:
        anchors = attempt(student, features.clone(), levels)
    except NotYet as error:
        expect(
            features.shape[2] == features.shape[3] or "stopped with" not in str(error),
            f"{error} It works on a square map: height and width may differ; read both.",
        )
        raise
    batch, channels = features.shape[:2]
    wanted, got = (batch, channels, sum(n * n for n in levels)), tuple(anchors.shape)
    made = f"From a map {tuple(features.shape)} and levels {levels} you make {got}; "
    expect(got != (batch, wanted[2], channels), made + "channels come before anchors: (B, C, S).")
    expect(
        got != (batch, channels, sum(levels)),
        made + "a level of n has n rows of n cells: S is the sum of the squares.",
    )
    expect(
        got[-1] != 110 or wanted[-1] == 110,
        made + "that is S for the levels 1, 3, 6, 8. Take those of the argument.",
    )
    expect(got == wanted, f"{made}it must be (B, C, S) with S = {wanted[2]}, batch kept.")
    slips = {
        advice: torch.cat([slip(features, n).flatten(2) for n in levels], -1)
        for advice, slip in ANCHOR_SLIPS.items()
    }
    backwards = PyramidPool(levels[::-1])(features)
    judge(
        anchors,
        PyramidPool(levels)(features),
        slips
        | {
            "Your levels are in reverse order. Keep that of the argument: the first first.": backwards
        },
        "These are not the means of the cells. Entry 0 must be the mean of the cell of the first "
        "level, then come the cells of the next level row by row, each the mean of all its positions.",
        atol=1e-5,
    )
    return anchors


def equal_cells(x: Tensor, level: int) -> Tensor:
    return avg_pool2d(x, (max(x.shape[2] // level, 1), max(x.shape[3] // level, 1)))[
        :, :, :level, :level
    ]


# Advice -> how a level looks with that mistake.
ANCHOR_SLIPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "You take the largest number of each cell. An anchor is the mean: all positions of a cell have "
    "the same weight.": adaptive_max_pool2d,
    "You pick one position of each cell. An anchor is the mean of all of them, so that nothing is "
    "left out.": lambda x, n: interpolate(x, (n, n), mode="nearest"),
    "You resize: each anchor mixes the four positions around one point. A mean counts all positions "
    "of its cell.": lambda x, n: interpolate(x, (n, n), mode="bilinear", align_corners=False),
    "You flatten before you pool: a cell is then a piece of a line, not a rectangle of the map.": (
        lambda x, n: adaptive_avg_pool1d(x.flatten(2), n * n)
    ),
    "Your cells go column by column. Flatten each level row by row, as positions are.": (
        lambda x, n: adaptive_avg_pool2d(x, n).mT
    ),
    "Your cells all have the same size, so the last rows and columns of the map are in none. Let "
    "neighbouring cells share a position where the side does not divide evenly.": equal_cells,
}


class PooledFirst(nn.Module):
    """The slip: sampling before the projection, whose ReLU then acts on means."""

    def __init__(self, attention: AsymmetricAttention):
        super().__init__()
        self.attention = attention

    def forward(self, query_map: Tensor, key_map: Tensor) -> Tensor:
        part = self.attention
        pooled = part.pool(key_map)[..., None]  # (B, C, S, 1)
        key, value = part.to_key(pooled)[..., 0], part.to_value(pooled)[..., 0]
        query = part.to_key(query_map).flatten(2)
        context = (part.scale * query.mT @ key).softmax(-1) @ value.mT
        return part.to_output(context.mT.unflatten(2, query_map.shape[2:]))


class CoarseQuery(nn.Module):
    """The slip: a query that is sampled, then upsampled."""

    def __init__(self, project: nn.Module, level: int):
        super().__init__()
        self.project, self.level = project, level

    def forward(self, features: Tensor) -> Tensor:
        few = adaptive_avg_pool2d(self.project(features), self.level)
        return interpolate(few, features.shape[2:], mode="nearest")


class MaxPool(PyramidPool):
    """The slip: the largest number of each cell."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([adaptive_max_pool2d(x, n).flatten(2) for n in self.pool_scales], -1)


PARTS = ("to_key", "to_value", "to_output", "fuse")  # of the block in the exercise


def pyramid_block(student: type[nn.Module]) -> None:
    """student(channels, key_channels, pool_scales), a module: (B, C, H, W) -> (B, C, H, W)"""
    channels, keys, levels = 2 * draw(3, 4), draw(2, 4), (1, draw(2, 3), 4)
    block = build(student, channels, keys, levels)
    children = dict(block.named_children())
    missing = [name for name in PARTS if not isinstance(children.get(name), nn.Module)]
    expect(
        not missing,
        f"Your block has no {', '.join(missing)}. Keep the four parts of the exercise and their "
        f"names ({', '.join(PARTS)}): the check looks into each.",
    )
    features = distinct_features(block, channels, levels)
    check_block(block, features, levels)
    side = draw(4, 6)  # one level as large as a square map: nothing is lost
    whole = build(student, channels, keys, (side,))
    randomise(whole)
    check_block(
        whole,
        normal(1, channels, side, side),
        (side,),
        "With one level as large as the map every anchor is one position, so the block must equal "
        "the non-local block. Yours does not: are other levels mixed in?",
    )
    leaves = {name: list(block.get_submodule(name).parameters()) for name in PARTS}
    check_gradient(attempt(block, features), leaves)
    say(
        "Correct: every position is a query, the means of cells are the keys, and context and map "
        "are fused. With one level as large as the map it equals the non-local block."
    )


def library(block: nn.Module, levels: Levels, changes: dict[str, object]) -> APNB:
    """annlib's block with the student's parts, some of its steps changed."""
    channels, keys = block.to_value.in_channels, block.to_value.out_channels
    made = APNB(channels, keys, keys, levels).eval()
    with_parts(made.attention, block, PARTS[:3], changes)
    made.fuse = block.fuse
    return made


@torch.no_grad()
def distinct_features(block: nn.Module, channels: int, levels: Levels) -> Tensor:
    """A map, and random weights for the block, for which projecting first makes a difference.

    Where no ReLU is ever at zero, sampling first gives the same.  -> (B, C, H, W)
    """
    while True:
        randomise(block)
        features = normal(2, channels, draw(6, 7), draw(9, 11))
        right = library(block, levels, {}).attention
        try:
            first, last = PooledFirst(right)(features, features), right(features, features)
        except RuntimeError:  # parts of other sizes: reported when the block itself is called
            return features
        if (first - last).abs().max() > 0.1 * last.abs().max():
            return features


@torch.no_grad()
def check_block(
    block: nn.Module,
    features: Tensor,
    levels: Levels,
    otherwise: str = "With the same weights annlib computes something else. Compare line by line: "
    "project, sample keys and values, scores, scale, softmax, context, output, fuse.",
) -> None:
    """Compares the student's output with annlib's, and with what slips give."""
    try:
        output = attempt(block, features.clone())
    except NotYet as error:
        expect(
            "stopped with" not in str(error),
            f"{error} Which of query, key and value are sampled? Keys and values, both; the query "
            "keeps all N positions.",
        )
        raise
    expect(
        output.shape == features.shape,
        f"A map {tuple(features.shape)} went in, but {tuple(output.shape)} came out. The block "
        "must fit between any two layers: every position is a query, and gets an output.",
    )

    def context() -> Tensor:
        return library(block, levels, {}).attention(features, features)

    plain, first = library(block, levels, {}), library(block, levels, {})
    first.attention = PooledFirst(first.attention)
    num_queries, num_keys = features[0, 0].numel(), sum(level * level for level in levels)
    changes = attention_slips(block, num_queries, num_keys) | {
        "You take the largest number of each cell; an anchor is its mean.": {
            "pool": MaxPool(levels)
        },
        "You sample with 1, 3, 6, 8 whatever the argument is: use pool_scales.": {
            "pool": PyramidPool((1, 3, 6, 8))
        },
        "You sample the query, too: all positions of one cell then have the same query. Only keys "
        "and values are sampled.": {"to_query": CoarseQuery(block.to_key, levels[-1])},
    }
    slips = {
        advice: partial(library(block, levels, change), features)
        for advice, change in changes.items()
    } | {
        "You sample the map before the key is projected. Its ReLU is not linear: the key of a mean "
        "is not the mean of the keys. Project, then sample.": partial(first, features),
        "The map comes first in your concatenation. The order decides which weights of `fuse` are "
        "used: context first, then the map.": lambda: block.fuse(
            torch.cat([features, context()], 1)
        ),
        "You add context and map. Here they are concatenated and fused: 2 C channels go into "
        "`fuse`.": lambda: features + context(),
        "You fuse, then add the map once more. In the released models nothing is added after "
        "`fuse`.": lambda: features + plain(features),
    }
    judge(output, partial(plain, features), slips, otherwise, rtol=1e-4, atol=1e-3)
