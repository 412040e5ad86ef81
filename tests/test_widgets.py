"""Widgets show a picture at once, follow their controls, and leave each other alone."""

from collections.abc import Iterator

import ipywidgets
import pytest
import torch

from annlib.course.attention import Attention
from annlib.course.checks import NotYet
from annlib.course.controls import query_sliders as sliders_file
from annlib.course.controls.query_sliders import QuerySliders, query_sliders
from annlib.course.controls.set_up import SetUp, set_up
from annlib.course.predictions import Predictions
from annlib.data.scenes import make_scene

SCENE = make_scene(5)


@pytest.fixture(autouse=True)
def no_widget_survives() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The alternative texts of all pictures displayed, in order."""
    texts: list[str] = []
    monkeypatch.setattr(sliders_file, "display", lambda picture: texts.append(picture.alt))
    return texts


def evenly(pool_scales: tuple[int, ...] | None = None) -> Attention:
    num_answering = 384 if pool_scales is None else sum(n * n for n in pool_scales)
    weights = torch.rand(384, num_answering).softmax(-1)
    return Attention(weights, (16, 24), (128, 192), pool_scales)


def sliders() -> QuerySliders:
    return QuerySliders(
        SCENE, {"first": ("nonlocal", evenly()), "second": ("afnb", evenly((1, 3, 6, 8)))}
    )


def test_a_picture_is_shown_before_anything_is_moved(drawn: list[str]) -> None:
    sliders()
    assert len(drawn) == 1 and "looks most" in drawn[0]


def test_the_first_question_comes_from_a_house(drawn: list[str]) -> None:
    explorer = sliders()
    y, x = explorer.controls["y"].value, explorer.controls["x"].value
    assert SCENE.mask(SCENE.houses[0])[y, x]


def test_the_sliders_cover_the_picture() -> None:
    explorer = sliders()
    assert (explorer.controls["y"].min, explorer.controls["y"].max) == (0, 127)
    assert (explorer.controls["x"].min, explorer.controls["x"].max) == (0, 191)


@pytest.mark.parametrize(
    ("control", "value"), [("y", 0), ("x", 191), ("name", "second"), ("factor", 0.0)]
)
def test_each_control_draws_anew(control: str, value: object, drawn: list[str]) -> None:
    explorer = sliders()
    explorer.controls[control].value = value
    assert len(drawn) == 2
    if control in ("y", "x"):
        assert f"{'row' if control == 'y' else 'column'} {value}" in drawn[1]


def test_the_state_is_told_in_words(drawn: list[str], capsys: pytest.CaptureFixture) -> None:
    sliders()
    assert "Entropy" in capsys.readouterr().out


def test_two_instances_do_not_disturb_each_other(drawn: list[str]) -> None:
    first, second = sliders(), sliders()
    before = second.controls["y"].value
    first.controls["y"].value = 0
    assert second.controls["y"].value == before and len(drawn) == 3


def test_a_closed_widget_listens_no_more(drawn: list[str]) -> None:
    explorer = sliders()
    control = explorer.controls["y"]
    explorer.close()
    control.value = 0
    assert len(drawn) == 1


def test_an_error_while_drawing_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = sliders()

    def broken(*args: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(sliders_file, "say_choice", broken)
    with pytest.raises(RuntimeError, match="broken"):  # in a kernel: shown in the widget
        explorer.controls["y"].value = 0


def test_each_block_of_each_model_is_in_the_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    from annlib.experiments import town
    from annlib.model.baselines import build_model

    models = {name: build_model(town(name).model) for name in ("ann", "nonlocal")}
    explorer = query_sliders(models, SCENE)
    assert list(explorer.choices) == ["ann, AFNB", "ann, APNB", "nonlocal"]
    assert [block for block, _ in explorer.choices.values()] == ["afnb", "apnb", "nonlocal"]


def test_a_click_is_noticed_and_answered(capsys: pytest.CaptureFixture) -> None:
    shown = set_up()
    assert "PyTorch" in capsys.readouterr().out
    assert not shown.clicked
    shown.button.click()
    assert shown.clicked and "✓" in shown.light.value


def test_a_closed_set_up_hears_no_click() -> None:
    shown = SetUp()
    shown.close()
    shown.button.click()
    assert not shown.clicked


# Predictions


def test_a_prediction_comes_before_its_answer(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(NotYet, match="comes first"):
        Predictions().compare("0.1", ..., 42)
    assert "42" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("guess", "outcome", "tolerance", "agrees"),
    [(0.3, 0.33, 0.25, True), (0.9, 0.33, 0.25, False), (1, 1, 0.0, True), (2, 1, 0.0, False)],
)
def test_numbers_agree_within_their_tolerance(
    guess: float, outcome: float, tolerance: float, agrees: bool, capsys: pytest.CaptureFixture
) -> None:
    predictions = Predictions()
    predictions.compare("1", guess, outcome, tolerance=tolerance)
    assert predictions.as_expected == {"1": agrees}
    assert ("As you expected" in capsys.readouterr().out) == agrees


def test_words_are_compared_with_the_outcome() -> None:
    predictions = Predictions()
    predictions.compare("1", "fall", "fall", options=("fall", "rise"))
    predictions.compare("2", "rise", "fall", options=("fall", "rise"))
    assert predictions.as_expected == {"1": True, "2": False}


@pytest.mark.parametrize(("guess", "options"), [("up", ("fall", "rise")), ("three", ())])
def test_an_answer_of_the_wrong_kind_is_asked_for_again(guess: str, options: tuple) -> None:
    with pytest.raises(NotYet, match="you wrote"):
        Predictions().compare("1", guess, "fall" if options else 3, options=options)


def test_the_summary_names_surprises(capsys: pytest.CaptureFixture) -> None:
    predictions = Predictions()
    predictions.compare("1", 3, 3)
    predictions.compare("2", 3, 4)
    capsys.readouterr()
    predictions.summary()
    assert capsys.readouterr().out == "2 predictions, 1 with a surprise.\nWorth a second look: 2.\n"
