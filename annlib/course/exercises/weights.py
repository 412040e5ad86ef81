"""Checker of lesson 02: attention weights.

B batch, C channels, N positions that ask, S that answer.
"""

from collections.abc import Callable
from math import sqrt

import torch
from einops import einsum
from torch import Tensor

from annlib.course.exercises.checking import attempt, draw, expect, normal
from annlib.course.lines import say


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
