"""Random numbers: as likely as they say, from end to end."""

import numpy as np
import pytest
import torch

from annlib.data.transforms import chance, randint, uniform


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_chance_is_as_large_as_it_says(probability: float) -> None:
    torch.manual_seed(0)
    draws = [chance(probability) for _ in range(2000)]
    assert np.mean(draws) == pytest.approx(probability, abs=0.04)


def test_whole_numbers_are_drawn_with_both_ends() -> None:
    torch.manual_seed(0)
    assert {randint(-18, 17) for _ in range(2000)} == set(range(-18, 18))


def test_uniform_numbers_fill_their_range() -> None:
    torch.manual_seed(0)
    draws = np.array([uniform(-32, 32) for _ in range(2000)])
    assert -32 <= draws.min() < -31 < 31 < draws.max() < 32
    assert abs(draws.mean()) < 2
