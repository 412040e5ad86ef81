"""Checkers of lesson 11: layers that commute with pooling, folded context, folded batch norm.

B batch, N query positions, S anchors, C channels of the key map.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from annlib.course.checks.base import (
    NotYet,
    attempt,
    draw,
    expect,
    fresh,
    judge,
    normal,
    passed,
    result_of,
)
from annlib.engine.profiler import operation_counter
from annlib.model.asymmetric import PyramidPool
from annlib.model.fused import pyramid_means

Layer = Callable[[Tensor], Tensor]


class HalfReLU(nn.Module):
    """ReLU in the second half of the channels only."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same"""
        kept, cut = x.chunk(2, dim=1)
        return torch.cat([kept, cut.relu()], dim=1)


def commutes(student: Callable[[Layer, Tensor, int], bool]) -> None:
    """student(layer, features (B, C, H, W), pool_scale) -> True or False"""

    @torch.no_grad()
    def ask(layer: Layer, features: Tensor) -> bool:
        found = result_of(student, layer, features.clone(), scale)
        one = isinstance(found, bool) or (isinstance(found, Tensor) and found.numel() == 1)
        expect(one, f"True or False is wanted, but you return a {type(found).__name__}.")
        return bool(found)

    for _ in range(2):
        channels, scale = 2 * draw(2, 4), draw(2, 3)
        features = normal(2, channels, draw(7, 9), draw(11, 13))
        conv, wide, relu = (
            nn.Conv2d(channels, 5, 1),
            nn.Conv2d(channels, 3, 3, padding=1),
            nn.ReLU(),
        )
        if not ask(nn.Identity(), features) and ask(relu, features):
            raise NotYet("The opposite: True means that both orders give the same.")
        cases = {
            "A 1 x 1 convolution commutes with the mean, but your test says no. Do you compare bit "
            "by bit? Sums in another order differ by rounding: allow a small relative error. Are "
            "your cells means, not maxima?": (conv, features, True),
            "On features of both signs ReLU does not commute: of -1 and 1 the mean is 0, but the "
            "mean of their ReLUs is not. Your test says yes. Does it apply the layer before the "
            "means in one order, after them in the other, and compare all numbers?": (
                relu,
                features,
                False,
            ),
            "On positive features ReLU changes nothing, so both orders agree; your test says no. "
            "It must use the features that it is given, not some of its own.": (
                relu,
                features.abs() + 0.1,
                True,
            ),
            "One layer was nonlinear in the second half of its channels only, and your test says "
            "yes. Compare all channels, images and cells: the largest difference, not a sum.": (
                HalfReLU(),
                features,
                False,
            ),
            "A 3 x 3 convolution is linear, but it mixes neighbours: after the means its "
            "neighbours are cells, not positions. Your test says yes.": (wide, features, False),
            "With features a million times smaller your test says yes for ReLU: a fixed tolerance "
            "takes small numbers for equal. Divide the difference by the largest number.": (
                relu,
                1e-6 * features,
                False,
            ),
            "With features ten million times larger your test says no for a 1 x 1 convolution: "
            "rounding grows with the numbers. Divide the difference by the largest number.": (
                conv,
                1e7 * features,
                True,
            ),
        }
        for advice, (layer, maps, wanted) in cases.items():
            expect(ask(layer, maps) == wanted, advice)
    passed("""a 1 x 1 convolution passes in spite of rounding, whatever the size of the numbers;
        ReLU, 3 x 3 and a layer that is nonlinear in some channels only do not. On positive features
        ReLU changes nothing, and your test, which uses the features, says so.""")


def folded_context(student: Callable[..., Tensor]) -> None:
    """student(weights (B, N, S), features (B, C, H, W), to_value, to_output, pool_scales)

    -> (B, N, out); rows of the weights sum to 1
    """
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
        scales = ((1, 2), (2, 3), (3, 1, 2))[draw(0, 2)]
        channels, values = draw(38, 44), draw(30, 36)
        wide = values + draw(2, 6)  # never as wide as the values: a missing projection shows
        anchors, positions = sum(scale**2 for scale in scales), draw(150, 200)
        weights = torch.randn(2, positions, anchors, generator=fresh(), dtype=dtype).softmax(-1)
        features = normal(2, channels, draw(11, 13), draw(15, 17)).to(dtype)
        convs = nn.Conv2d(channels, values, 1).to(dtype), nn.Conv2d(values, wide, 1).to(dtype)
        for conv in convs:
            nn.init.normal_(conv.bias)
        found = attempt(student, weights, features, *convs, scales)
        wanted, got = (2, positions, wide), tuple(found.shape)
        if got != wanted:
            raise NotYet(f"""One row for each query position, (B, N, output channels) = {wanted};
                yours is {got}.""")
        expect(found.dtype == dtype, f"{dtype} went in, but {found.dtype} came out.")
        right = plain_context(weights, features, *convs, scales).detach()
        slips = context_slips(weights, features, *convs, scales)
        otherwise = """Your numbers are not those of the plain block. Go step by step: means of the
            features, value projection, output projection, then weights."""
        judge(found, right, slips, otherwise, rtol=0, atol=tolerance * float(right.abs().max()))
        check_gradients(student, weights, features, convs, scales, 100 * tolerance)
        check_work(student, weights, features, convs, scales)
    passed("""the plain block's numbers and gradients to rounding, in float32 and float64, and both
        projections run on the anchors alone.""")


def plain_context(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    """As the readable block: all positions projected.  -> (B, N, out)"""
    value = PyramidPool(scales)(to_value(features))
    context = (weights @ value.mT).mT[..., None]  # (B, C, N, 1): a map of one column
    return to_output(context)[..., 0].mT


@torch.no_grad()
def context_slips(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> dict[str, Tensor]:
    """Advice -> what comes out with that mistake."""
    means, backwards = pyramid_means(features, scales), pyramid_means(features, scales[::-1])
    first, second = to_value.weight.flatten(1), to_output.weight.flatten(1)
    bias, last = to_value.bias, to_output.bias
    return {
        "The bias of the value projection is lost: linear(x, weight, bias).": (
            weights @ linear(linear(means, first), second, last)
        ),
        "The bias of the output projection is lost: rows of the weights sum to 1, so it stays.": (
            weights @ linear(linear(means, first, bias), second)
        ),
        "Both biases are lost. A mean keeps a constant, and so do weights that sum to 1.": (
            weights @ linear(linear(means, first), second)
        ),
        "The anchors are in another order than the weights expect: pool_scales as given.": (
            weights @ linear(linear(backwards, first, bias), second, last)
        ),
        "The rows of the weights sum to 1 already: no second softmax.": (
            weights.softmax(-1) @ linear(linear(means, first, bias), second, last)
        ),
    }


def check_gradients(
    student: Callable, weights: Tensor, features: Tensor, convs: tuple, scales: tuple, limit: float
) -> None:
    """Compares the gradients of both computations, for inputs and parameters."""
    # Scores, not weights: a bias moved to the anchors adds the same to the gradient of all weights
    # of a row, and the softmax removes that again.
    leaves = {"scores": weights.log().requires_grad_(), "features": features.requires_grad_()}
    live = (leaves["scores"].softmax(-1), features, *convs, scales)
    for name, conv in zip(("to_value", "to_output"), convs, strict=True):
        leaves |= {f"{name}'s weight": conv.weight, f"{name}'s bias": conv.bias}
    found, plain = attempt(student, *live), plain_context(*live)
    upstream = torch.randn(plain.shape, generator=fresh(), dtype=plain.dtype)
    expect(found.requires_grad, "No gradient flows: is there a detach, `.data` or no_grad?")
    options = {"retain_graph": True, "allow_unused": True}
    ours = torch.autograd.grad(found, list(leaves.values()), upstream, **options)
    theirs = torch.autograd.grad(plain, list(leaves.values()), upstream)
    for name, one, other in zip(leaves, ours, theirs, strict=True):
        expect(one is not None, f"No gradient reaches {name}: is it used, without detach or .data?")
        if not (one - other).abs().max() <= limit * other.abs().max():
            raise NotYet(f"""The output agrees, but the gradient of {name} does not. Is a part of
                the graph missing (detach, .data, no_grad), or counted twice? Both biases count.""")


@torch.no_grad()
def check_work(
    student: Callable, weights: Tensor, features: Tensor, convs: tuple, scales: tuple
) -> None:
    """Half more than the least is allowed: there are several ways to take means."""
    with operation_counter() as counter:
        attempt(student, weights, features, *convs, scales)
    with operation_counter() as least:
        anchors = pyramid_means(features, scales)
        for conv in convs:
            anchors = linear(anchors, conv.weight.flatten(1), conv.bias)
        weights @ anchors
    if counter.get_total_flops() > 1.5 * least.get_total_flops():
        raise NotYet(f"""The numbers are correct, but they take {counter.get_total_flops():,}
            operations where {least.get_total_flops():,} are enough. At least one of the two
            projections still runs at every position.""")


@torch.no_grad()
def fold_norm(student: Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Conv2d]) -> None:
    """student(conv, norm) -> one convolution that does what both do in inference"""
    for bias in (False, True):
        for kernel, stride in ((1, 1), (3, 2)):
            channels, wide = draw(3, 5), draw(6, 8)
            conv = nn.Conv2d(channels, wide, kernel, stride, kernel // 2, bias=bias).double()
            norm = nn.BatchNorm2d(wide, eps=0.1).double().eval()
            nn.init.uniform_(norm.running_var, 0.5, 2)
            for values in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(values)
            check_folded(student, conv, norm, normal(2, channels, 9, 12).double())
    passed("""one convolution gives what two layers gave, with and without a bias, 1 x 1 and 3 x 3;
        its stride and padding are kept, and the input layers are unchanged.""")


def check_folded(
    student: Callable, conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor
) -> None:
    expected, slips = norm(conv(features)), norm_slips(conv, norm, features)
    kept = deepcopy([conv.state_dict(), norm.state_dict()])
    folded = result_of(student, conv, norm)
    expect(isinstance(folded, nn.Conv2d), f"You return a {type(folded).__name__}, not a Conv2d.")
    for layer, state, name in zip((conv, norm), kept, ("convolution", "batch norm"), strict=True):
        same = all(torch.equal(value, state[key]) for key, value in layer.state_dict().items())
        expect(same, f"Your input, the {name}, has been changed: work on a copy (copy.deepcopy).")
    found = attempt(folded, features)
    if found.shape != expected.shape:
        raise NotYet(f"""Its output is {tuple(found.shape)}, not {tuple(expected.shape)}: keep
            kernel, stride and padding of the convolution.""")
    otherwise = f"""Up to {float((found - expected).abs().max()):.2g} apart from both layers. Write
        norm(conv) as factor * (weight x + bias) + shift; derive the new weight and bias from it."""
    judge(found, expected, slips, otherwise, rtol=0, atol=1e-9)


def norm_slips(conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor) -> dict[str, Tensor]:
    """Advice -> what comes out with that mistake."""
    bare = conv2d(features, conv.weight, None, conv.stride, conv.padding)
    mean, shift, variance = norm.running_mean, norm.bias, norm.running_var + norm.eps
    none = torch.zeros_like(mean)
    bias = none if conv.bias is None else conv.bias
    factor = norm.weight / variance.sqrt()

    def made(factor: Tensor, new_bias: Tensor) -> Tensor:
        return bare * factor[:, None, None] + new_bias[:, None, None]

    def wrong(factor: Tensor) -> Tensor:
        return made(factor, factor * (bias - mean) + shift)

    return {
        "eps is missing: the norm divides by the root of variance plus eps.": wrong(
            norm.weight / norm.running_var.sqrt()
        ),
        "You divide by the variance; divide by its root (with eps under it).": wrong(
            norm.weight / variance
        ),
        "The norm's weight (its scale) is missing.": wrong(variance.rsqrt()),
        "The running mean is missing: it is subtracted before the scale.": made(
            factor, factor * bias + shift
        ),
        "The norm's bias (its shift) is missing.": made(factor, factor * (bias - mean)),
        "The old bias of the convolution is lost.": made(factor, shift - factor * mean),
        "The old bias is not scaled: the norm scales all that the convolution gives.": made(
            factor, bias - factor * mean + shift
        ),
        "The scale is in the weights, but new bias is the old one.": made(factor, bias),
    }
