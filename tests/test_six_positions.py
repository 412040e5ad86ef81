"""The playground of six positions follows its controls, and says what it shows."""

from collections.abc import Iterator
from itertools import product

import ipywidgets
import pytest
import torch
from shown_in import alt

from annlib.course.plots.attention import six_positions as drawn
from annlib.course.widgets.attention import BOTH, KEY, QUERY, six_positions
from annlib.course.widgets.base import Explorer

NAMES = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
FEATURES = torch.tensor(
    [[6.0, 0, 0, 0, 6, 0], [0, 6.0, 0, 0, 0, 6], [1.0, 1, 0, 0, 1, 1]],
)


@pytest.fixture(autouse=True)
def no_widget_survives() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def playground() -> Explorer:
    return six_positions(FEATURES, ["how blue", "how red", "a thing"], NAMES)


def test_it_starts_as_the_lesson_does() -> None:
    box = playground()
    assert "6 x 6 weights" in alt(box) and "red house attends most to red balloon" in box.words()


def test_query_only_changes_one_row_and_key_only_one_column() -> None:
    box = playground()
    box.controls["role"].value = QUERY
    box.controls["how blue"].value = 8.0
    assert "red house attends most to blue" in alt(box) and "blue house attends most" in alt(box)
    before = alt(box).split("blue house attends")[1].split(";")[0]
    box.controls["role"].value = BOTH
    assert alt(box).split("blue house attends")[1].split(";")[0] != before


def test_all_states_can_be_drawn() -> None:
    box = playground()
    roles, factors = (BOTH, QUERY, KEY), (0.0, 4.0)
    for role, factor, value in product(roles, factors, (0.0, 8.0)):
        features = {"how blue": value, "how red": 0.0, "a thing": value}
        assert box.draw(role, factor, **features)[0].alt.startswith("Six positions")


def test_scores_times_zero_look_at_all_evenly() -> None:
    assert "entropy 2.58 bits" in drawn(FEATURES, FEATURES, NAMES, 0.0)[1]
