"""Fuses a trained network for inference: batch norm and layers that commute are folded together.

Without training two more things are linear. Batch norm is a scale and a shift with fixed numbers,
so it moves into the convolution before it. And between AFNB's fusing convolution and the 3x3 that
reduces its result stands nothing but batch norm (and dropout, which is off): the two convolutions
are one, and the 2048 channels between them are never computed.

B batch, C channels, H x W the map, N = H * W its positions, S anchors, K classes.
"""

import copy

from einops import einsum
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.nn.utils.fusion import fuse_conv_bn_eval

from annlib.model.ann import ANN, Logits
from annlib.model.baselines import Baseline
from annlib.model.fused import attend

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def fuse_for_inference(model: ANN | Baseline) -> nn.Module:
    """A copy that answers as `model.eval()` does. It cannot be trained; what `model` goes on to
    learn does not reach it.

    It is called like the model, and its attention is captured like the model's.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    fold_norms(model)
    return FrozenANN(model) if isinstance(model, ANN) else model


def fold_norms(module: nn.Module) -> None:
    """Moves every batch norm into the convolution whose output it takes, registered before it.

    That holds for all modules of annlib; in a Sequential it is the order of the forward pass.
    """
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, children[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(following, NORMS):
            setattr(module, name, fuse_conv_bn_eval(child, following))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_norms(child)


class FrozenANN(nn.Module):
    """ANN of a copy whose norms are folded; AFNB's fusing convolution is part of `reduce`."""

    def __init__(self, model: ANN):
        super().__init__()
        self.config = model.config
        self.backbone = model.backbone
        self.afnb = Fused(model)
        self.apnb = model.apnb
        self.classifier = model.classifier
        self.train(model.training)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Logits:
        """(B, 3, H, W) normalised -> logits of `size`, that of the images if None; aux is None"""
        low, high = self.backbone(images)
        main = self.classifier(self.apnb(self.afnb(low, high)))
        return Logits(main, None).resize(size or images.shape[2:], self.config.align_corners)


class Fused(nn.Module):
    """AFNB and the reducing 3x3 convolution after it, without the map between them.

    With R the reduction, W_2 and W_1 the two halves of the fusing weight and A the attention,

        R * (W_2 x + A G)  =  (R W_2) * x  +  (R G) * A             G = anchors W_1 + shift

    where * is the convolution over the map: first with weights that are known beforehand, then,
    with A as a map of S channels, with weights that depend on the image.
    """

    def __init__(self, model: ANN):
        super().__init__()
        self.attention = model.afnb.attention
        fusing, reducing = model.afnb.fuse[0], model.reduce[0]
        for_context, for_features = fusing.weight.flatten(1).chunk(2, dim=1)
        self.register_buffer("for_context", for_context.contiguous())
        self.register_buffer("shift", fusing.bias)
        self.register_buffer("reduction", reducing.weight)
        self.reduce = reducing_both(reducing, for_features)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, hidden, H, W)"""
        weights, anchors = attend(self.attention, high, low)
        anchors = linear(anchors, self.for_context, self.shift)  # rows of A sum to 1
        kernels = einsum(self.reduction, anchors, "o c y x, b s c -> b o s y x")
        features = self.reduce(high)
        maps = weights.mT.unflatten(2, high.shape[2:])  # (B, S, H, W)
        for feature, attended, kernel in zip(features, maps, kernels, strict=True):
            feature += conv2d(attended, kernel, padding=1)
        return features.relu_()


def reducing_both(reduce: nn.Conv2d, fuse: Tensor) -> nn.Conv2d:
    """The 3x3 convolution `reduce` after the 1x1 convolution with the weights `fuse` (C, Cin)."""
    weight = einsum(reduce.weight, fuse, "o c y x, c i -> o i y x")
    both = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, device=weight.device)
    both.weight, both.bias = nn.Parameter(weight, False), nn.Parameter(reduce.bias, False)
    return both
