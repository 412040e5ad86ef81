"""Public checks of assignment A2: run them at home, as often as you like. They need only torch.

They show the first mistakes, with advice. Grading asks for other pyramids, sizes and numbers, too.
"""

from collections.abc import Callable

import torch
from not_yet import expect
from torch import Tensor, nn


def sample(student: Callable[..., Tensor]) -> None:
    """student(features (B, C, H, W), levels) -> (B, C, S)"""
    features = torch.arange(24.0).view(1, 1, 4, 6)
    anchors = student(features, (1, 2))
    expect(isinstance(anchors, Tensor), "No tensor comes back: is there a `return ...`?")
    expect(
        anchors.shape == (1, 1, 5),
        f"Levels 1 and 2 have 1 + 4 anchors, (1, 1, 5); yours are {tuple(anchors.shape)}.",
    )
    expect(
        anchors[0, 0].tolist() == [11.5, 4.0, 7.0, 16.0, 19.0],
        f"On a map of 4 x 6 that counts from 0 you find {anchors[0, 0].tolist()}. Work out the "
        "mean of the whole map and of its four quarters by hand.",
    )
    print("Right for one small map whose sides the levels divide.")


def asymmetric_block(student: type[nn.Module]) -> None:
    """student(high, low, key_channels, levels)(high (B, C, H, W), low (B, c, h, w)) -> like high"""
    block = student(6, 5, 4, (1, 2))
    high, low = torch.randn(2, 6, 3, 5), torch.randn(2, 5, 4, 7)
    output = block(high, low)
    expect(isinstance(output, Tensor), "No tensor comes back: is there a `return ...`?")
    expect(output.shape == high.shape, "What comes out must be as large as the map that asks.")
    expect(not torch.allclose(block(high, low + 1), output), "The low level takes no part.")
    expect(not torch.allclose(block(high + 1, low), output), "The high level takes no part.")
    print("Right so far: two maps of different sizes meet, and both count.")


def asymmetric_operations(student: Callable[..., int]) -> None:
    """student(high, low, channels, key_channels, levels) -> operations"""
    found = student((2, 3), (3, 4), (5, 7), 4, (1, 2))
    expect(found is not None and found is not ..., "No number comes back: is there a `return`?")
    # queries 6 x 5 x 4; keys and values 12 x 7 x 4 each; output 6 x 9 x 5; products 6 x 5 x 4 each
    expect(
        found == 2 * (6 * 5 * 4 + 2 * 12 * 7 * 4 + 6 * 9 * 5 + 2 * 6 * 5 * 4),
        f"{found} for maps of 2 x 3 and 3 x 4, with 5 and 7 channels, keys of 4 channels and "
        "levels 1 and 2. Write down every multiply-add of that small block by hand.",
    )
    print("Right for one pair of small maps.")
