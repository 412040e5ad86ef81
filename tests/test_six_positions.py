"""The playground of six positions follows its controls, and says what it shows."""

from collections.abc import Iterator
from itertools import product

import ipywidgets
import pytest
import torch

from annlib.course.controls import six_positions as widget_file
from annlib.course.controls.six_positions import ANSWERS, ASKS, BOTH, SixPositions
from annlib.course.figures.six_positions import say_position, weights_among

NAMES = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
FEATURES = torch.tensor(
    [[6.0, 0, 0, 0, 6, 0], [0, 6.0, 0, 0, 0, 6], [1.0, 1, 0, 0, 1, 1]],
)


@pytest.fixture(autouse=True)
def no_widget_survives() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The alternative texts of all pictures displayed, in order."""
    texts: list[str] = []
    monkeypatch.setattr(widget_file, "display", lambda picture: texts.append(picture.alt))
    return texts


def playground() -> SixPositions:
    return SixPositions(FEATURES, ["how blue", "how red", "a thing"], NAMES)


def test_rows_sum_to_one_at_any_factor() -> None:
    for factor in (0.0, 1.0, 4.0):
        weights = weights_among(FEATURES, FEATURES, factor)
        assert torch.allclose(weights.sum(-1), torch.ones(6))


def test_it_starts_as_the_lesson_does(drawn: list[str], capsys: pytest.CaptureFixture) -> None:
    playground()
    assert len(drawn) == 1 and "6 x 6 weights" in drawn[0]
    assert "red house looks most at red balloon" in capsys.readouterr().out


def test_asking_only_changes_one_row_and_answering_only_one_column(drawn: list[str]) -> None:
    box = playground()
    box.controls["role"].value = ASKS
    box.controls["feature_0"].value = 8.0
    assert "red house looks most at blue" in drawn[-1] and "blue house looks most" in drawn[-1]
    before = drawn[-1].split("blue house looks")[1].split(";")[0]
    box.controls["role"].value = BOTH
    assert drawn[-1].split("blue house looks")[1].split(";")[0] != before


def test_all_states_can_be_drawn(drawn: list[str]) -> None:
    box = playground()
    roles, factors = (BOTH, ASKS, ANSWERS), (0.0, 0.25, 4.0)
    for role, factor, value in product(roles, factors, (0.0, 8.0)):
        box.draw(value, 0.0, value, role, factor)
    assert all(alt.startswith("Six positions") for alt in drawn)


def test_scores_times_zero_look_at_all_evenly() -> None:
    assert "entropy 2.58 bits" in say_position(FEATURES, FEATURES, NAMES, 0.0, at=5)


def test_a_closed_playground_listens_no_more(drawn: list[str]) -> None:
    box = playground()
    control = box.controls["factor"]
    box.close()
    control.value = 0.25
    assert len(drawn) == 1
