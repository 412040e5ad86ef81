"""Checker of lesson 11: a test that tells whether a layer may change places with cell means."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from annlib.course.exercises.checking import NotYet, draw, expect, normal
from annlib.course.lines import say

Commutes = Callable[[Callable[[Tensor], Tensor], Tensor, int], bool]


class HalfReLU(nn.Module):
    """ReLU in the second half of the channels only."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same"""
        kept, cut = x.chunk(2, dim=1)
        return torch.cat([kept, cut.relu()], dim=1)


def commutes(student: Commutes) -> None:
    """student(layer, features (B, C, H, W), pool_scale) -> True or False"""
    for _ in range(2):
        channels, scale = 2 * draw(2, 4), draw(2, 3)
        features = normal(2, channels, draw(7, 9), draw(11, 13))
        check_linear(student, features, scale)
        check_others(student, features, scale)
        check_size_of_numbers(student, features, scale)
    say(
        "Right: a 1 x 1 convolution passes in spite of rounding, whatever the size of the numbers; "
        "ReLU, 3 x 3 and a layer that is nonlinear in some channels only do not. On positive "
        "features ReLU does nothing, and your test, which looks at the features, says so."
    )


def ask(student: Commutes, layer: Callable[[Tensor], Tensor], features: Tensor, scale: int) -> bool:
    """The student's verdict."""
    shape = tuple(features.shape)
    try:
        with torch.no_grad():
            found = student(layer, features.clone(), scale)
    except Exception as error:
        raise NotYet(
            f"With features {shape} and {scale} x {scale} cells it stopped with "
            f"{type(error).__name__}: {error}"
        ) from error
    expect(
        found is not None and found is not ...,
        "It gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    one = isinstance(found, bool) or (isinstance(found, Tensor) and found.numel() == 1)
    expect(one, f"True or False is wanted, but you give a {type(found).__name__}.")
    return bool(found)


def double(x: Tensor) -> Tensor:
    """Exact in floating point, and harmless to means and maxima alike."""
    return 2 * x


def check_linear(student: Commutes, features: Tensor, scale: int) -> None:
    conv, relu = nn.Conv2d(features.shape[1], 5, 1), nn.ReLU()
    expect(
        ask(student, double, features, scale) or not ask(student, relu, features, scale),
        "Turned around: True means that both orders give the same.",
    )
    expect(
        ask(student, conv, features, scale),
        "A 1 x 1 convolution may change places with the mean, but your test says no. Do you "
        "compare bit by bit? Sums in another order differ by rounding: allow a small share. Are "
        "your cells means, not maxima?",
    )
    expect(
        not ask(student, relu, features, scale),
        "On features of both signs ReLU may not change places: of -1 and 1 the mean is 0, but the "
        "mean of their ReLUs is not. Your test says yes. Does it apply the layer before the means "
        "in one order, and after them in the other, and compare all numbers?",
    )


def check_others(student: Commutes, features: Tensor, scale: int) -> None:
    expect(
        ask(student, nn.ReLU(), features.abs() + 0.1, scale),
        "On positive features ReLU changes nothing, so both orders agree; your test says no. It "
        "must look at the features that it is given, not at some of its own.",
    )
    expect(
        not ask(student, HalfReLU(), features, scale),
        "One layer was nonlinear in the second half of its channels only, and your test let it "
        "pass. Compare all channels, all pictures, all cells: the largest difference, not a sum.",
    )
    wide = nn.Conv2d(features.shape[1], 3, 3, padding=1)
    expect(
        not ask(student, wide, features, scale),
        "A 3 x 3 convolution is linear, but it mixes neighbours: after the means its neighbours "
        "are cells, not positions. Your test lets it pass.",
    )


def check_size_of_numbers(student: Commutes, features: Tensor, scale: int) -> None:
    expect(
        not ask(student, nn.ReLU(), 1e-6 * features, scale),
        "With features a million times smaller your test lets ReLU pass: a fixed tolerance takes "
        "small numbers for equal. Measure the difference as a share of the largest number.",
    )
    conv = nn.Conv2d(features.shape[1], 4, 1)
    expect(
        ask(student, conv, 1e7 * features, scale),
        "With features ten million times larger your test refuses a 1 x 1 convolution: rounding "
        "grows with the numbers. Measure the difference as a share of the largest number.",
    )
