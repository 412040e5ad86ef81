"""What holds for every test."""

import pytest
import torch


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """The same random numbers whenever and in whatever order a test runs."""
    torch.manual_seed(0)
