"""Checkers of lesson 02: attention weights and the non-local block.

B batch, C channels, N query positions, S key positions.
"""

from collections.abc import Callable
from functools import partial
from math import sqrt

import torch
from torch import Tensor, nn

from annlib.course.checks.base import NotYet, attempt, expect, judge, passed, text
from annlib.course.checks.blocks import attention_slips, build, check_gradient, context_of
from annlib.course.checks.inputs import draw, fresh, normal

PARTS = ("to_query", "to_key", "to_value", "to_output")  # of the block in the exercise


def attention_weights(student: Callable[[Tensor, Tensor], Tensor]) -> None:
    """query (B, C, N), key (B, C, S) -> (B, N, S)"""
    channels, num_queries, num_keys = draw(10, 20), draw(5, 8), draw(2, 4)
    query, key = normal(2, channels, num_queries), normal(2, channels, num_keys)
    weights = attempt(student, query, key)
    wanted, got = (2, num_queries, num_keys), tuple(weights.shape)
    expect(got != (2, num_keys, num_queries), "weights transposed", got)
    expect(got == wanted, "shape of weights", wanted, got)
    expect(bool((weights >= 0).all()), "Some weights are negative. After a softmax none can be.")
    if not is_one(weights.sum(-1)):
        other = {
            "Your columns do: the softmax runs over N.": -2,
            "Yours sums to 1 over the whole matrix.": (-1, -2),
            "Your softmax runs over the batch.": 0,
        }
        otherwise = f"Your rows sum to {float(weights.sum(-1).min()):.3g} and more."
        found = next((one for one, axes in other.items() if is_one(weights.sum(axes))), otherwise)
        raise NotYet("rows do not sum to 1", found)
    # Within a row log w differs as the scores do; the factor between them is the scale.
    scores = (query.mT @ key).double()
    centred = scores - scores.mean(-1, keepdim=True)
    logs = weights.double().clamp(min=1e-300).log()
    logs = logs - logs.mean(-1, keepdim=True)
    scale = float((logs * centred).sum() / centred.square().sum())
    if not torch.allclose(logs, scale * centred, atol=1e-2 * float(logs.abs().max()) + 1e-4):
        raise NotYet("no dot products")
    slips = {
        "The scale is missing: a sum of C products grows with √C, so divide by that.": 1.0,
        "You divide by C; divide by its square root.": 1 / channels,
        "You divide by √N. The sum grows with its C terms, not with N.": 1 / sqrt(num_queries),
        "You divide by √S. The sum grows with its C terms, not with S.": 1 / sqrt(num_keys),
        "You multiply by √C; divide.": sqrt(channels),
    }
    judge(scale, channels**-0.5, slips, f"Scale: 1/√C, but yours is {scale:.3g}.", rtol=0.02)
    twice = attempt(student, query.double(), key.double())
    expect(twice.dtype == torch.float64, "float64 went in, but not out: keep the inputs' dtype.")
    expect(attempt(student, 1e3 * query, 1e3 * key).isfinite().all(), "exp overflows")
    passed("attention_weights")


def is_one(x: Tensor) -> bool:
    return torch.allclose(x, torch.ones_like(x))


def nonlocal_block(student: type[nn.Module]) -> None:
    """student(channels, key_channels), a module: (B, C, H, W) -> (B, C, H, W)"""
    channels, side = draw(5, 8), draw(4, 6)
    block = build(student, channels, draw(2, 4))
    wide = normal(2, channels, side, side + 3)
    output = attempt(block, wide)
    expect(output.shape == wide.shape, "shape of the block's output", wide.shape, output.shape)
    for name in PARTS:
        part = dict(block.named_children()).get(name)
        if not isinstance(part, nn.Conv2d) or part.kernel_size != (1, 1):
            raise NotYet("no such convolution", name, ", ".join(PARTS))
    expect(output.abs().max() > 0, "A new block gives zeros, so the input is lost. Add the input.")
    weight, bias = block.to_output.weight, block.to_output.bias
    expect(not weight.any(), "to_output must start at zero, so that a new block changes nothing.")
    expect(bias is None or not bias.any(), "bias not zero")
    expect(torch.allclose(output, wide, atol=1e-6), "input changed by a new block")
    nn.init.normal_(weight)
    # Attention does not depend on places: shuffled positions give the same results, shuffled.
    order = torch.randperm(wide[0, 0].numel(), generator=fresh())

    def shuffle(maps: Tensor) -> Tensor:
        return maps.flatten(2)[:, :, order].reshape(maps.shape)

    with torch.no_grad():
        shuffled, straight = attempt(block, shuffle(wide)), attempt(block, wide)
    expect(torch.allclose(shuffled, shuffle(straight), atol=1e-4), "reshaped without transposing")
    # A pyramid whose only level is the map is the ordinary non-local block, with any weights.
    features = normal(2, channels, side, side)

    @torch.no_grad()
    def library(changes: dict[str, object]) -> Tensor:
        return features + context_of(block, features, features, (side,), changes)

    lines = " Compare line by line: scores, scale, softmax, context, output, input added."
    slips = attention_slips(block, side**2, side**2) | {
        "query and key swapped": {"to_query": block.to_key, "to_key": block.to_query},
        "queries as keys": {"to_key": block.to_query},
    }
    made = {text(advice) + lines: partial(library, changes) for advice, changes in slips.items()}
    otherwise = "With the same weights annlib computes something else." + lines
    judge(attempt(block, features), library({}), made, otherwise, atol=1e-4)
    leaves = {name: [block.get_submodule(name).weight] for name in PARTS[:3]}
    check_gradient(attempt(block, wide), leaves)
    passed("nonlocal_block")
