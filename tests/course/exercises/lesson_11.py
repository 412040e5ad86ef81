"""Right and wrong answers to the exercises of lesson 11."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, linear

from annlib.course import checks
from annlib.model.asymmetric import PyramidPool
from annlib.model.fused import pyramid_means
from exercises import Gallery, Wrong


def both(layer: nn.Module, x: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    return adaptive_avg_pool2d(layer(x), scale), layer(adaptive_avg_pool2d(x, scale))


def by_share(layer: nn.Module, x: Tensor, scale: int) -> bool:
    first, second = both(layer, x, scale)
    return float((first - second).abs().max() / first.abs().max()) < 1e-5


def by_norm(layer: nn.Module, x: Tensor, scale: int) -> Tensor:
    first, second = both(layer, x, scale)
    return (first - second).norm() < 1e-4 * second.norm()


def by_maxima(layer: nn.Module, x: Tensor, scale: int) -> bool:
    first, second = adaptive_max_pool2d(layer(x), scale), layer(adaptive_max_pool2d(x, scale))
    return bool((first - second).abs().max() < 1e-4 * first.abs().max())


COMMUTES = Gallery(
    check=checks.commutes,
    right=[by_share, by_norm],
    wrong={
        "equal means bit by bit": Wrong(lambda f, x, n: torch.equal(*both(f, x, n)), "bit by bit"),
        "a fixed tolerance": Wrong(
            lambda f, x, n: torch.allclose(*both(f, x, n), rtol=0, atol=1e-4), "a fixed tolerance"
        ),
        "the layer comes after the means in both orders": Wrong(
            lambda f, x, n: torch.equal(both(f, x, n)[1], both(f, x, n)[1]), "of -1 and 1"
        ),
        "the same shape is the same": Wrong(
            lambda f, x, n: both(f, x, n)[0].shape == both(f, x, n)[1].shape, "of -1 and 1"
        ),
        "a test on features of its own": Wrong(
            lambda f, x, n: by_share(f, torch.randn(x.shape), n), "use the features"
        ),
        "the first channel stands for all": Wrong(
            lambda f, x, n: torch.allclose(
                *(m[:, :1] for m in both(f, x, n)), rtol=1e-4, atol=1e-4 * float(x.abs().max())
            ),
            "compare all channels",
        ),
        "maxima instead of means": Wrong(by_maxima, "means, not maxima"),
        "True means different": Wrong(lambda f, x, n: not by_share(f, x, n), "the opposite"),
    },
)


def on_anchors(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    anchors = pyramid_means(features, scales)
    for conv in (to_value, to_output):
        anchors = linear(anchors, conv.weight.flatten(1), conv.bias)
    return weights @ anchors


def with_modules(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    means = PyramidPool(scales)(features)[..., None]  # a map of one column
    return weights @ to_output(to_value(means))[..., 0].mT


def as_written(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    value = PyramidPool(scales)(to_value(features))
    return to_output((weights @ value.mT).mT[..., None])[..., 0].mT


def values_only(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    anchors = linear(pyramid_means(features, scales), to_value.weight.flatten(1), to_value.bias)
    return linear(weights @ anchors, to_output.weight.flatten(1), to_output.bias)


def without_biases(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    anchors = pyramid_means(features, scales)
    for conv in (to_value, to_output):
        anchors = linear(anchors, conv.weight.flatten(1))
    return weights @ anchors


def without_output_bias(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    return on_anchors(weights, features, to_value, to_output, scales) - to_output.bias


def without_output(
    weights: Tensor, features: Tensor, to_value: nn.Module, to_output: nn.Module, scales: tuple
) -> Tensor:
    means = pyramid_means(features, scales)
    return weights @ linear(means, to_value.weight.flatten(1), to_value.bias)


FOLDED = Gallery(
    check=checks.folded_context,
    right=[on_anchors, with_modules],
    wrong={
        "the same function is enough": Wrong(as_written, "operations where"),
        "only the values can be folded": Wrong(values_only, "operations where"),
        "a mean loses constants": Wrong(without_biases, "both biases are lost"),
        "weights lose the output bias": Wrong(without_output_bias, "output projection is lost"),
        "the output projection is forgotten": Wrong(without_output, "output channels"),
        "coarse grids come last": Wrong(
            lambda w, x, v, o, scales: on_anchors(w, x, v, o, scales[::-1]), "another order"
        ),
        "shares need a softmax": Wrong(
            lambda w, x, v, o, s: on_anchors(w.softmax(-1), x, v, o, s), "no second softmax"
        ),
        "projections are constants": Wrong(
            lambda w, x, v, o, s: on_anchors(
                w, x, copy.deepcopy(v).requires_grad_(False), copy.deepcopy(o), s
            ),
            "no gradient reaches to_value",
        ),
        "results need no gradient": Wrong(
            lambda w, x, v, o, s: on_anchors(w, x, v, o, s).detach(), "no gradient flows"
        ),
    },
)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, slip: str = "") -> nn.Conv2d:
    eps = 0 if slip == "eps" else norm.eps
    variance = norm.running_var.detach() + eps
    root = variance if slip == "root" else variance.sqrt()
    factor = (torch.ones_like(norm.weight) if slip == "scale" else norm.weight.detach()) / root
    mean = torch.zeros_like(norm.running_mean) if slip == "mean" else norm.running_mean
    old = torch.zeros_like(mean) if conv.bias is None or slip == "old" else conv.bias.detach()
    new = copy.deepcopy(conv)
    new.weight = nn.Parameter(conv.weight.detach() * factor[:, None, None, None])
    shift = 0 if slip == "shift" else norm.bias.detach()
    new.bias = nn.Parameter(factor * (old - mean) + shift)
    return new


def by_torch(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    return nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval())


def in_place(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    new = folded(conv, norm)
    conv.weight.data.copy_(new.weight.data)
    conv.bias = new.bias
    return conv


def without_stride(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    new = folded(conv, norm)
    new.stride = (1, 1)
    return new


def slipping(slip: str) -> object:
    return lambda conv, norm: folded(conv, norm, slip)


NORM = Gallery(
    check=checks.fold_norm,
    right=[folded, by_torch],
    wrong={
        "eps is decoration": Wrong(slipping("eps"), "eps is missing"),
        "divide by the variance": Wrong(slipping("root"), "you divide by the variance"),
        "a norm only normalises": Wrong(slipping("scale"), "norm's weight"),
        "the mean is zero anyway": Wrong(slipping("mean"), "running mean is missing"),
        "the shift is forgotten": Wrong(slipping("shift"), "norm's bias"),
        "convolutions before a norm have no bias": Wrong(slipping("old"), "old bias"),
        "the layers may be changed": Wrong(in_place, "has been changed"),
        "a convolution is its weights": Wrong(without_stride, "keep kernel, stride"),
    },
)

GALLERIES = {"commutes": COMMUTES, "folded": FOLDED, "norm": NORM}
