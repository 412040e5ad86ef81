"""Checkers of lesson 02: attention weights and the non-local block.

B batch, C channels, N positions that ask, S that answer.
"""

from collections.abc import Callable
from math import sqrt

import torch
from einops import einsum
from torch import Tensor, nn

from annlib.course.checks.base import NotYet, attempt, build, draw, expect, fresh, normal
from annlib.course.lesson import say
from annlib.model.asymmetric import AsymmetricAttention


def attention_weights(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """query (B, C, N), key (B, C, S) -> (B, N, S)"""
    num_channels, num_asking, num_answering = draw(10, 20), draw(5, 8), draw(2, 4)
    query, key = normal(2, num_channels, num_asking), normal(2, num_channels, num_answering)
    weights = attempt(student, query.clone(), key.clone())
    check_weights_shape(weights, 2, num_asking, num_answering)
    check_softmax_axis(weights)
    check_similarity(weights, query, key)
    twice = attempt(student, query.double(), key.double())
    expect(twice.dtype == torch.float64, "float64 went in, but not out: keep the inputs' dtype.")
    large = attempt(student, 1e3 * query, 1e3 * key)
    expect(
        bool(large.isfinite().all()),
        "With large scores your weights become nan or inf: exp overflows. torch's softmax takes "
        "the row's maximum off first, which changes nothing else.",
    )
    say(
        "Right: rows sum to 1, each entry follows from the dot product of one query with one key, "
        "the scale is 1/√C, N and S may differ, and large scores do no harm."
    )


def check_weights_shape(weights: Tensor, batch: int, num_asking: int, num_answering: int) -> None:
    wanted, got = (batch, num_asking, num_answering), tuple(weights.shape)
    expect(
        got != (batch, num_answering, num_asking),
        f"Your weights are {got}, transposed: a row belongs to a position that asks, so N comes "
        "before S.",
    )
    expect(
        got == wanted,
        f"Weights must be (B, N, S), here {wanted}; yours are {got}. N counts the columns of the "
        "query, S those of the key; C is what the product sums over.",
    )


def check_softmax_axis(weights: Tensor) -> None:
    expect(bool((weights >= 0).all()), "Some weights are negative. A share cannot be: softmax.")
    sums = {axes: weights.sum(axes) for axes in (-1, -2, (-1, -2), 0)}
    shares = {axes: bool(torch.allclose(s, torch.ones_like(s))) for axes, s in sums.items()}
    advice = (
        "Rows must sum to 1: each position that asks divides one unit of attention among those "
        "that answer. "
    )
    expect(shares[-1] or not shares[-2], advice + "Your columns do: the softmax runs over N.")
    expect(shares[-1] or not shares[-1, -2], advice + "Yours sums to 1 over the whole matrix.")
    expect(shares[-1] or not shares[0], advice + "Your softmax runs over the batch.")
    expect(shares[-1], f"{advice}Your rows sum to {float(sums[-1].min()):.3g} and more.")


def check_similarity(weights: Tensor, query: Tensor, key: Tensor) -> None:
    """log w differs within a row as the scores do: by how much tells the scale."""
    (_, num_channels, num_asking), num_answering = query.shape, key.shape[2]
    scores = einsum(query, key, "b c n, b c s -> b n s").double()
    centred = scores - scores.mean(-1, keepdim=True)
    logs = weights.double().clamp(min=1e-300).log()
    logs = logs - logs.mean(-1, keepdim=True)
    scale = float((logs * centred).sum() / centred.square().sum())
    expect(
        torch.allclose(logs, scale * centred, atol=1e-2 * float(logs.abs().max()) + 1e-4),
        "The weights do not follow from dot products. Entry (n, s) must grow with the product of "
        "column n of the query with column s of the key, of the same picture, and with that alone.",
    )
    slips = {
        1.0: "The scale is missing: a sum of C products grows with √C, so divide by that.",
        1 / num_channels: "You divide by C; divide by its square root.",
        1 / sqrt(num_asking): "You divide by √N. What grows the sum is its C terms, not N.",
        1 / sqrt(num_answering): "You divide by √S. What grows the sum is its C terms, not S.",
        sqrt(num_channels): "You multiply by √C; divide.",
    }
    for slip, advice in slips.items():
        expect(abs(scale / slip - 1) > 0.02, advice)
    expect(abs(scale * sqrt(num_channels) - 1) < 0.02, f"Scale: 1/√C, but yours is {scale:.3g}.")


PARTS = ("to_query", "to_key", "to_value", "to_output")  # of the block in the exercise


def nonlocal_block(student: type[nn.Module]) -> None:
    """student(channels, key_channels), a module: (B, C, H, W) -> (B, C, H, W)"""
    channels, key_channels, side = draw(5, 8), draw(2, 4), draw(4, 6)
    block = build(student, channels, key_channels)
    wide = normal(2, channels, side, side + 3)
    output = attempt(block, wide.clone())
    expect(
        output.shape == wide.shape,
        f"A map {tuple(wide.shape)} went in, but {tuple(output.shape)} came out. A block must fit "
        "between any two layers: same batch, channels, height and width.",
    )
    check_parts(block)
    check_residual_start(block, wide, output)
    nn.init.normal_(block.to_output.weight)
    check_positions_kept(block, wide)
    check_against_library(block, normal(2, channels, side, side), key_channels)
    check_gradient(block, wide)
    say(
        "Right: the same map comes out as long as to_output is zero; after that it is annlib's "
        "attention plus the input, and the gradient reaches query, key and value."
    )


def check_parts(block: nn.Module) -> None:
    """The four convolutions have the names by which the other checks find them."""
    children = dict(block.named_children())
    for name in PARTS:
        part = children.get(name)
        expect(
            isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1),
            f"Your block has no 1 x 1 convolution called {name}. Keep the four of the exercise and "
            f"their names ({', '.join(PARTS)}): the check looks into each.",
        )


def check_residual_start(block: nn.Module, features: Tensor, output: Tensor) -> None:
    expect(
        bool(output.abs().max() > 0),
        "A fresh block gives zeros: what comes in is lost. Add the input to what attention brings.",
    )
    weight, bias = block.to_output.weight, block.to_output.bias
    expect(not weight.any(), "to_output must start at zero, so that a fresh block changes nothing.")
    expect(
        bias is None or not bias.any(),
        "The weight of to_output starts at zero, but its bias does not.",
    )
    expect(
        torch.allclose(output, features, atol=1e-6),
        "With to_output at zero a fresh block must hand on its input unchanged; yours does not.",
    )


def check_positions_kept(block: nn.Module, features: Tensor) -> None:
    """Attention knows no places: shuffled positions give the same results, shuffled."""
    order = torch.randperm(features[0, 0].numel(), generator=fresh())

    def shuffle(maps: Tensor) -> Tensor:
        return maps.flatten(2)[:, :, order].reshape(maps.shape)

    with torch.no_grad():
        shuffled, straight = attempt(block, shuffle(features)), attempt(block, features.clone())
    expect(
        torch.allclose(shuffled, shuffle(straight), atol=1e-4),
        "Results land on wrong positions. weights @ values is (B, N, C), one row a position; "
        "bring the channels back in front before you give the map its height and width.",
    )


def check_against_library(block: nn.Module, features: Tensor, key_channels: int) -> None:
    """A pyramid whose only level is the map is the ordinary non-local block, with any weights."""
    side = features.shape[2]

    def agrees(changes: dict[str, object]) -> bool:
        library = library_with(block, key_channels, side, changes)
        try:
            return torch.allclose(output, features + library(features, features), atol=1e-4)
        except RuntimeError:  # parts of these sizes cannot have been exchanged
            return False

    with torch.no_grad():
        output = attempt(block, features.clone())
        if agrees({}):
            return
        found = [advice for advice, changes in slips(block, side).items() if agrees(changes)]
    raise NotYet(
        (found or ["With the same weights annlib computes something else."])[0]
        + " Compare line by line: scores, scale, softmax, context, output, input added."
    )


def library_with(
    block: nn.Module, key_channels: int, side: int, changes: dict[str, object]
) -> AsymmetricAttention:
    """annlib's attention with the student's parts, some of its steps done otherwise."""
    channels = block.to_value.in_channels
    library = AsymmetricAttention(channels, channels, key_channels, key_channels, (side,), False)
    parts = {name: part for name, part in block.named_children() if name in PARTS}
    for name, part in (parts | changes).items():
        setattr(library, name, part)
    return library


def slips(block: nn.Module, side: int) -> dict[str, dict[str, object]]:
    """Advice -> what to change in annlib's attention to make the same mistake."""
    return {
        "The scale is missing: divide the scores by √C of the keys.": {"scale": 1.0},
        "The scale is √N instead of √C of the keys.": {"scale": 1 / side},
        "The softmax runs over N, those who ask; it belongs on the last axis.": {
            "softmax": nn.Softmax(dim=1)
        },
        "The softmax is missing.": {"softmax": nn.Identity()},
        "Query and key have changed places.": {"to_query": block.to_key, "to_key": block.to_query},
        "Queries serve as keys, too; here they have projections of their own.": {
            "to_key": block.to_query
        },
        "What is fetched must be the values, not the keys.": {"to_value": block.to_key},
    }


def check_gradient(block: nn.Module, features: Tensor) -> None:
    output = attempt(block, features.clone())
    expect(output.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    try:
        (output * normal(*features.shape)).sum().backward()
    except RuntimeError as error:
        raise NotYet(
            f"backward stopped with: {error} `a += b` overwrites what backward still needs: write "
            "a = a + b."
        ) from error
    for name in ("to_query", "to_key", "to_value"):
        gradient = block.get_submodule(name).weight.grad
        expect(
            gradient is not None and bool(gradient.abs().max() > 0),
            f"No gradient reaches {name}, so it would never learn: is it used, without detach?",
        )
