"""Checkers of lesson 11: layers that commute with pooling, folded context, folded batch norm.

B batch, N positions that ask, S anchors, C channels of the map that answers.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from annlib.course.checks.base import NotYet, attempt, draw, expect, fresh, normal
from annlib.course.lesson import say
from annlib.engine.profiler import operation_counter
from annlib.model.asymmetric import PyramidPool
from annlib.model.fused import pyramid_means

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


TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}
Folded = Callable[..., Tensor]


class Setting(NamedTuple):
    """What the student's function is called with."""

    weights: Tensor  # (B, N, S), rows sum to 1
    features: Tensor  # (B, C, H, W)
    to_value: nn.Conv2d
    to_output: nn.Conv2d
    pool_scales: tuple[int, ...]


def folded_context(student: Folded) -> None:
    """student(weights, features, to_value, to_output, pool_scales) -> (B, N, out)"""
    for dtype in TOLERANCE:
        setting = drawn_context(dtype)
        found = attempt_all(student, setting)
        check_shape(found, setting)
        check_equal(found, setting)
        check_gradients(student, setting)
        check_work(student, setting)
    say(
        "Right: the plain block's numbers and gradients to rounding, in float32 and float64, and "
        "both projections run on the anchors alone."
    )


def drawn_context(dtype: torch.dtype) -> Setting:
    scales = ((1, 2), (2, 3), (3, 1, 2))[draw(0, 2)]
    channels, values = draw(38, 44), draw(30, 36)
    wide = values + draw(2, 6)  # never as wide as the values: it shows if a projection is missing
    anchors, positions = sum(scale**2 for scale in scales), draw(150, 200)
    scores = torch.randn(2, positions, anchors, generator=fresh(), dtype=dtype)
    features = normal(2, channels, draw(11, 13), draw(15, 17)).to(dtype)
    to_value, to_output = nn.Conv2d(channels, values, 1), nn.Conv2d(values, wide, 1)
    for conv in (to_value, to_output):
        nn.init.normal_(conv.bias)
    return Setting(scores.softmax(-1), features, to_value.to(dtype), to_output.to(dtype), scales)


def attempt_all(student: Folded, setting: Setting) -> Tensor:
    """The student's result, with only the tensors named in advice."""

    def context(weights: Tensor, features: Tensor) -> Tensor:
        return student(weights, features, setting.to_value, setting.to_output, setting.pool_scales)

    context.__name__ = getattr(student, "__name__", "Your function")
    return attempt(context, setting.weights, setting.features)


def plain(setting: Setting) -> Tensor:
    """As the readable block: all positions projected.  -> (B, N, out)"""
    value = PyramidPool(setting.pool_scales)(setting.to_value(setting.features))
    context = (setting.weights @ value.mT).mT[..., None]  # (B, C, N, 1): a map of one column
    return setting.to_output(context)[..., 0].mT


def check_shape(found: Tensor, setting: Setting) -> None:
    (batch, positions, _), wide = setting.weights.shape, setting.to_output.out_channels
    wanted, got = (batch, positions, wide), tuple(found.shape)
    expect(
        got == wanted,
        f"One row for each position that asks, (B, N, output channels) = {wanted}; yours is {got}.",
    )
    expect(
        found.dtype == setting.features.dtype,
        f"{setting.features.dtype} went in, but {found.dtype} came out.",
    )


def check_equal(found: Tensor, setting: Setting) -> None:
    expected, tolerance = plain(setting), TOLERANCE[setting.features.dtype]
    if distance(found, expected) <= tolerance:
        return
    for advice, slip in context_slips(setting).items():
        expect(distance(found, slip) > 100 * tolerance, advice)
    expect(
        False,
        f"Not the plain block's numbers: {distance(found, expected):.1e} of the largest apart. Go "
        "step by step: means of the features, value projection, output projection, then weights.",
    )


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


def context_slips(setting: Setting) -> dict[str, Tensor]:
    """Advice -> what comes out with that mistake."""
    weights, features, to_value, to_output, scales = setting
    means = pyramid_means(features, scales)
    first, second = to_value.weight.flatten(1), to_output.weight.flatten(1)
    backwards = pyramid_means(features, scales[::-1])
    return {
        "The bias of the value projection is lost: linear(x, weight, bias).": (
            weights @ linear(linear(means, first), second, to_output.bias)
        ),
        "The bias of the output projection is lost: rows of the weights sum to 1, so it passes.": (
            weights @ linear(linear(means, first, to_value.bias), second)
        ),
        "Both biases are lost. A mean keeps a constant, and so do weights that sum to 1.": (
            weights @ linear(linear(means, first), second)
        ),
        "The anchors stand in another order than the weights expect: pool_scales as given.": (
            weights @ linear(linear(backwards, first, to_value.bias), second, to_output.bias)
        ),
        "The weights are shares already: no second softmax.": (
            weights.softmax(-1)
            @ linear(linear(means, first, to_value.bias), second, to_output.bias)
        ),
    }


def check_gradients(student: Folded, setting: Setting) -> None:
    """Of everything that learns, by both ways."""
    upstream = torch.randn(plain(setting).shape, generator=fresh(), dtype=setting.features.dtype)
    # Scores, not weights: a bias moved to the anchors adds the same to the gradient of all weights
    # of a row, and the softmax takes that away again.
    leaves = [setting.weights.log().requires_grad_(), setting.features.clone().requires_grad_()]
    learned = [*setting.to_value.parameters(), *setting.to_output.parameters()]
    live = setting._replace(weights=leaves[0].softmax(-1), features=leaves[1])
    found = attempt_all(student, live)
    expect(found.requires_grad, "No gradient flows: is there a detach, `.data` or no_grad?")
    ours = torch.autograd.grad(found, [*leaves, *learned], upstream, True, allow_unused=True)
    theirs = torch.autograd.grad(plain(live), [*leaves, *learned], upstream)
    names = ("scores", "features", "to_value's weight", "to_value's bias", "to_output's weight")
    for name, one, other in zip((*names, "to_output's bias"), ours, theirs, strict=True):
        expect(one is not None, f"No gradient reaches {name}: is it used, without detach or .data?")
        expect(
            distance(one, other) <= 100 * TOLERANCE[one.dtype],
            f"The output agrees, but the gradient of {name} does not. Is a part of its way cut off "
            "(detach, .data, no_grad), or walked twice? Both biases must pass the weights.",
        )


def check_work(student: Folded, setting: Setting) -> None:
    """Half more than the least is allowed: there are several ways to take means."""
    weights, features, to_value, to_output, scales = setting
    with operation_counter() as counter, torch.no_grad():
        attempt_all(student, setting)
    with operation_counter() as least, torch.no_grad():
        anchors = pyramid_means(features, scales)
        for conv in (to_value, to_output):
            anchors = linear(anchors, conv.weight.flatten(1), conv.bias)
        weights @ anchors
    expect(
        counter.get_total_flops() <= 1.5 * least.get_total_flops(),
        "The numbers are right, but not the work: "
        f"{counter.get_total_flops():,} operations where {least.get_total_flops():,} are enough. "
        "At least one of the two projections still runs at every position.",
    )


Fold = Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Conv2d]


def fold_norm(student: Fold) -> None:
    """student(conv, norm) -> one convolution that does what both do in inference"""
    for bias in (False, True):
        for kernel, stride in ((1, 1), (3, 2)):
            check_one(student, *drawn_norm(kernel, stride, bias))
    say(
        "Right: one convolution gives what two layers gave, with and without a bias, 1 x 1 and "
        "3 x 3; its stride and padding are kept, and the layers that came in are untouched."
    )


def drawn_norm(kernel: int, stride: int, bias: bool) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
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
    for advice, slip in norm_slips(conv, norm, features).items():
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


def norm_slips(conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor) -> dict[str, Tensor]:
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
