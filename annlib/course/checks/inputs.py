"""Random inputs of the checkers, which leave the lesson's seed alone."""

import torch
from torch import Tensor


def fresh() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


def draw(low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=fresh()))


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=fresh()))


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=fresh(), dtype=dtype)
