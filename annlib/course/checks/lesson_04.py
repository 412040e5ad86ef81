"""Checker of lesson 04: the Asymmetric Pyramid Non-local Block.

B batch, C channels, H x W the map, S anchors.
"""

import torch
from torch import Tensor, nn

from annlib.course.exercises.checking import NotYet, attempt, build, draw, expect, normal
from annlib.course.exercises.pyramid_slips import Coarse, PooledFirst, library_with, slips
from annlib.course.lines import say

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
        for advice, changes in slips(block, levels, features[0, 0].numel()).items():
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
