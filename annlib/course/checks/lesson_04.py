"""Checkers of lesson 04: pyramid cells, anchors, and the pyramid block (APNB).

B batch, C channels, H x W the feature map, N = H * W query positions, S anchors.
"""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from annlib.course.checks import blocks
from annlib.course.checks.base import NotYet, attempt, expect, judge, passed, result_of
from annlib.course.checks.inputs import draw, normal
from annlib.model.asymmetric import PyramidPool

Levels = tuple[int, ...]


def cell(student: Callable[[int, int, int], tuple[int, int]]) -> None:
    """student(index, side, level) -> (start, end): the positions start..end - 1 along one side"""
    for side, level in [(12, 4), (7, 1), (draw(13, 19), draw(5, 7)), (16, 6), (draw(3, 4), 7)]:
        edges = [result_of(student, index, side, level) for index in range(level)]
        for index, edge in enumerate(edges):
            two = isinstance(edge, tuple) and len(edge) == 2
            if not (two and all(isinstance(end, int) for end in edge)):
                raise NotYet(f"""cell({index}, {side}, {level}) gives {edge!r}; it must be (start,
                    end), two whole numbers. // divides and rounds down.""")
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
            f"Positions {sorted(missing)} are in no cell, so in no anchor.": not missing,
            "Here the side divides evenly: none is shared.": right or side % level,
            """They do not overlap, but where the side does not divide evenly, adaptive pooling lets
            neighbours share a position: round the end up.""": right
            or sum(e - s for s, e in edges) > side,
            "Round index x side / level down, (index + 1) x side / level up.": right,
        }
        for advice, claim in claims.items():
            expect(claim, where + advice)
    passed("""cells start at the floor and end at the ceiling. They cover the side, none is empty,
        and where the side does not divide evenly neighbours share a position.""")


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
    passed("""S is the sum of the squares, each anchor is the mean of its cell, level 1 that of the
        map; a constant stays a constant, and a map need not be square.""")


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
        raise NotYet(f"""A map that is 2 everywhere gives anchors from {float(same.min()):.3g} to
            {float(same.max()):.3g}: did you add up without dividing?""")

    def made(pool: Callable[[Tensor, int], Tensor]) -> Tensor:
        return torch.cat([pool(features, n).flatten(2) for n in levels], -1)

    def crop(x: Tensor, n: int) -> Tensor:
        return F.avg_pool2d(x, [side // n or 1 for side in x.shape[2:]])[:, :, :n, :n]

    slips = {
        """You take the largest number of each cell. An anchor is the mean: all positions of a cell
        have the same weight.""": made(F.adaptive_max_pool2d),
        """You pick one position of each cell. An anchor is the mean of all of them, so that nothing
        is left out.""": made(lambda x, n: F.interpolate(x, (n, n))),
        """You resize: each anchor mixes the four positions around one point. A mean counts all of
        its cell.""": made(lambda x, n: F.interpolate(x, (n, n), mode="bilinear")),
        """You flatten before you pool: a cell is then a piece of a line, not a rectangle of the
        map.""": made(lambda x, n: F.adaptive_avg_pool1d(x.flatten(2), n * n)),
        """Your cells go column by column. Flatten each level row by row, as positions
        are.""": made(lambda x, n: F.adaptive_avg_pool2d(x, n).mT),
        """Your cells all have the same size, so the last rows and columns of the map are in none.
        Let neighbouring cells share a position where the side does not divide
        evenly.""": made(crop),
        """Your levels are in reverse order. Keep that of the
        argument.""": PyramidPool(levels[::-1])(features),
    }
    otherwise = """These are not the means of the cells. The cells of a level come row by row, each
        the mean of all its positions, then those of the next level."""
    judge(anchors, PyramidPool(levels)(features), slips, otherwise, atol=1e-5)
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
    if missing:
        raise NotYet(f"""Your block has no {", ".join(missing)}. Keep the four parts of the exercise
            and their names ({", ".join(PARTS)}): the check looks into each.""")
    features = distinct_features(block, channels, levels)
    check_block(block, features, levels)
    side = draw(4, 6)  # one level as large as a square map: nothing is lost
    whole = blocks.build(student, channels, keys, (side,))
    blocks.randomise(whole)
    otherwise = """With one level as large as the map every anchor is one position, so the block
        must equal the non-local block. Yours does not: are other levels mixed in?"""
    check_block(whole, normal(1, channels, side, side), (side,), otherwise)
    leaves = {name: list(block.get_submodule(name).parameters()) for name in PARTS}
    blocks.check_gradient(attempt(block, features), leaves)
    passed("""every position is a query, the means of cells are the keys, and context and map are
        fused. With one level as large as the map it equals the non-local block.""")


def pooled_first(block: nn.Module, features: Tensor, levels: Levels) -> Tensor:
    """The slip: sampling before the projection, whose ReLU then acts on means.  -> context"""
    pooled = PyramidPool(levels)(features)[..., None]  # (B, C, S, 1)
    change = {"pool": nn.Flatten(2), "to_query": block.to_key}
    return blocks.context_of(block, features, pooled, levels, change)


@torch.no_grad()
def distinct_features(block: nn.Module, channels: int, levels: Levels) -> Tensor:
    """A map for which projecting first makes a difference, as some ReLU is at zero; (B, C, H, W).

    Gives the block random weights.
    """
    while True:
        blocks.randomise(block)
        features = normal(2, channels, draw(6, 7), draw(9, 11))
        with suppress(RuntimeError):  # parts of other sizes: reported when the block is called
            last = blocks.context_of(block, features, features, levels, {})
            if (pooled_first(block, features, levels) - last).abs().max() < 0.1 * last.abs().max():
                continue
        return features


OTHERWISE = """With the same weights annlib computes something else. Compare line by line: project,
    sample keys and values, scores, scale, softmax, context, output, fuse."""


def check_block(
    block: nn.Module, features: Tensor, levels: Levels, otherwise: str = OTHERWISE
) -> None:
    """Compares the student's output with annlib's, and with what slips give."""
    hint = "Sample keys and values, both; the query keeps all N positions."
    output = attempt(block, features, hint=hint)
    if output.shape != features.shape:
        raise NotYet(f"""A map {tuple(features.shape)} went in, but {tuple(output.shape)} came out.
            The block must fit between any two layers: every position is a query.""")
    coarse = [nn.AdaptiveAvgPool2d(levels[-1]), nn.Upsample(tuple(features.shape[2:]))]
    fixed, sampled = PyramidPool((1, 3, 6, 8)), nn.Sequential(block.to_key, *coarse)
    changes = {
        "You take the largest number of a cell; an anchor is its mean.": {"pool": MaxPool(levels)},
        "You sample with 1, 3, 6, 8 whatever the argument is: use pool_scales.": {"pool": fixed},
        """You sample the query, too: all positions of one cell then have the same query. Only keys
        and values are sampled.""": {"to_query": sampled},
    }
    contexts = {
        """You sample the map before the key is projected. Its ReLU is not linear: the key of a mean
        is not the mean of the keys. Project, then sample.""": lambda: pooled_first(
            block, features, levels
        )
    }
    blocks.check_fused(block, output, (features, features), levels, changes, contexts, otherwise)
