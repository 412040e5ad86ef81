"""Checkers of lesson 00: the set-up, and a first query pixel."""

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention, class_masses
from annlib.course.checks.base import check_pixel, expect, text
from annlib.course.lesson import say
from annlib.course.plots.scenes import say_attention
from annlib.data.balloon_town.layout import BALLOONS, CLASS_NAMES, HOUSES, Scene


def click_arrived(clicked: bool) -> None:
    """The round trip from the browser to Python; without a click it does not stop Run All."""
    expect(isinstance(clicked, bool), "not of the button", clicked)
    say(text("widgets work" if clicked else "no click yet"))


def house_pixel(pixel: tuple[int, int], scene: Scene, attention: Attention) -> None:
    """Whether (row, column) is on a house and attends most to a class of balloons."""
    check_pixel(pixel, scene.labels.shape)
    (row, column), height = pixel, scene.labels.shape[0]
    label = scene.labels[row, column]
    found = "a border" if label == IGNORE_INDEX else CLASS_NAMES[label]
    swapped = column < height and scene.labels[column, row] in HOUSES
    hint = " Did you write the column first?" if swapped else " Houses stand just above the road."
    expect(label in HOUSES, f"Row {row}, column {column} is {found}, not a house.{hint}")
    first = next(iter(class_masses(attention.map_at(*pixel), scene.labels)))
    said = say_attention(attention, scene.labels, *pixel)
    expect(first in [CLASS_NAMES[one] for one in BALLOONS], "balloon not first", said, first)
    say(f"A good query position. {said}")
