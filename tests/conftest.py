"""What holds for every test."""

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """The same random numbers whenever and in whatever order a test runs."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the browser is. Without one a test is skipped; on a CI machine that is a failure."""
    from annlib.course.browsing.lab import chromium  # only the course needs Jupyter's packages

    try:
        return chromium()
    except FileNotFoundError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))
