"""Figures and widgets of lesson 01: numbers as annlib counts them, every state drawn."""

from collections.abc import Iterator

import ipywidgets
import numpy as np
import pytest
import torch
from shown_in import alt

from annlib.course.plots.metrics import chosen_scenes, confusion_matrix, painted
from annlib.course.widgets.scenes import (
    COLOURS,
    LETTERS,
    PaintPrediction,
    choose_scenes,
    classes_of,
)
from annlib.engine.metrics import ConfusionMatrix

NAMES = ("sky", "house", "road", "car")


@pytest.fixture(autouse=True)
def no_widget_survives() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def some_counts(num_scenes: int = 5) -> torch.Tensor:
    counts = torch.randint(0, 9, (num_scenes, 4, 4))
    counts[:, 3] = counts[:, :, 3] = 0  # no car anywhere
    return counts


def test_scores_are_told_with_a_dash_for_what_is_not_there() -> None:
    labels, prediction = classes_of(["SSH.", "RRRR"]), classes_of(["SSSS", "RRRR"])
    said = painted(labels, prediction, NAMES, COLOURS).alt
    assert "Pixel accuracy 6 / 7" in said and "car -" in said and "mean of 3 classes: 0.556" in said


def test_shares_of_the_matrix_are_told_row_by_row() -> None:
    matrix = ConfusionMatrix(2)
    matrix.counts = torch.tensor([[3, 1], [0, 4]])
    assert "sky 75 %, road 100 %" in confusion_matrix(matrix, ("sky", "road"), "FCN").alt


@pytest.mark.parametrize(("first", "number"), [(0, 5), (4, 1), (2, 3)])
def test_chosen_scenes_compare_one_matrix_with_the_mean(first: int, number: int) -> None:
    said = chosen_scenes(some_counts(), first, number, NAMES, "fcn", "FCN").alt
    assert f"Scenes {first} to {first + number - 1}" in said
    assert ("as high as it" in said) or number > 1  # one scene: both are the same


def test_the_painting_starts_with_one_mistake() -> None:
    assert "22 / 23" in alt(PaintPrediction())


def test_each_pixel_takes_the_class_of_the_brush() -> None:
    painting = PaintPrediction()
    for y, letter in enumerate(LETTERS):
        painting.brush.value = letter
        painting.cells[y][y].click()
        assert painting.rows[y][y] == painting.cells[y][y].description == letter


def test_a_pixel_without_a_label_moves_no_score() -> None:
    painting = PaintPrediction()
    before, rows = painting.words(), painting.rows
    painting.brush.value = "C"
    painting.cells[2][2].click()
    assert painting.words() == before and painting.rows != rows


@pytest.mark.parametrize(("index", "right"), [(1, 13), (2, 23)])
def test_the_fills_are_what_they_say(index: int, right: int) -> None:
    painting = PaintPrediction()
    painting.fills[index].click()
    assert f"{right} / 23" in alt(painting)


def test_a_closed_painting_hears_no_click() -> None:
    painting = PaintPrediction()
    painting.close()
    before = painting.rows
    painting.fills[1].click()
    assert painting.rows == before


def test_the_scene_chooser_ends_at_the_last_scene() -> None:
    chooser = choose_scenes({"FCN": ("fcn", some_counts()), "ANN": ("ann", some_counts())}, NAMES)
    chooser.controls["first"].value = 3
    chooser.controls["network"].value = "ANN"
    assert "ANN. Scenes 3 to 4" in alt(chooser) and "mIoU by one matrix" in alt(chooser)
    chooser.controls["number"].value = 1
    assert "Scenes 3 to 3" in alt(chooser)


def test_labels_of_a_painting_are_class_indices() -> None:
    assert np.array_equal(classes_of(["S.", "HR"]), [[0, 255], [1, 2]])
