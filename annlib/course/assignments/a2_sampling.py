"""Hidden checks of assignment A2, first task: the anchors of any pyramid.

B batch, C channels, H x W the map, S anchors.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate

from annlib.course.assignments import slips
from annlib.course.grading.assignment import integer, normal
from annlib.course.grading.questions import Answer, Call, Check, Misconception, compared

NAME = "sample"
PUBLISHED = (1, 3, 6, 8)
Levels = tuple[int, ...]
Pool = Callable[[Tensor, int], Tensor]  # (B, C, H, W), side n -> (B, C, n, n)
Inputs = tuple[Tensor, Levels]


def reference(features: Tensor, levels: Levels, pool: Pool = adaptive_avg_pool2d) -> Tensor:
    """(B, C, H, W) -> (B, C, S)"""
    return torch.cat([pool(features, level).flatten(2) for level in levels], 2)


def first_positions(features: Tensor, level: int) -> Tensor:
    rows, columns = (torch.arange(level) * side // level for side in features.shape[2:])
    return features[:, :, rows][..., columns]


def apart(features: Tensor, level: int) -> Tensor:
    """Cells that end where the next one begins."""
    height, width = features.shape[2:]
    cut = [
        features[:, :, row * height // level : (row + 1) * height // level]
        [..., column * width // level : (column + 1) * width // level].mean((2, 3))
        for row in range(level)
        for column in range(level)
    ]  # fmt: skip
    return torch.stack(cut, 2).unflatten(2, (level, level))


MISTAKES: Mapping[Misconception, Callable[[Tensor, Levels], Tensor]] = {
    slips.MAX_POOLED: partial(reference, pool=adaptive_max_pool2d),
    slips.CELLS_APART: partial(reference, pool=apart),
    slips.ONE_POSITION: partial(reference, pool=first_positions),
    slips.INTERPOLATED: partial(
        reference, pool=lambda f, level: interpolate(f, (level, level), mode="bilinear")
    ),
    slips.COLUMNS_FIRST: partial(reference, pool=lambda f, n: adaptive_avg_pool2d(f, n).mT),
    slips.LEVELS_REVERSED: lambda features, levels: reference(features, levels[::-1]),
    slips.LEVELS_SORTED: lambda features, levels: reference(features, tuple(sorted(levels))),
    slips.FIXED_PYRAMID: lambda features, levels: reference(features, PUBLISHED),
}


def check(name: str, points: float, asked: Sequence[Inputs]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [made(*one) for one in asked] for slip, made in MISTAKES.items()}
        return compared(answers, [reference(*one) for one in asked], others)

    return Check(name, points, [Call(NAME, one) for one in asked], judge)


def draw(generator: Generator) -> list[Check]:
    def features(height: int, width: int) -> Tensor:
        return normal(generator, 2, integer(generator, 2, 4), height, width)

    factor = integer(generator, 1, 2)
    high, wide = 2 * integer(generator, 5, 6) + 1, integer(generator, 17, 19)
    return [
        check("levels that divide the map", 2, [(features(6 * factor, 12), (1, 2, 3))]),
        check("cells that overlap", 2, [(features(high, wide), PUBLISHED)]),
        check(
            "any pyramid",
            1,
            [(features(high, wide), levels) for levels in ((4, 1, 7), (5,), (1, 2))],
        ),
    ]
