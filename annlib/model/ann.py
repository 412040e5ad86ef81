"""The whole network: backbone -> AFNB -> reduce -> APNB -> classifier."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn, promote_types
from torch.nn.functional import interpolate

from annlib.config import ModelConfig
from annlib.model import localnet, resnet
from annlib.model.asymmetric import AFNB, APNB
from annlib.model.layers import ChannelDropout, classifier, conv_bn_relu
from annlib.model.localnet import LocalNet
from annlib.model.resnet import ResNet

OUTPUT_STRIDE = 8  # pixels of the image from one position of the map to the next


def map_size(image_size: Sequence[int]) -> tuple[int, int]:
    """The size of the feature maps, and of the logits before `resize`: an eighth, rounded up."""
    return ceil(image_size[0] / OUTPUT_STRIDE), ceil(image_size[1] / OUTPUT_STRIDE)


def resize_bilinear(maps: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """(B, K, h, w) -> (B, K, *size); the maps themselves where that is their size"""
    if maps.shape[2:] == tuple(size):  # interpolate would copy every number
        return maps
    return interpolate(maps, tuple(size), mode="bilinear", align_corners=align_corners)


class Logits(NamedTuple):
    """One score per class and pixel; aux only while training."""

    main: Tensor  # (B, K, H, W)
    aux: Tensor | None  # (B, K, H, W)

    def resize(self, size: Sequence[int], align_corners: bool) -> "Logits":
        """The same scores on a map of `size` (height, width), bilinear, at least float32."""
        # Under autocast they have 8 or 11 bits: too few to interpolate and to take a softmax of.
        exact = (None if m is None else m.to(promote_types(m.dtype, torch.float32)) for m in self)
        main, aux = (m if m is None else resize_bilinear(m, size, align_corners) for m in exact)
        return Logits(cast(Tensor, main), aux)


def build_backbone(config: ModelConfig) -> ResNet | LocalNet:
    """A backbone with random weights; both kinds return the pair (c4, c5) at 1/8."""
    if config.width < 4:
        raise ValueError(f"width is {config.width}: a backbone has 4 channels or more.")
    if config.depth in resnet.BLOCKS:
        return ResNet(config.depth, config.width, config.stem)
    if config.depth in localnet.BLOCKS_PER_STAGE:
        return LocalNet(config.depth, config.width)
    known = sorted([*resnet.BLOCKS, *localnet.BLOCKS_PER_STAGE])
    raise ValueError(f"No backbone of depth {config.depth}: choose one of {known}.")


class FCNHead(nn.Module):
    """The auxiliary classifier on c4: a second, shorter path for the gradient."""

    def __init__(self, in_channels: int, config: ModelConfig):
        super().__init__()
        self.reduce = conv_bn_relu(in_channels, config.aux_channels, 3)
        self.dropout = ChannelDropout(config.dropout)
        self.classifier = classifier(config.aux_channels, config.num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, K, H, W)"""
        return self.classifier(self.dropout(self.reduce(features)))


class ANN(nn.Module):
    """The network of the paper, in the variant of the released weights.

    `annlib.model.fused` has faster twins of it. Reference: mmseg/models/decode_heads/ann_head.py.
    """

    if TYPE_CHECKING:  # or an editor takes what model(images) returns for Any

        def __call__(self, images: Tensor, size: Sequence[int] | None = None) -> Logits: ...

    def __init__(self, config: ModelConfig):
        super().__init__()
        if (head := config.head) != "ann":
            raise ValueError(f"ANN is the 'ann' head, not {head!r}: call build_model(config).")
        self.config = config
        self.backbone = build_backbone(config)
        low, high = self.backbone.low_channels, self.backbone.high_channels
        hidden, keys, values = config.hidden_channels, config.key_channels, config.value_channels
        self.afnb = AFNB(low, high, keys, values, config.pool_scales)
        self.reduce = conv_bn_relu(high, hidden, 3)
        self.apnb = APNB(hidden, keys, values, config.pool_scales)
        self.dropout = ChannelDropout(config.dropout)  # the reference uses one module twice, too
        self.classifier = classifier(hidden, config.num_classes)
        self.auxiliary: FCNHead | None = FCNHead(low, config)

    def forward(self, images: Tensor, size: Sequence[int] | None = None) -> Logits:
        """(B, 3, H, W) normalised -> logits of `size`, that of the images if None

        A training step passes the size of its labels: scores nobody compares are not computed.
        """
        low, high = self.backbone(images)
        features = self.dropout(self.afnb(low, high))
        features = self.apnb(self.reduce(features))
        main = self.classifier(self.dropout(features))
        aux = self.auxiliary(low) if self.training and self.auxiliary else None
        return Logits(main, aux).resize(size or images.shape[2:], self.config.align_corners)
