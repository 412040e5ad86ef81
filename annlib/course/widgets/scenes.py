"""Widgets on scenes: choose scenes, paint a prediction, sliding windows, check of the set-up."""

import platform
from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import torch
from matplotlib.colors import to_hex
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.plots.metrics import (
    chosen_scenes,
    confusion,
    of_scenes,
    on,
    painted,
    say_chosen,
    say_scores,
)
from annlib.course.plots.scenes import Picture
from annlib.course.plots.windows import say_windows, window_map
from annlib.course.widgets.base import Explorer, Shown, choice, menu, slider
from annlib.data.balloon_town.layout import PALETTE


class ChooseScenes(Explorer):
    """A menu of networks, and two sliders that choose scenes.

    Keyboard: Tab to a control, then the arrow keys. The state is told in words, too.
    """

    def __init__(self, counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> None:
        """counts: network -> (block, for its colour, and matrices of its scenes (T, K, K))"""
        self.counts, self.names = counts, names
        num_scenes = min(len(one) for _, one in counts.values())
        controls = {
            "network": menu("network", counts),
            "first": slider("first scene", 0, num_scenes - 1),
            "number": slider("how many", num_scenes, num_scenes, first=1),
        }
        super().__init__(controls, self.draw)

    def draw(self, network: str, first: int, number: int) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the controls; the last scene ends it."""
        block, counts = self.counts[network]
        number = min(number, len(counts) - first)
        picture = chosen_scenes(counts, first, number, self.names, block, network)
        return picture, say_chosen(*of_scenes(counts, first, number), first)


def choose_scenes(counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> ChooseScenes:
    """Scores of each network over the scenes that the sliders choose."""
    return ChooseScenes(counts, names)


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


SHARES = {"1/3 of it": 1 / 3, "1/2": 1 / 2, "2/3": 2 / 3, "all of it": 1.0}


class WindowMap(Explorer):
    """Square windows as a share of the picture's height, their stride as a share of their side.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, image: np.ndarray) -> None:
        """image: uint8 (H, W, 3)"""
        self.image = image
        height = image.shape[0]
        sides = [max(8, int(height * share)) for share in (0.25, 0.375, 0.5, 0.75, 1.0, 1.5)]
        controls = {
            "side": choice("window", {f"{side} pixels": side for side in sides}, sides[3]),
            "share": choice("stride", SHARES, 2 / 3),
        }
        super().__init__(controls, self.draw)

    def draw(self, side: int, share: float) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the sliders."""
        stride = max(1, int(side * share + 0.5))
        said = say_windows(self.image.shape[:2], (side, side), (stride, stride))
        return window_map(self.image, (side, side), (stride, stride)), said


def window_sliders(image: np.ndarray) -> WindowMap:
    """Choose window and stride; see which pixels are scored how often, and what it costs."""
    return WindowMap(image)


class SetUp(Shown):
    """What this machine offers, one line each, and a button that tells if widgets get through."""

    def __init__(self) -> None:
        super().__init__()
        self.clicked = False
        self.button = ipywidgets.Button(description="Click me", button_style="primary")
        self.on_click(self.button, self.note_click)
        self.place(self.button)
        self.show(("○ Widgets: waiting for your click (or Tab, then Space).",))

    def note_click(self, button: ipywidgets.Button) -> None:
        self.clicked = True
        self.show(("✓ Widgets: your click has reached Python, and this answer you.",))


def set_up() -> SetUp:
    """Prints what this machine offers; returns the button to display."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none, and none is needed"
    print(f"✓ Python {platform.python_version()}, PyTorch {torch.__version__}")
    print(f"✓ {torch.get_num_threads()} CPU threads; GPU: {gpu}")
    return SetUp()
