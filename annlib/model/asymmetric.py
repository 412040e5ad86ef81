"""The paper: pyramid sampling, asymmetric attention, and the blocks AFNB and APNB.

B batch, C channels, H x W the query map, N = H * W its positions, S anchors (110 for 1, 3, 6, 8).
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.model.layers import checked_scales, conv_bn, conv_bn_relu


class PyramidPool(nn.Module):
    """Pools a map to the means of its cells, in grids of several sizes (paper, section 3.2)."""

    def __init__(self, pool_scales: tuple[int, ...]):
        super().__init__()
        self.pool_scales = checked_scales(pool_scales)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, S), coarsest grid first, each grid row by row"""
        return torch.cat([adaptive_avg_pool2d(x, n).flatten(2) for n in self.pool_scales], dim=-1)


class AsymmetricAttention(nn.Module):
    """Cross-attention from N query positions to S pooled key/value anchors.

    The output projection starts at zero, so that a new block passes its input on unchanged.
    Reference: mmseg/models/utils/self_attention_block.py.
    """

    def __init__(
        self,
        query_in_channels: int,
        key_in_channels: int,
        key_channels: int,
        value_channels: int,
        pool_scales: tuple[int, ...],
        share_query_key: bool,
    ):
        super().__init__()
        # The reference runs a shared projection twice a step, once as query, once as key, so its
        # running statistics move twice: 1 - (1 - 0.1)^2. We run it once.
        momentum = 0.19 if share_query_key else 0.1
        self.to_key = conv_bn_relu(key_in_channels, key_channels, 1, momentum=momentum)
        self.to_query = (
            None if share_query_key else conv_bn_relu(query_in_channels, key_channels, 1)
        )
        self.to_value = nn.Conv2d(key_in_channels, value_channels, 1)
        self.to_output = nn.Conv2d(value_channels, query_in_channels, 1)
        for parameter in self.to_output.parameters():
            nn.init.zeros_(parameter)
        self.pool = PyramidPool(pool_scales)
        self.softmax = nn.Softmax(dim=-1)  # a module of its own, so that a hook can watch it
        self.scale = key_channels**-0.5

    def forward(self, query_map: Tensor, key_map: Tensor) -> Tensor:
        """(B, Cq, H, W), (B, Ck, h, w) -> (B, Cq, H, W)"""
        key = self.to_key(key_map)  # (B, C, h, w)
        query = key if self.to_query is None else self.to_query(query_map)  # (B, C, H, W)
        key = self.pool(key)  # (B, C, S)
        value = self.pool(self.to_value(key_map))  # (B, Cv, S)

        # Scaling the query instead of the product saves a pass over the (B, N, S) weights.
        scores = (self.scale * query).flatten(2).mT @ key
        weights = self.softmax(scores)  # (B, N, S), rows sum to 1
        output = weights @ value.mT  # (B, N, Cv)
        output = rearrange(output, "b (h w) c -> b c h w", h=query.shape[2])
        return self.to_output(output)


class AFNB(nn.Module):
    """Asymmetric Fusion Non-local Block: high-level positions attend to low-level anchors."""

    def __init__(
        self,
        low_channels: int,
        high_channels: int,
        key_channels: int,
        value_channels: int,
        pool_scales: tuple[int, ...],
    ):
        super().__init__()
        self.attention = AsymmetricAttention(
            high_channels, low_channels, key_channels, value_channels, pool_scales, False
        )
        # No ReLU: the released models fuse without one, unlike APNB.
        self.fuse = conv_bn(2 * high_channels, high_channels, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, Ch, H, W)"""
        context = self.attention(high, low)
        return self.fuse(torch.cat([context, high], dim=1))


class APNB(nn.Module):
    """Asymmetric Pyramid Non-local Block: the positions of a map attend to its own anchors."""

    def __init__(
        self, channels: int, key_channels: int, value_channels: int, pool_scales: tuple[int, ...]
    ):
        super().__init__()
        # Released code: one projection for query and key. Accounts of the paper's Fig. 3 differ.
        self.attention = AsymmetricAttention(
            channels, channels, key_channels, value_channels, pool_scales, True
        )
        self.fuse = conv_bn_relu(2 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        context = self.attention(features, features)
        return self.fuse(torch.cat([context, features], dim=1))
