"""Half the bits where they suffice: convolutions and matrix products, not sums and norms."""

from contextlib import AbstractContextManager, nullcontext

import torch

from annlib.config import Precision

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Inside, the model computes in that precision; float32 needs nothing."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])
