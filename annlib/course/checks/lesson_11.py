"""Checker of lesson 11: value and output projections on anchors instead of positions.

B batch, N positions that ask, S anchors, C channels of the map that answers.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from annlib.course.exercises.checking import attempt, draw, expect, fresh, normal
from annlib.course.lines import say
from annlib.engine.counting import operation_counter
from annlib.model.asymmetric import PyramidPool
from annlib.model.pooling import pyramid_means

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
        setting = drawn(dtype)
        found = attempt_all(student, setting)
        check_shape(found, setting)
        check_equal(found, setting)
        check_gradients(student, setting)
        check_work(student, setting)
    say(
        "Right: the plain block's numbers and gradients to rounding, in float32 and float64, and "
        "both projections run on the anchors alone."
    )


def drawn(dtype: torch.dtype) -> Setting:
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
    for advice, slip in slips(setting).items():
        expect(distance(found, slip) > 100 * tolerance, advice)
    expect(
        False,
        f"Not the plain block's numbers: {distance(found, expected):.1e} of the largest apart. Go "
        "step by step: means of the features, value projection, output projection, then weights.",
    )


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


def slips(setting: Setting) -> dict[str, Tensor]:
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
