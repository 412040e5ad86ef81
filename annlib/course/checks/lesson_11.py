"""Checkers of lesson 11: layers that commute with pooling, folded context, folded batch norm.

B batch, N query positions, S anchors, C channels of the key map.
"""

from collections.abc import Callable
from copy import deepcopy
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from annlib.course.checks.base import attempt, expect, judge, passed, result_of, text
from annlib.course.checks.inputs import draw, normal
from annlib.course.profiler import operation_counter
from annlib.model.asymmetric import PyramidPool
from annlib.model.fused import pyramid_means

Layer = Callable[[Tensor], Tensor]


class HalfReLU(nn.Module):
    """ReLU in the second half of the channels only."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same"""
        return torch.cat([x.chunk(2, dim=1)[0], x.chunk(2, dim=1)[1].relu()], dim=1)


def commutes(student: Callable[[Layer, Tensor, int], bool]) -> None:
    """student(layer, features (B, C, H, W), pool_scale) -> True or False"""

    @torch.no_grad()
    def ask(layer: Layer, features: Tensor) -> bool:
        found = result_of(student, layer, features, scale)
        one = isinstance(found, bool) or (isinstance(found, Tensor) and found.numel() == 1)
        expect(one, f"True or False is wanted, but you return a {type(found).__name__}.")
        return bool(found)

    for _ in range(2):
        channels, scale = 2 * draw(2, 4), draw(2, 3)
        features = normal(2, channels, draw(7, 9), draw(11, 13))
        conv, wide = nn.Conv2d(channels, 5, 1), nn.Conv2d(channels, 3, 3, padding=1)
        relu = nn.ReLU()
        expect(ask(nn.Identity(), features) or not ask(relu, features), "the opposite")
        cases = {  # advice -> what is right for this layer, on these features
            "1 x 1 convolution": (True, conv, features),
            "ReLU, both signs": (False, relu, features),
            "ReLU, positive features": (True, relu, features.abs() + 0.1),
            "ReLU, half of the channels": (False, HalfReLU(), features),
            "3 x 3 convolution": (False, wide, features),
            "ReLU, small numbers": (False, relu, 1e-6 * features),
            "1 x 1 convolution, large numbers": (True, conv, 1e7 * features),
        }
        for advice, (right, layer, inputs) in cases.items():
            expect(ask(layer, inputs) == right, advice)
    passed("commutes")


# weights (B, N, S), features (B, C, H, W), to_value, to_output, pool_scales
Setting = tuple[Tensor, Tensor, nn.Conv2d, nn.Conv2d, tuple[int, ...]]


def folded_context(student: Callable[..., Tensor]) -> None:
    """student(*Setting) -> (B, N, out); rows of the weights sum to 1"""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
        scales = ((1, 2), (2, 3), (3, 1, 2))[draw(0, 2)]
        channels, values = draw(38, 44), draw(30, 36)
        wide = values + draw(2, 6)  # never as wide as the values: a missing projection shows
        anchors, positions = sum(scale**2 for scale in scales), draw(150, 200)
        weights = normal(2, positions, anchors, dtype=dtype).softmax(-1)
        features = normal(2, channels, draw(11, 13), draw(15, 17)).to(dtype)
        convs = nn.Conv2d(channels, values, 1).to(dtype), nn.Conv2d(values, wide, 1).to(dtype)
        for conv in convs:
            nn.init.normal_(conv.bias)
        setting = (weights, features, *convs, scales)
        found, wanted = attempt(student, *setting), (2, positions, wide)
        expect(found.shape == wanted, "shape of the context", wanted, found.shape)
        expect(found.dtype == dtype, f"{dtype} went in, but {found.dtype} came out.")
        slips = {
            "no bias of the values": folded(*setting, convs[:1]),
            "no bias of the output": folded(*setting, convs[1:]),
            "no biases": folded(*setting, convs),
            "anchors in another order": folded(*setting[:-1], scales[::-1]),
            "second softmax": folded(weights.softmax(-1), *setting[1:]),
        }
        right = plain_context(setting).detach()
        limit = tolerance * float(right.abs().max())
        judge(found, right, slips, "another context", rtol=0, atol=limit)
        check_gradients(student, setting, 100 * tolerance)
        with operation_counter() as counter, torch.no_grad():
            attempt(student, *setting)
        with operation_counter() as least:
            folded(*setting)
        work, enough = counter.get_total_flops(), least.get_total_flops()
        expect(work <= 1.5 * enough, "projections at every position", work, enough)
    passed("folded_context")


def plain_context(setting: Setting) -> Tensor:
    """As the readable block: all positions projected.  -> (B, N, out)"""
    weights, features, to_value, to_output, scales = setting
    value = PyramidPool(scales)(to_value(features))
    context = (weights @ value.mT).mT[..., None]  # (B, C, N, 1): a map of one column
    return to_output(context)[..., 0].mT


@torch.no_grad()
def folded(weights: Tensor, features: Tensor, first: nn.Conv2d, last: nn.Conv2d, scales, lost=()):
    """The same at the anchors, without the lost biases."""
    anchors = pyramid_means(features, scales)
    for conv in (first, last):
        anchors = linear(anchors, conv.weight.flatten(1), None if conv in lost else conv.bias)
    return weights @ anchors


def check_gradients(student: Callable, setting: Setting, limit: float) -> None:
    weights, features, to_value, to_output, scales = setting
    # Scores, not weights: a bias moved to the anchors adds the same to the gradient of all weights
    # of a row, and the softmax removes that again.
    leaves = {"scores": weights.log().requires_grad_(), "features": features.requires_grad_()}
    for part, conv in (("to_value", to_value), ("to_output", to_output)):
        leaves |= {f"{part}'s {name}": value for name, value in conv.named_parameters()}
    live = (leaves["scores"].softmax(-1), *setting[1:])
    found, plain = attempt(student, *live), plain_context(live)
    upstream = normal(*plain.shape, dtype=plain.dtype)
    expect(found.requires_grad, "No gradient flows: is there a detach, `.data` or no_grad?")
    options = {"retain_graph": True, "allow_unused": True}
    ours = torch.autograd.grad(found, list(leaves.values()), upstream, **options)
    theirs = torch.autograd.grad(plain, list(leaves.values()), upstream)
    for name, one, other in zip(leaves, ours, theirs, strict=True):
        expect(one is not None, f"No gradient reaches {name}: is it used, without detach or .data?")
        expect((one - other).abs().max() <= limit * other.abs().max(), "another gradient", name)


@torch.no_grad()
def fold_norm(student: Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Conv2d]) -> None:
    """student(conv, norm) -> one convolution that does what both do in inference"""
    for bias, (kernel, stride) in product((False, True), ((1, 1), (3, 2))):
        channels, wide = draw(3, 5), draw(6, 8)
        conv = nn.Conv2d(channels, wide, kernel, stride, kernel // 2, bias=bias).double()
        norm = nn.BatchNorm2d(wide, eps=0.1).double().eval()
        nn.init.uniform_(norm.running_var, 0.5, 2)
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)
        check_folded(student, conv, norm, normal(2, channels, 9, 12).double())
    passed("fold_norm")


def check_folded(
    student: Callable, conv: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor
) -> None:
    expected = norm(conv(features))
    kept = deepcopy([conv.state_dict(), norm.state_dict()])
    layer = result_of(student, conv, norm)
    expect(isinstance(layer, nn.Conv2d), f"You return a {type(layer).__name__}, not a Conv2d.")
    for given, state, name in zip((conv, norm), kept, ("convolution", "batch norm"), strict=True):
        same = all(torch.equal(value, state[key]) for key, value in given.state_dict().items())
        expect(same, f"Your input, the {name}, has been changed: work on a copy (copy.deepcopy).")
    found = attempt(layer, features)
    expect(found.shape == expected.shape, "shape of the output", found.shape, expected.shape)
    bare = conv2d(features, conv.weight, None, conv.stride, conv.padding)
    deviation, none = (norm.running_var + norm.eps).sqrt(), torch.zeros_like(norm.bias)
    scale, bias = norm.weight / deviation, none if conv.bias is None else conv.bias

    def made(factor=scale, old=bias, mean=norm.running_mean, shift=norm.bias) -> Tensor:
        return bare * factor[:, None, None] + (factor * (old - mean) + shift)[:, None, None]

    slips = {
        "no eps": made(norm.weight / norm.running_var.sqrt()),
        "divided by the variance": made(scale / deviation),
        "no scale of the norm": made(1 / deviation),
        "no running mean": made(mean=none),
        "no shift of the norm": made(shift=none),
        "no old bias": made(old=none),
        "old bias not scaled": made(old=bias / scale),
        "new bias is the old one": made(old=bias / scale, mean=none, shift=none),
    }
    otherwise = text("another folded layer", float((found - expected).abs().max()))
    judge(found, expected, slips, otherwise, rtol=0, atol=1e-9)
