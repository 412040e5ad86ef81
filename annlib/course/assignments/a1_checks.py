"""Public checks of assignment A1: run them at home, as often as you like. They need only torch.

They show the first mistakes, with advice. Grading asks for other sizes, precision and numbers, too.
"""

from collections.abc import Callable

import torch
from not_yet import expect
from torch import Tensor, nn


def attention_weights(student: Callable[..., Tensor]) -> None:
    """student(query (B, C, N), key (B, C, S), valid (B, S)) -> (B, N, S)"""
    query, key = torch.randn(2, 9, 6), torch.randn(2, 9, 4)
    weights = student(query, key)
    expect(isinstance(weights, Tensor), "No tensor comes back: is there a `return ...`?")
    expect(
        weights.shape == (2, 6, 4),
        f"Weights are (B, N, S), here (2, 6, 4); yours are {tuple(weights.shape)}.",
    )
    sums = weights.sum(-1)
    expect(torch.allclose(sums, torch.ones_like(sums)), "Rows must sum to 1.")
    valid = torch.tensor([[True, True, False, True], [True, False, False, False]])
    weights = student(query, key, valid)
    expect(not weights.mT[~valid].any(), "Ignored keys must get a weight of exactly 0.")
    sums = weights.sum(-1)
    expect(torch.allclose(sums, torch.ones_like(sums)), "With a mask, rows must sum to 1, too.")
    print("Right so far: shapes, sums, and nothing for ignored keys.")


def nonlocal_block(student: type[nn.Module]) -> None:
    """student(channels, key_channels)(features (B, C, H, W)) -> like features"""
    features, block = torch.randn(2, 6, 3, 5), student(6, 4)
    output = block(features)
    expect(isinstance(output, Tensor), "No tensor comes back: is there a `return ...`?")
    expect(output.shape == features.shape, "What comes out must be as large as what goes in.")
    expect(torch.allclose(output, features), "A fresh block must hand on its input unchanged.")
    nn.init.normal_(block.to_output.weight)
    expect(not torch.allclose(block(features), features), "to_output takes no part.")
    print("Right so far: it fits anywhere, and starts as the identity.")


def block_operations(student: Callable[[int, int, int, int], int]) -> None:
    """student(height, width, channels, key_channels) -> operations"""
    found = student(2, 3, 5, 4)
    expect(found is not None and found is not ..., "No number comes back: is there a `return`?")
    # 4 convolutions of 6 positions, 5 x 4 channels; 2 products of 6 x 6 with 4 channels
    expect(
        found == 2 * (4 * 6 * 5 * 4 + 2 * 6 * 6 * 4),
        f"{found} for a map of 2 x 3, 5 and 4 "
        "channels. Write down every multiply-add of that small block by hand.",
    )
    print("Right for one small map.")
