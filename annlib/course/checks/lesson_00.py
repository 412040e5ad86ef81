"""Checkers of lesson 00: the set-up, and a first query pixel."""

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention
from annlib.course.attention_metrics import class_masses
from annlib.course.checks.base import expect
from annlib.course.lesson import say
from annlib.course.plots.scenes import say_attention
from annlib.data.balloon_town.layout import BALLOONS, CLASS_NAMES, HOUSES, Scene


def click_arrived(clicked: bool) -> None:
    """The round trip from the browser to Python."""
    expect(
        isinstance(clicked, bool),
        f"The check wants machine.clicked, which the button sets; it was given {clicked!r}.",
    )
    expect(
        clicked,
        "No click has arrived yet. Run the cell with the button, click it, then run this check. If "
        "the button does not show, or clicks do nothing: Kernel > Restart, reload the page, and "
        "open the notebook in JupyterLab (python -m jupyterlab), not in a preview.",
    )
    say("The way from your browser to Python and back works. Every later widget takes it.")


def house_pixel(pixel: tuple[int, int], scene: Scene, attention: Attention) -> None:
    """Whether (row, column) is on a house and looks more at a class of balloons than elsewhere."""
    check_on_house(pixel, scene)
    first = next(iter(class_masses(attention.picture(*pixel), scene.labels)))
    said = say_attention(attention, scene.labels, *pixel)
    expect(
        first in [CLASS_NAMES[balloon] for balloon in BALLOONS],
        f"{said} So most of it goes to {first}, to no balloon. Go towards the middle of a wall, "
        "for at the edge of a house a position sees more than the house; or try another house.",
    )
    say(f"A good place to ask from. {said}")


def check_on_house(pixel: tuple[int, int], scene: Scene) -> None:
    expect(pixel is not ..., "Write the row and the column of a pixel in place of the three dots.")
    expect(
        isinstance(pixel, tuple) and len(pixel) == 2 and all(isinstance(n, int) for n in pixel),
        f"A pixel is (row, column): two whole numbers in round brackets. You wrote {pixel!r}.",
    )
    (row, column), (height, width) = pixel, scene.labels.shape
    expect(
        0 <= row < height and 0 <= column < width,
        f"Row {row}, column {column} is outside: rows go from 0 to {height - 1}, columns from 0 to "
        f"{width - 1}. The row comes first, and row 0 is at the top.",
    )
    label = scene.labels[row, column]
    found = "a border" if label == IGNORE_INDEX else CLASS_NAMES[label]
    swapped = column < height and scene.labels[column, row] in HOUSES
    hint = " Did you write the column first?" if swapped else " Houses stand just above the road."
    expect(label in HOUSES, f"Row {row}, column {column} is {found}, not a house.{hint}")
