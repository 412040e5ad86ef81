"""Random numbers of the reference, for the cases that were stored with it."""

import numpy as np
import pytest

from annlib.data import transforms


def numpys_dice(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The reference's random numbers in the place of torch's."""
    random = np.random.RandomState(seed)
    for module in (transforms, transforms):
        monkeypatch.setattr(module, "uniform", random.uniform)
        monkeypatch.setattr(module, "chance", lambda probability: bool(random.randint(2)))
        monkeypatch.setattr(module, "randint", lambda low, high: int(random.randint(low, high + 1)))
