"""Checker of lesson 11: a batch norm moved into the convolution before it."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from annlib.course.exercises.checking import NotYet, draw, expect, normal
from annlib.course.lines import say

Fold = Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Conv2d]


def fold_norm(student: Fold) -> None:
    """student(conv, norm) -> one convolution that does what both do in inference"""
    for bias in (False, True):
        for kernel, stride in ((1, 1), (3, 2)):
            check_one(student, *drawn(kernel, stride, bias))
    say(
        "Right: one convolution gives what two layers gave, with and without a bias, 1 x 1 and "
        "3 x 3; its stride and padding are kept, and the layers that came in are untouched."
    )


def drawn(kernel: int, stride: int, bias: bool) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    channels, wide = draw(3, 5), draw(6, 8)
    conv = nn.Conv2d(channels, wide, kernel, stride, padding=kernel // 2, bias=bias).double()
    norm = nn.BatchNorm2d(wide, eps=0.1).double().eval()
    nn.init.uniform_(norm.running_var, 0.5, 2)
    for values in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(values)
    return conv, norm


@torch.no_grad()
def check_one(student: Fold, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    features = normal(2, conv.in_channels, 9, 12).double()
    expected = norm(conv(features))
    kept = deepcopy(conv.state_dict()), deepcopy(norm.state_dict())
    folded = built(student, conv, norm)
    for layer, state, name in ((conv, kept[0], "convolution"), (norm, kept[1], "batch norm")):
        same = all(torch.equal(value, state[key]) for key, value in layer.state_dict().items())
        expect(same, f"The {name} that came in has been changed: work on a copy (copy.deepcopy).")
    found = run(folded, features)
    expect(
        found.shape == expected.shape,
        f"Its output is {tuple(found.shape)}, not {tuple(expected.shape)}: keep kernel, stride and "
        "padding of the convolution.",
    )
    if torch.allclose(found, expected, atol=1e-9):
        return
    for advice, slip in slips(conv, norm, features).items():
        expect(not torch.allclose(found, slip, atol=1e-9), advice)
    raise NotYet(
        f"Up to {float((found - expected).abs().max()):.2g} apart from both layers. Write "
        "norm(conv) as factor * (weight x + bias) + shift; read off new weight and new bias."
    )


def built(student: Fold, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    try:
        folded = student(conv, norm)
    except Exception as error:
        raise NotYet(f"It stopped with {type(error).__name__}: {error}") from error
    expect(
        folded is not None and folded is not ...,
        "It gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    expect(isinstance(folded, nn.Conv2d), f"You give a {type(folded).__name__}, no nn.Conv2d.")
    return folded


def run(folded: nn.Conv2d, features: Tensor) -> Tensor:
    try:
        return folded(features)
    except RuntimeError as error:
        raise NotYet(f"Your convolution cannot be run: {error}") from error


def slips(conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor) -> dict[str, Tensor]:
    """Advice -> what comes out with that mistake."""
    bare = nn.functional.conv2d(features, conv.weight, None, conv.stride, conv.padding)
    bias = torch.zeros_like(norm.bias) if conv.bias is None else conv.bias
    deviation = (norm.running_var + norm.eps).sqrt()

    def wrong(factor: Tensor, old: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
        new = factor * (old - mean) + shift
        return bare * factor[:, None, None] + new[:, None, None]

    factor, mean, shift = norm.weight / deviation, norm.running_mean, norm.bias
    none = torch.zeros_like(mean)
    unscaled = bare * factor[:, None, None] + (bias - factor * mean + shift)[:, None, None]
    return {
        "eps is missing: the norm divides by the root of variance plus eps.": wrong(
            norm.weight / norm.running_var.sqrt(), bias, mean, shift
        ),
        "You divide by the variance; divide by its root (with eps under it).": wrong(
            norm.weight / (norm.running_var + norm.eps), bias, mean, shift
        ),
        "The norm's weight (its scale) is missing.": wrong(1 / deviation, bias, mean, shift),
        "The running mean is missing: it is taken off before the scale.": wrong(
            factor, bias, none, shift
        ),
        "The norm's bias (its shift) is missing.": wrong(factor, bias, mean, none),
        "The old bias of the convolution is lost.": wrong(factor, none, mean, shift),
        "The old bias is not scaled: the norm scales all that the convolution gives.": unscaled,
        "The scale is in the weights, but new bias is the old one.": (
            bare * factor[:, None, None] + bias[:, None, None]
        ),
    }
