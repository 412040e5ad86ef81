"""Faster twins of a network: the same function of the same weights with fewer operations.

After the softmax everything is linear, and the rows of the attention weights A sum to 1. So what is
done to the weighted sums at N positions can be done to the S anchors that they are sums of:

    values               mean of (W_v x + b_v)  =  W_v (mean of x) + b_v
    output projection    W_o (A v) + b_o        =  A (v W_o + b_o)
    fusing               W [context; x]         =  A (anchors W_1) + W_2 x, nothing concatenated

For inference two more things are linear. Batch norm is a fixed scale and shift, so it is folded
into the convolution before it. And between AFNB's fusing convolution and the 3x3 that reduces its
result there is only batch norm: the two convolutions become one, without 2048 channels in between.

Only rounding differs. B batch, C channels, H x W the query map, N = H * W positions, S anchors.
"""

import copy
from typing import cast

import numpy as np
import torch
from einops import einsum
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from annlib.model.ann import ANN
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import Baseline


def fuse_for_training(model: ANN | Baseline) -> ANN | Baseline:
    """A twin that holds the same Parameters, buffers and layers, with faster AFNB and APNB.

    A training step of one is a step of the other. Call train() or eval() on the one that you run.
    """
    twin, folded = copy.copy(model), {AFNB: FoldedAFNB, APNB: FoldedAPNB}
    twin._modules = dict(model._modules)
    for name, block in model.named_children():
        if type(block) in folded:
            twin._modules[name] = copy.copy(block)
            twin._modules[name].__class__ = folded[type(block)]
    return twin


def fuse_for_inference(model: ANN | Baseline) -> ANN | Baseline:
    """A copy that computes what `model.eval()` does, is called like it, and cannot be trained."""
    twin = copy.deepcopy(fuse_for_training(model)).eval().requires_grad_(False)
    twin.auxiliary = None  # only for training
    fold_norms(twin)
    if isinstance(twin, ANN):
        twin.add_module("afnb", ReducedAFNB(twin.afnb, twin.reduce[0]))
        twin.add_module("reduce", nn.Identity())
    return twin


def fold_norms(module: nn.Module) -> None:
    """Moves every batch norm into the convolution whose output it takes, registered before it."""
    children = list(module.named_children())
    for (name, child), (next_name, norm) in zip(children, children[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm):
            setattr(module, name, fuse_conv_bn_eval(child, norm))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_norms(child)


def cell_means(side: int, pool_scales: tuple[int, ...], like: Tensor) -> Tensor:
    """The matrix that takes a line of positions to the means of its cells, as adaptive pooling.

    -> (sum of pool_scales, side), rows sum to 1, with the type and device of `like`
    """
    scales = torch.tensor([scale for scale in pool_scales for _ in range(scale)])[:, None]
    cells = torch.tensor([cell for scale in pool_scales for cell in range(scale)])[:, None]
    starts, ends = cells * side // scales, ((cells + 1) * side + scales - 1) // scales
    place = torch.arange(side)
    return ((starts <= place) & (place < ends)).to(like) / (ends - starts).to(like.device)


def pyramid_means(x: Tensor, pool_scales: tuple[int, ...]) -> Tensor:
    """What PyramidPool computes, as anchors in rows.  (B, C, H, W) -> (B, S, C)

    Means along rows, then down columns: the map and its gradient are read once for all grids.
    """
    height, width = x.shape[2:]
    across = cell_means(width, pool_scales, x) @ x.movedim(1, -1)  # (B, H, sum of scales, C)
    down = cell_means(height, pool_scales, x)
    grids = zip(pool_scales, down.split(pool_scales), across.split(pool_scales, 2), strict=True)
    means = [(d @ a.flatten(2)).unflatten(2, (n, -1)).flatten(1, 2) for n, d, a in grids]
    return torch.cat(means, dim=1)


def attend(
    attention: AsymmetricAttention, query_map: Tensor, key_map: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, Cq, H, W), (B, Ck, h, w) -> attention weights (B, N, S), projected anchors (B, S, Cq)"""
    scales = attention.pool.pool_scales
    key = attention.to_key(key_map)  # ReLU is not linear: this one is needed at every position
    query = key if attention.to_query is None else attention.to_query(query_map)
    anchor_keys = attention.scale * pyramid_means(key, scales)  # (B, S, C)
    weights = attention.softmax(query.flatten(2).mT @ anchor_keys.mT)  # (B, N, S)
    anchors = pyramid_means(key_map, scales)  # (B, S, Ck)
    for projection in (attention.to_value, attention.to_output):
        anchors = linear(anchors, projection.weight.flatten(1), projection.bias)
    return weights, anchors


def fuse(layers: nn.Sequential, weights: Tensor, anchors: Tensor, features: Tensor) -> Tensor:
    """The fusing layers of a block, applied to [context; features].  -> like features"""
    conv = cast(nn.Conv2d, layers[0])
    for_context, for_features = conv.weight.chunk(2, dim=1)
    fused = conv2d(features, for_features, conv.bias)
    anchors = linear(anchors, for_context.flatten(1))
    if torch.is_grad_enabled():  # through the view below, a gradient would be copied
        fused += (weights @ anchors).mT.unflatten(2, features.shape[2:])
    else:
        fused.flatten(2).mT.baddbmm_(weights.to(fused.dtype), anchors)
    for layer in layers[1:]:
        fused = layer(fused)
    return fused


class FoldedAFNB(AFNB):
    """AFNB with everything that comes after the softmax on the anchors."""

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, Ch, H, W)"""
        return fuse(self.fuse, *attend(self.attention, high, low), high)


class FoldedAPNB(APNB):
    """APNB with everything that comes after the softmax on the anchors."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return fuse(self.fuse, *attend(self.attention, features, features), features)


class ReducedAFNB(nn.Module):
    """AFNB and the reducing 3x3 convolution R after it, without the map between them.

        R * (W_2 x + A G)  =  (R W_2) * x  +  (R G) * A             G = anchors W_1 + shift

    where * is a convolution and A a map of S channels: R W_2 is fixed, R G depends on the image.
    """

    for_context: Tensor
    shift: Tensor
    reduction: Tensor

    def __init__(self, afnb: AFNB, reduce: nn.Module):
        super().__init__()
        self.attention = afnb.attention
        weight, shift = map(afnb.fuse[0].get_parameter, ("weight", "bias"))
        for_context, for_features = weight.flatten(1).chunk(2, dim=1)
        weight, bias = map(reduce.get_parameter, ("weight", "bias"))
        self.register_buffer("for_context", for_context.contiguous())
        self.register_buffer("shift", shift)
        self.register_buffer("reduction", weight)
        weight = einsum(weight, for_features, "o c y x, c i -> o i y x")
        self.reduce = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, device="meta")
        self.reduce.weight = nn.Parameter(weight, False)
        self.reduce.bias = nn.Parameter(bias, False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, hidden, H, W)"""
        weights, anchors = attend(self.attention, high, low)
        anchors = linear(anchors, self.for_context, self.shift)  # rows of A sum to 1
        kernels = einsum(self.reduction, anchors, "o c y x, b s c -> b o s y x")
        features = self.reduce(high)
        maps = weights.mT.unflatten(2, high.shape[2:])  # (B, S, H, W)
        if torch.compiler.is_exporting():  # the loop would fix the number of images
            (height, width), maps = high.shape[2:], pad(maps, (1, 1, 1, 1))
            moved = [maps[:, :, y : y + height, x : x + width] for y, x in np.ndindex(3, 3)]
            columns = torch.stack(moved, 2).flatten(3).flatten(1, 2)  # (B, 9 S, N)
            added = kernels.flatten(3).flatten(2) @ columns
            return (features + added.unflatten(2, (height, width))).relu()
        for feature, attended, kernel in zip(features, maps, kernels, strict=True):
            feature += conv2d(attended, kernel, padding=1)
        return features.relu_()
