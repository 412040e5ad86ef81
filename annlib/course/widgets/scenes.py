"""A few pixels whose predicted classes the learner paints; matrix and mIoU follow."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
from matplotlib.colors import to_hex

from annlib.config import IGNORE_INDEX
from annlib.course.controls.shown import Shown
from annlib.course.figures.confusion import confusion, on, painted, say_scores
from annlib.course.plots import Picture
from annlib.data.scenes import PALETTE

NAMES = ("sky", "house", "road", "car")  # there is no car in the truth
COLOURS = PALETTE[[0, 7, 1, 3]] / 255
LETTERS = "SHRC"
TRUTH = ("SSSSSS", "SSSHHS", "SS.HHS", "RRRRRR")  # the dot is 255
START = ("SSSSSS", "SSSSHS", "SSHHHS", "RRRRRR")
CELL = {"width": "3em", "height": "2.2em", "margin": "1px"}


def classes_of(rows: Sequence[str]) -> np.ndarray:
    """Letters -> class indices, the dot 255.  -> int64 (h, w)"""
    table = {letter: index for index, letter in enumerate(LETTERS)} | {".": IGNORE_INDEX}
    return np.array([[table[letter] for letter in row] for row in rows])


class PaintPrediction(Shown):
    """A brush, one button a pixel, and what the matrix makes of it.

    Keyboard: Tab to the brush and the arrow keys; Tab to a pixel and Space. The state is told in
    words, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.brush = brush()
        self.cells = [[self.cell(y, x) for x in range(6)] for y in range(4)]
        fills = {"as at the start": START, "all sky": ("SSSSSS",) * 4, "as the truth": TRUTH}
        self.fills = [self.fill(name, rows) for name, rows in fills.items()]
        self.place(self.brush, *map(ipywidgets.HBox, self.cells), ipywidgets.HBox(self.fills))
        self.show_rows(START)

    def cell(self, y: int, x: int) -> ipywidgets.Button:
        button = ipywidgets.Button(layout=CELL)
        self.on_click(button, lambda _: self.paint(y, x))
        return button

    def fill(self, name: str, rows: Sequence[str]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=name)
        self.on_click(button, lambda _: self.show_rows([row.replace(".", "S") for row in rows]))
        return button

    def paint(self, y: int, x: int) -> None:
        """The pixel in row y, column x, both from 0, gets the class of the brush."""
        rows = list(self.rows)
        rows[y] = rows[y][:x] + self.brush.value + rows[y][x + 1 :]
        self.show_rows(rows)

    def show_rows(self, rows: Sequence[str]) -> None:
        """A prediction, such as ("SSSSSS", "SSSHHS", ...), on the buttons and in the picture."""
        self.rows = tuple(rows)
        self.colour_cells()
        self.refresh(self.draw)

    def colour_cells(self) -> None:
        """Letter, colour and tooltip of each button."""
        for y, (row, cells) in enumerate(zip(self.rows, self.cells, strict=True)):
            for x, (letter, button) in enumerate(zip(row, cells, strict=True)):
                index = LETTERS.index(letter)
                with button.hold_sync(), button.style.hold_sync():  # one message each, not two
                    button.description = letter
                    button.tooltip = f"row {y + 1}, column {x + 1}: {NAMES[index]}"
                    button.style.button_color = to_hex(COLOURS[index])
                    button.style.text_color = on(COLOURS, index)["color"]

    def draw(self) -> tuple[Picture, str]:
        """The matrix and the sentence for what is painted."""
        labels, prediction = classes_of(TRUTH), classes_of(self.rows)
        said = say_scores(confusion(labels, prediction, len(NAMES)), NAMES)
        return painted(labels, prediction, NAMES, COLOURS), said


def brush() -> ipywidgets.ToggleButtons:
    """The class that the next pixel gets."""
    return ipywidgets.ToggleButtons(
        options=[
            (f"{name} ({name[0].upper()})", letter)
            for name, letter in zip(NAMES, LETTERS, strict=True)
        ],
        description="brush",
        style={"button_width": "7em"},
    )


def paint_prediction() -> PaintPrediction:
    """Paint the prediction of 4 x 6 pixels and see accuracy, IoU and mIoU follow."""
    return PaintPrediction()
