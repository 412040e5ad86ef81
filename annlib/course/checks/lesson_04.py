"""Checkers of lesson 04: pyramid cells, anchors, and the pyramid block (APNB).

B batch, C channels, H x W the map, S anchors.

B batch, C channels, H x W the map, S anchors.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    interpolate,
)

from annlib.course.checks.base import NotYet, attempt, build, draw, expect, normal
from annlib.course.lesson import say
from annlib.model.asymmetric import APNB, AsymmetricAttention, PyramidPool

Levels = tuple[int, ...]


def cell(student: Callable[[int, int, int], tuple[int, int]]) -> None:
    """student(index, side, level) -> (start, end): the positions start..end - 1 along one side"""
    for side, level in [(12, 4), (7, 1), (draw(13, 19), draw(5, 7)), (16, 6), (draw(3, 4), 7)]:
        edges = [one_cell(student, index, side, level) for index in range(level)]
        where = f"A side of {side} positions in {level} cells: yours are {edges}. "
        check_cover(edges, side, where)
        truth = [probed(index, side, level) for index in range(level)]
        if edges != truth:
            raise NotYet(where + closest(edges, side, level))
    say(
        "Right: cells start at the floor and end at the ceiling. They cover the side, none is "
        "empty, and where the side does not divide neighbours share a position."
    )


def one_cell(student: Callable, index: int, side: int, level: int) -> tuple[int, int]:
    call = f"cell({index}, {side}, {level})"
    try:
        edges = student(index, side, level)
    except Exception as error:
        raise NotYet(f"{call} stopped with {type(error).__name__}: {error}") from error
    expect(
        edges is not None and edges is not ...,
        f"{call} gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    whole = isinstance(edges, tuple) and len(edges) == 2
    expect(
        whole and all(isinstance(edge, int) for edge in edges),
        f"{call} gives {edges!r}; it must be (start, end), two whole numbers. // divides and "
        "rounds down.",
    )
    return edges


def check_cover(edges: list[tuple[int, int]], side: int, where: str) -> None:
    for start, end in edges:
        expect(0 <= start <= side and end <= side, f"{where}One of them leaves the side.")
        expect(
            start < end,
            f"{where}A cell with start = end is empty: the mean of nothing is not a number.",
        )
    inside = {place for start, end in edges for place in range(start, end)}
    missing = sorted(set(range(side)) - inside)
    one_short = set(missing) == {end for _, end in edges}
    expect(
        not one_short,
        f"{where}Your end is the last position itself; it must be one further, as in a range.",
    )
    expect(not missing, f"{where}Positions {missing} are in no cell: nobody could ask them.")


def probed(index: int, side: int, level: int) -> tuple[int, int]:
    """Which positions adaptive pooling lets count in a cell, found by asking it."""
    counted = adaptive_avg_pool1d(torch.eye(side)[None], level)[0, :, index].nonzero()
    return int(counted.min()), int(counted.max()) + 1


def closest(edges: list[tuple[int, int]], side: int, level: int) -> str:
    """What is amiss with cells that cover the side."""
    shared = sum(end - start for start, end in edges) > side
    if side % level == 0:
        return "Here the side divides evenly: each cell gets side / level positions, none shared."
    if not shared:
        return (
            "They do not touch, but where the side does not divide adaptive pooling lets "
            "neighbours share a position: the end is rounded up."
        )
    return "The start is index x side / level rounded down, the end (index + 1) x side / level up."


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
    for advice, slip in anchor_slips().items():
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


def anchor_slips() -> dict[str, Callable[[Tensor, int], Tensor]]:
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


class Coarse(nn.Module):
    """The slip: a query that was sampled, and enlarged again."""

    def __init__(self, project: nn.Module, level: int):
        super().__init__()
        self.project, self.level = project, level

    def forward(self, features: Tensor) -> Tensor:
        few = nn.functional.adaptive_avg_pool2d(self.project(features), self.level)
        return interpolate(few, features.shape[2:], mode="nearest")


class MaxPool(PyramidPool):
    """The slip: the largest number of each cell."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([adaptive_max_pool2d(x, n).flatten(2) for n in self.pool_scales], -1)


def library_with(block: nn.Module, levels: tuple[int, ...], changes: dict[str, object]) -> APNB:
    """annlib's block with the student's parts, some of its steps done otherwise."""
    channels, keys = block.to_value.in_channels, block.to_value.out_channels
    library = APNB(channels, keys, keys, levels).eval()
    for name in ("to_key", "to_value", "to_output"):
        setattr(library.attention, name, block.get_submodule(name))
    library.fuse = block.fuse
    for name, part in changes.items():
        setattr(library.attention, name, part)
    return library


def block_slips(
    block: nn.Module, levels: tuple[int, ...], size: int
) -> dict[str, dict[str, object]]:
    """Advice -> what to change in annlib's attention to make the same mistake."""
    num_anchors = sum(level * level for level in levels)
    return {
        "The scale is missing: divide the scores by √C of the keys.": {"scale": 1.0},
        "The scale is √S instead of √C of the keys.": {"scale": num_anchors**-0.5},
        "The scale is √N instead of √C of the keys.": {"scale": size**-0.5},
        "The softmax runs over N, those who ask. A row belongs to one position and must sum to 1 "
        "over the S anchors: the last axis.": {"softmax": nn.Softmax(dim=1)},
        "The softmax is missing.": {"softmax": nn.Identity()},
        "You take the largest number of each cell; an anchor is its mean.": {
            "pool": MaxPool(levels)
        },
        "You sample with 1, 3, 6, 8 whatever is asked for: use pool_scales.": {
            "pool": PyramidPool((1, 3, 6, 8))
        },
        "What is fetched must be the values, not the keys.": {"to_value": block.to_key},
    }


PARTS = ("to_key", "to_value", "to_output", "fuse")  # of the block in the exercise


def pyramid_block(student: type[nn.Module]) -> None:
    """student(channels, key_channels, pool_scales), a module: (B, C, H, W) -> (B, C, H, W)"""
    channels, keys, levels = 2 * draw(3, 4), draw(2, 4), (1, draw(2, 3), 4)
    block = build(student, channels, keys, levels)
    check_parts(block)
    features = telling_features(block, channels, levels)
    output = attempt_with_advice(block, features)
    expect(
        output.shape == features.shape,
        f"A map {tuple(features.shape)} went in, but {tuple(output.shape)} came out. The block "
        "must fit between any two layers: every position asks, so all of them get an answer.",
    )
    check_against_library(block, features, output, levels)
    check_whole_map(student, channels, keys)
    check_gradient(block, features)
    say(
        "Right: every position asks, the means of cells answer, and context and map are fused. "
        "With one level as large as the map it is the non-local block, number for number."
    )


def telling_features(block: nn.Module, channels: int, levels: tuple[int, ...]) -> Tensor:
    """A map, and weights drawn for the block, that tell sampling first from projecting first.

    Where no ReLU is ever at zero the two are the same.  -> (B, C, H, W)
    """
    while True:
        randomise(block)
        features = normal(2, channels, draw(6, 7), draw(9, 11))
        right = library_with(block, levels, {}).attention
        try:
            with torch.no_grad():
                first, last = PooledFirst(right)(features, features), right(features, features)
        except RuntimeError:  # parts of other sizes: told when the block itself is called
            return features
        if (first - last).abs().max() > 0.1 * last.abs().max():
            return features


def check_parts(block: nn.Module) -> None:
    """The parts have the names by which the other checks find them."""
    children = dict(block.named_children())
    missing = [name for name in PARTS if not isinstance(children.get(name), nn.Module)]
    expect(
        not missing,
        f"Your block has no {', '.join(missing)}. Keep the four parts of the exercise and their "
        f"names ({', '.join(PARTS)}): the check looks into each.",
    )


def randomise(block: nn.Module) -> None:
    """Weights with which no two computations agree by chance; in the mode of inference."""
    block.eval()
    with torch.no_grad():
        for value in block.parameters():
            drawn = normal(*value.shape)
            value.copy_(drawn.abs() if value.dim() == 1 else drawn)  # shifts up: no ReLU is dead
        for name, value in block.named_buffers():
            if value.is_floating_point():
                value.copy_(
                    normal(*value.shape).abs() + 0.5 if "var" in name else normal(*value.shape)
                )


def attempt_with_advice(block: nn.Module, features: Tensor) -> Tensor:
    try:
        return attempt(block, features.clone())
    except NotYet as error:
        if "stopped with" not in str(error):
            raise
        raise NotYet(
            f"{error} Which of query, key and value are sampled? Keys and values, both; the query "
            "keeps all N positions."
        ) from error


def check_against_library(
    block: nn.Module, features: Tensor, output: Tensor, levels: tuple[int, ...]
) -> None:
    def agrees(library: nn.Module) -> bool:
        try:
            return torch.allclose(output, library(features), atol=1e-3, rtol=1e-4)
        except RuntimeError:  # parts of these sizes cannot have been exchanged
            return False

    with torch.no_grad():
        if agrees(library_with(block, levels, {})):
            return
        for advice, changes in block_slips(block, levels, features[0, 0].numel()).items():
            expect(not agrees(library_with(block, levels, changes)), advice)
        for advice, library in rebuilt(block, levels).items():
            expect(not agrees(library), advice)
        context = library_with(block, levels, {}).attention(features, features)
        for advice, made in other_ends(block, context, features).items():
            expect(not torch.allclose(output, made, atol=1e-3, rtol=1e-4), advice)
    raise NotYet(
        "With the same weights annlib computes something else. Compare line by line: project, "
        "sample keys and values, scores, scale, softmax, context, output, fuse."
    )


def rebuilt(block: nn.Module, levels: tuple[int, ...]) -> dict[str, nn.Module]:
    """Advice -> annlib's block with its attention put together in another way."""
    first = library_with(block, levels, {})
    first.attention = PooledFirst(first.attention)
    coarse = library_with(block, levels, {"to_query": Coarse(block.to_key, levels[-1])})
    return {
        "You sample the map before the key is projected. Its ReLU is not linear: the key of a mean "
        "is not the mean of the keys. Project, then sample.": first,
        "You sample the query, too: positions of one cell then ask the same question. Only keys "
        "and values are sampled.": coarse,
    }


def other_ends(block: nn.Module, context: Tensor, features: Tensor) -> dict[str, Tensor]:
    """Advice -> what comes out if context and map are put together otherwise."""
    return {
        "The map comes first in your concatenation. Its order decides which weights of `fuse` meet "
        "what: context first, then the map.": block.fuse(torch.cat([features, context], 1)),
        "You add context and map. Here they are laid beside each other and fused: 2 C channels go "
        "into `fuse`.": features + context,
        "You fuse, then add the map once more. In the released models nothing is added: `fuse` has "
        "the last word.": features + block.fuse(torch.cat([context, features], 1)),
    }


def check_whole_map(student: type[nn.Module], channels: int, keys: int) -> None:
    """One level as large as a square map: nothing is lost."""
    side = draw(4, 6)
    block = build(student, channels, keys, (side,))
    randomise(block)
    features = normal(1, channels, side, side)
    with torch.no_grad():
        key, value = block.to_key(features).flatten(2), block.to_value(features).flatten(2)
        weights = (key.mT @ key * keys**-0.5).softmax(-1)
        context = block.to_output((weights @ value.mT).mT.unflatten(2, (side, side)))
        whole = block.fuse(torch.cat([context, features], 1))
        output = attempt_with_advice(block, features)
    expect(
        torch.allclose(output, whole, atol=1e-3, rtol=1e-4),
        "With one level as large as the map every anchor is one position, so the block must equal "
        "the non-local block. Yours does not: are other levels mixed in?",
    )


def check_gradient(block: nn.Module, features: Tensor) -> None:
    output = attempt_with_advice(block, features)
    expect(output.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    (output * normal(*output.shape)).sum().backward()
    for name in PARTS:
        gradients = [value.grad for value in block.get_submodule(name).parameters()]
        expect(
            any(grad is not None and bool(grad.abs().max() > 0) for grad in gradients),
            f"No gradient reaches {name}, so it would never learn: is it used, without detach?",
        )
