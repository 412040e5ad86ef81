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
from annlib.course.profiler import operation_counter
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
        conv, wide = nn.Conv2d(channels, 5, 1), nn.Conv2d(channels, 3, 3, padding=1)
        relu = nn.ReLU()
        if not ask(nn.Identity(), features) and ask(relu, features):
            raise NotYet("The opposite: True means that both orders give the same.")
        if not ask(conv, features):
            raise NotYet("""A 1 x 1 convolution commutes with the mean, but your test says no. Do
                you compare bit by bit? Sums in another order differ by rounding: allow a small
                relative error. Are your cells means, not maxima?""")
        if ask(relu, features):
            raise NotYet("""On features of both signs ReLU does not commute: of -1 and 1 the mean is
                0, but the mean of their ReLUs is not. Your test says yes. Does it apply the layer
                before the means in one order, after them in the other, and compare all numbers?""")
        if not ask(relu, features.abs() + 0.1):
            raise NotYet("""On positive features ReLU changes nothing, so both orders agree; your
                test says no. It must use the features that it is given, not some of its own.""")
        if ask(HalfReLU(), features):
            raise NotYet("""One layer was nonlinear in the second half of its channels only, and
                your test says yes. Compare all channels, images and cells: the largest difference,
                not a sum.""")
        if ask(wide, features):
            raise NotYet("""A 3 x 3 convolution is linear, but it mixes neighbours: after the means
                its neighbours are cells, not positions. Your test says yes.""")
        if ask(relu, 1e-6 * features):
            raise NotYet("""With features a million times smaller your test says yes for ReLU: a
                fixed tolerance takes small numbers for equal. Divide by the largest number.""")
        if not ask(conv, 1e7 * features):
            raise NotYet("""With features ten million times larger your test says no for a 1 x 1
                convolution: rounding grows with the numbers. Divide by the largest number.""")
    passed("""a 1 x 1 convolution passes in spite of rounding, whatever the size of the numbers;
        ReLU, 3 x 3 and a layer that is nonlinear in some channels only do not. On positive features
        ReLU changes nothing, and your test, which uses the features, says so.""")


# weights (B, N, S), features (B, C, H, W), to_value, to_output, pool_scales
Setting = tuple[Tensor, Tensor, nn.Conv2d, nn.Conv2d, tuple[int, ...]]


def folded_context(student: Callable[..., Tensor]) -> None:
    """student(*Setting) -> (B, N, out); rows of the weights sum to 1"""
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
        setting = (weights, features, *convs, scales)
        found = attempt(student, *setting)
        wanted, got = (2, positions, wide), tuple(found.shape)
        expect(got == wanted, f"(B, N, output channels) = {wanted} is wanted; yours is {got}.")
        expect(found.dtype == dtype, f"{dtype} went in, but {found.dtype} came out.")
        right = plain_context(setting).detach()
        otherwise = """Your numbers are not those of the plain block. Go step by step: means of the
            features, value projection, output projection, then weights."""
        limit = tolerance * float(right.abs().max())
        judge(found, right, context_slips(setting), otherwise, rtol=0, atol=limit)
        check_gradients(student, setting, 100 * tolerance)
        check_work(student, setting)
    passed("""the plain block's numbers and gradients to rounding, in float32 and float64, and both
        projections run on the anchors alone.""")


def plain_context(setting: Setting) -> Tensor:
    """As the readable block: all positions projected.  -> (B, N, out)"""
    weights, features, to_value, to_output, scales = setting
    value = PyramidPool(scales)(to_value(features))
    context = (weights @ value.mT).mT[..., None]  # (B, C, N, 1): a map of one column
    return to_output(context)[..., 0].mT


@torch.no_grad()
def context_slips(setting: Setting) -> dict[str, Tensor]:
    """Advice -> what comes out with that mistake."""
    weights, features, to_value, to_output, scales = setting

    def made(scales=scales, first=to_value.bias, last=to_output.bias, weights=weights) -> Tensor:
        values = linear(pyramid_means(features, scales), to_value.weight.flatten(1), first)
        return weights @ linear(values, to_output.weight.flatten(1), last)

    return {
        "The bias of the value projection is lost: linear(x, weight, bias).": made(first=None),
        "The bias of the output projection is lost: rows of the weights sum to 1, so it "
        "stays.": made(last=None),
        "Both biases are lost. A mean keeps a constant, and so do weights that sum to 1.": made(
            first=None, last=None
        ),
        "The anchors are in another order than the weights expect: pool_scales as given.": made(
            scales[::-1]
        ),
        "The rows of the weights sum to 1 already: no second softmax.": made(
            weights=weights.softmax(-1)
        ),
    }


def check_gradients(student: Callable, setting: Setting, limit: float) -> None:
    """Compares the gradients of both computations, for inputs and parameters."""
    weights, features, to_value, to_output, scales = setting
    # Scores, not weights: a bias moved to the anchors adds the same to the gradient of all weights
    # of a row, and the softmax removes that again.
    leaves = {"scores": weights.log().requires_grad_(), "features": features.requires_grad_()}
    leaves |= {f"to_value's {name}": value for name, value in to_value.named_parameters()}
    leaves |= {f"to_output's {name}": value for name, value in to_output.named_parameters()}
    live = (leaves["scores"].softmax(-1), *setting[1:])
    found, plain = attempt(student, *live), plain_context(live)
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
def check_work(student: Callable, setting: Setting) -> None:
    """Half more than the least is allowed: there are several ways to take means."""
    weights, features, to_value, to_output, scales = setting
    with operation_counter() as counter:
        attempt(student, *setting)
    with operation_counter() as least:
        anchors = pyramid_means(features, scales)
        for conv in (to_value, to_output):
            anchors = linear(anchors, conv.weight.flatten(1), conv.bias)
        weights @ anchors
    work, enough = counter.get_total_flops(), least.get_total_flops()
    if work > 1.5 * enough:
        raise NotYet(f"""The numbers are correct, but they take {work:,} operations where {enough:,}
            are enough. At least one of the two projections still runs at every position.""")


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
    expected = norm(conv(features))
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
    bare = conv2d(features, conv.weight, None, conv.stride, conv.padding)
    root, none = (norm.running_var + norm.eps).sqrt(), torch.zeros_like(norm.bias)
    right, bias = norm.weight / root, none if conv.bias is None else conv.bias

    def made(factor=right, old=bias, mean=norm.running_mean, shift=norm.bias) -> Tensor:
        return bare * factor[:, None, None] + (factor * (old - mean) + shift)[:, None, None]

    slips = {
        "eps is missing: the norm divides by the root of variance plus eps.": made(
            norm.weight / norm.running_var.sqrt()
        ),
        "You divide by the variance; divide by its root (with eps under it).": made(right / root),
        "The norm's weight (its scale) is missing.": made(1 / root),
        "The running mean is missing: it is subtracted before the scale.": made(mean=none),
        "The norm's bias (its shift) is missing.": made(shift=none),
        "The old bias of the convolution is lost.": made(old=none),
        "The old bias is not scaled: the norm scales all that the convolution gives.": made(
            old=bias / right
        ),
        "The scale is in the weights, but new bias is the old one.": made(
            right, bias / right, none, none
        ),
    }
    judge(found, expected, slips, otherwise, rtol=0, atol=1e-9)
