"""The ordinary non-local block as one would write it today: with one of torch's fused kernels."""

from einops import rearrange
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from annlib.model.baselines import NonLocalAttention

FUSED = [  # all but the one that writes the N x N weights down
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
]


class FusedNonLocalAttention(NonLocalAttention):
    """NonLocalAttention whose weights live in the cache, a few rows at a time, and never in memory.

    Memory grows with N, time with N * N as before. Raises ValueError for key and value channels
    that differ: the CPU's kernel takes only equal ones.
    """

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__(channels, key_channels, value_channels)
        if key_channels != value_channels:
            raise ValueError(
                f"{key_channels} key and {value_channels} value channels: torch's fused attention "
                "on a CPU wants as many of both. Compare at equal numbers, as the paper has them."
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        key, value = (
            rearrange(project(features), "b c h w -> b 1 (h w) c").contiguous()
            for project in (self.to_key, self.to_value)
        )  # (B, 1, N, C): one head; the kernels read the channels of a position side by side
        with sdpa_kernel(FUSED):
            context = scaled_dot_product_attention(key, key, value, scale=self.scale)
        context = rearrange(context, "b 1 (h w) c -> b c h w", h=features.shape[2])
        return self.to_output(context)
