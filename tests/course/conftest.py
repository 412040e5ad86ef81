"""What holds for every test of the course."""

from collections.abc import Iterator

import ipywidgets
import pytest


@pytest.fixture(autouse=True)
def no_widget_survives() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()
