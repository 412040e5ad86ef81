"""Operations of convolutions and matrix products, counted while they are computed."""

from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def added_product(into: Any, a: Any, b: Any, **others: Any) -> int:
    """(B, N, S) @ (B, S, C), added to what is there."""
    return 2 * prod(a) * b[-1]


def fused_attention(query: Any, key: Any, value: Any, *more: Any, **others: Any) -> int:
    """(..., N, C) @ (..., C, S), and its softmax @ (..., S, Cv)."""
    return 2 * prod(query) * key[-2] + 2 * prod(query[:-1]) * prod(value[-2:])


UNKNOWN = {  # to torch's counter, which knows the same work under other names
    torch.ops.aten.baddbmm_: added_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused_attention,
}


def operation_counter() -> FlopCounterMode:
    """Torch's counter, two for each multiply-add; counts inside a `with`, tells by get_total_flops.

    It misses nothing that annlib computes with, on a GPU, a CPU or the meta device.
    """
    return FlopCounterMode(display=False, custom_mapping=UNKNOWN)
