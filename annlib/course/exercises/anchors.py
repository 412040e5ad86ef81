"""Checkers of lesson 04: the anchors of a map, and the cells that they are the means of.

B batch, C channels, H x W the map, S anchors.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    interpolate,
)

from annlib.course.exercises.checking import NotYet, attempt, draw, expect, normal
from annlib.course.lines import say
from annlib.model.asymmetric import PyramidPool

Levels = tuple[int, ...]


def sample_anchors(student: Callable[[Tensor, Levels], Tensor]) -> None:
    """student(features (B, C, H, W), pool_scales) -> (B, C, S)"""
    expect(callable(student), "sample_anchors is no function yet: write one.")
    for features in (normal(2, 3, 7, 7), normal(2, draw(3, 5), draw(9, 12), draw(14, 17))):
        levels = (1, draw(2, 3), draw(4, 5))
        anchors = attempt_on(student, features, levels)
        check_shape(anchors, features, levels)
        check_constant(student, features, levels)
        check_means(anchors, features, levels)
    check_far_levels(student)
    say(
        "Right: S is the sum of the squares, each anchor is the mean of its cell, level 1 that of "
        "the map; a constant stays a constant, and a map need not be square."
    )


def attempt_on(
    student: Callable[[Tensor, Levels], Tensor], features: Tensor, levels: Levels
) -> Tensor:
    """The student's anchors; a failure on an oblong map only is named as such."""
    try:
        return attempt(lambda maps: student(maps, levels), features.clone())
    except NotYet as error:
        oblong = features.shape[2] != features.shape[3]
        advice = str(error).replace("<lambda>", "sample_anchors")
        if oblong and "stopped with" in advice:
            advice += " It works on a square map: height and width may differ; ask for both."
        raise NotYet(advice) from error


def check_shape(anchors: Tensor, features: Tensor, levels: Levels) -> None:
    """(B, C, S)"""
    batch, channels = features.shape[:2]
    wanted, got = (batch, channels, sum(n * n for n in levels)), tuple(anchors.shape)
    told = f"From a map {tuple(features.shape)} and levels {levels} you make {got}; "
    expect(got != (batch, wanted[2], channels), told + "channels come before anchors: (B, C, S).")
    expect(
        got != (batch, channels, sum(levels)),
        told + "a level of n has n rows of n cells: S is the sum of the squares.",
    )
    expect(
        got[-1] != 110 or wanted[-1] == 110,
        told + "that is S for the levels 1, 3, 6, 8. Take those of the argument.",
    )
    expect(got == wanted, f"{told}it must be (B, C, S) with S = {wanted[2]}, batch kept.")


def check_constant(student: Callable, features: Tensor, levels: Levels) -> None:
    same = torch.full_like(features, 2.0)
    anchors = attempt_on(student, same, levels)
    expect(
        torch.allclose(anchors, torch.full_like(anchors, 2.0)),
        f"A map that is 2 everywhere gives anchors from {float(anchors.min()):.3g} to "
        f"{float(anchors.max()):.3g}. A mean of equal numbers is that number: did you add up "
        "without dividing, or count positions outside the map?",
    )


def check_means(anchors: Tensor, features: Tensor, levels: Levels) -> None:
    if torch.allclose(anchors, PyramidPool(levels)(features), atol=1e-5):
        return
    for advice, slip in slips().items():
        made = torch.cat([slip(features, level) for level in levels], dim=-1)
        expect(made.shape != anchors.shape or not torch.allclose(anchors, made, atol=1e-5), advice)
    backwards = PyramidPool(levels[::-1])(features)
    expect(
        not torch.allclose(anchors, backwards, atol=1e-5),
        "Your levels stand in reverse order. Keep that of the argument: the first level first.",
    )
    raise NotYet(
        "These are not the means of the cells. Entry 0 must be the mean of the whole map, then "
        "come the cells of the next level row by row, each the mean of all its positions."
    )


def slips() -> dict[str, Callable[[Tensor, int], Tensor]]:
    """Advice -> how a level (B, C, level * level) looks with that mistake."""
    return {
        "You take the largest number of each cell. An anchor is the mean: everybody in a cell has "
        "the same say.": lambda x, n: adaptive_max_pool2d(x, n).flatten(2),
        "You pick one position of each cell. An anchor is the mean of all of them, so that nothing "
        "is left out.": lambda x, n: interpolate(x, (n, n), mode="nearest").flatten(2),
        "You resize: each anchor mixes the four positions around one point. A mean counts all "
        "positions of its cell.": lambda x, n: interpolate(
            x, (n, n), mode="bilinear", align_corners=False
        ).flatten(2),
        "You flatten before you pool: a cell is then a piece of a line, not a rectangle of the "
        "map.": lambda x, n: adaptive_avg_pool1d(x.flatten(2), n * n),
        "Your cells go column by column. Flatten each level row by row, as positions are.": (
            lambda x, n: adaptive_avg_pool2d(x, n).mT.flatten(2)
        ),
        "Your cells all have the same size, so the last rows and columns of the map are in none. "
        "Let neighbouring cells share a position where the side does not divide.": equal_cells,
    }


def equal_cells(x: Tensor, level: int) -> Tensor:
    size = (x.shape[2] // level, x.shape[3] // level)
    return avg_pool2d(x, size)[:, :, :level, :level].flatten(2)


def check_far_levels(student: Callable[[Tensor, Levels], Tensor]) -> None:
    """Any levels, also finer than the map, and the gradient of all positions."""
    features = normal(1, 2, 4, 6).requires_grad_()
    levels = (draw(2, 3), 1, 9)
    anchors = attempt_on(student, features, levels)
    check_shape(anchors, features, levels)
    check_means(anchors, features, levels)
    expect(anchors.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    (gradient,) = torch.autograd.grad(anchors.sum(), features)
    expect(bool((gradient != 0).all()), "Some positions count in no anchor: they get no gradient.")
