"""Seeds derived from the place in the work (run, step, sample), so that a resumed run repeats."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_for(*key: int | str) -> int:
    """A seed made from names and numbers: other keys give unrelated seeds, everywhere the same."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=7).digest())


@contextmanager
def seeded(*key: int | str, device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch (and a CUDA device) is seeded from `key`; afterwards the old state is back."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed_for(*key))  # torch.manual_seed: all devices'
        for cuda in devices:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(seed_for(*key))
        yield
