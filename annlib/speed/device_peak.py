"""The fastest that a device multiplies matrices and copies memory: what all else is a share of."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch.nn.functional import conv2d

from annlib.config import Precision
from annlib.engine.benchmark import time_calls
from annlib.engine.precision import DTYPES

REPEAT = 10
SIDE = {"cpu": 2048, "cuda": 8192}  # of square matrices: more is no faster
COPIED_MIB = {"cpu": 256, "cuda": 2048}  # more than any cache holds


class DevicePeak(NamedTuple):
    """Measured, not looked up."""

    gflops: dict[Precision, float]  # 10^9 operations a second, 2 for a multiply-add
    gigabytes: float  # 10^9 bytes a second, read and written together


@contextmanager
def products_like_convolutions() -> Iterator[None]:
    """Matrix products may round to TF32 inside if convolutions may: a GPU's fp32 is both."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def matrix_gflops(device: torch.device, precision: Precision, side: int) -> float:
    """10^9 operations a second of a product of two square matrices, the fastest of some.

    As such and as a convolution of 1 x 1: a CPU has a library for each, and one may be faster.
    """
    dtype = DTYPES.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    # A row of pixels, channels last: the same numbers in the same places.
    pixels, weights = a.mT[None, :, None], b.mT[:, :, None, None]
    with torch.inference_mode(), products_like_convolutions():
        milliseconds = min(
            time_calls(call, device, REPEAT).fastest
            for call in (lambda: a @ b, lambda: conv2d(pixels, weights))
        )
    return 2 * side**3 / milliseconds / 1e6


def copy_gigabytes(device: torch.device, mebibytes: int) -> float:
    """10^9 bytes a second that a copy reads and writes, the fastest of some."""
    source = torch.ones(mebibytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    milliseconds = time_calls(lambda: target.copy_(source), device, REPEAT).fastest
    return 2 * source.numel() / milliseconds / 1e6


def device_peak(device: torch.device, precisions: Iterable[Precision]) -> DevicePeak:
    """Measured with all threads that torch uses now."""
    return DevicePeak(
        {name: matrix_gflops(device, name, SIDE[device.type]) for name in precisions},
        copy_gigabytes(device, COPIED_MIB[device.type]),
    )
