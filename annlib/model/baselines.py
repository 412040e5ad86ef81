"""Baselines: no context (FCN), pooled context (PPM), the ordinary non-local block.

B batch, C channels, N = H * W positions of the map.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.config import ModelConfig
from annlib.model.ann import FCNHead, Logits, build_backbone, resize_bilinear
from annlib.model.asymmetric import APNB
from annlib.model.layers import ChannelDropout, checked_scales, classifier, conv_bn_relu


class NonLocalAttention(nn.Module):
    """Self-attention over N positions (Wang et al., CVPR 2018; this paper's equations 1 to 3)."""

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__()
        # Query and key, as in APNB, whose reference moves the statistics twice a step.
        self.to_key = conv_bn_relu(channels, key_channels, 1, momentum=0.19)
        self.to_value = nn.Conv2d(channels, value_channels, 1)
        self.to_output = nn.Conv2d(value_channels, channels, 1)
        for parameter in self.to_output.parameters():
            nn.init.zeros_(parameter)
        self.softmax = nn.Softmax(dim=-1)
        self.scale = key_channels**-0.5

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        key = self.to_key(features).flatten(2)  # (B, C, N)
        value = self.to_value(features).flatten(2)  # (B, Cv, N)
        weights = self.softmax((self.scale * key).mT @ key)  # (B, N, N)
        output = weights @ value.mT  # (B, N, Cv)
        output = rearrange(output, "b (h w) c -> b c h w", h=features.shape[2])
        return self.to_output(output)


class NonLocal(nn.Module):
    """The block that APNB makes cheap, fused in the same way as APNB."""

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__()
        self.attention = NonLocalAttention(channels, key_channels, value_channels)
        self.fuse = conv_bn_relu(2 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return self.fuse(torch.cat([self.attention(features), features], dim=1))


class PyramidPooling(nn.Module):
    """Pyramid pooling of PSPNet (Zhao et al., CVPR 2017): every position gets the same means."""

    def __init__(self, channels: int, pool_scales: tuple[int, ...], align_corners: bool):
        super().__init__()
        self.pool_scales, self.align_corners = checked_scales(pool_scales), align_corners
        each = channels // len(pool_scales)
        self.levels = nn.ModuleList([conv_bn_relu(channels, each, 1) for _ in pool_scales])
        self.fuse = conv_bn_relu(channels + each * len(pool_scales), channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        size = features.shape[2:]
        levels = [
            resize_bilinear(level(adaptive_avg_pool2d(features, scale)), size, self.align_corners)
            for scale, level in zip(self.pool_scales, self.levels, strict=True)
        ]
        return self.fuse(torch.cat([features, *levels], dim=1))


class Baseline(nn.Module):
    """ANN without its AFNB, and with another block, or none, in the place of its APNB."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        low, high = self.backbone.low_channels, self.backbone.high_channels
        hidden, keys, values = config.hidden_channels, config.key_channels, config.value_channels
        self.reduce = conv_bn_relu(high, hidden, 3)
        if config.head == "fcn":
            self.context = nn.Identity()
        elif config.head == "ppm":
            self.context = PyramidPooling(hidden, config.pool_scales, config.align_corners)
        elif config.head == "nonlocal":
            self.context = NonLocal(hidden, keys, values)
        elif config.head == "apnb":
            self.context = APNB(hidden, keys, values, config.pool_scales)
        else:
            raise ValueError(f"No baseline {config.head!r}: choose fcn, ppm, nonlocal or apnb.")
        self.dropout = ChannelDropout(config.dropout)
        self.classifier = classifier(hidden, config.num_classes)
        self.auxiliary: FCNHead | None = FCNHead(low, config)

    def forward(self, images: Tensor, size: Sequence[int] | None = None) -> Logits:
        """(B, 3, H, W) normalised -> logits of `size`, that of the images if None"""
        low, high = self.backbone(images)
        features = self.context(self.reduce(high))
        main = self.classifier(self.dropout(features))
        aux = self.auxiliary(low) if self.training and self.auxiliary else None
        return Logits(main, aux).resize(size or images.shape[2:], self.config.align_corners)
