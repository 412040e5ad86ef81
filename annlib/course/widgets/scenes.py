"""Widgets on scenes and for the lesson: scores, a painted prediction, windows, set-up, guesses."""

import platform
from collections.abc import Mapping, Sequence
from functools import partial

import anywidget
import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.colors import to_hex
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.guesses import Predictions, said, say
from annlib.course.plots import scenes as plots
from annlib.course.plots.style import FigureWithAlt
from annlib.course.widgets import base
from annlib.course.widgets.base import Explorer, Piece, choice, html_table, menu, slider


def choose_scenes(counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> Explorer:
    """Scores over the scenes that sliders choose.  counts: network -> (block, (T, K, K))"""

    def draw(network: str, first: int, number: int) -> FigureWithAlt:
        block, matrices = counts[network]
        number = min(number, len(matrices) - first)
        return plots.chosen_scenes(matrices, first, number, names, block, network)

    number = min(len(one) for _, one in counts.values())
    sliders = slider("first scene", 0, number - 1), slider("how many", number, number, first=1)
    return Explorer(draw, menu("network", counts), *sliders)


TRUTH = ("SSSSSS", "SSSHHS", "SS.HHS", "RRRRRR")  # there is no car; the dot is 255
START = ("SSSSSS", "SSSSHS", "SSHHHS", "RRRRRR")
FILLS = {"as at the start": START, "all sky": ("SSSSSS",) * 4, "as the labels": TRUTH}


def classes_of(rows: Sequence[str]) -> np.ndarray:
    """First letters of classes -> their indices, the dot 255.  -> int64 (h, w)"""
    table = dict(zip("SHRC.", (0, 1, 2, 3, IGNORE_INDEX), strict=True))
    return np.array([[table[letter] for letter in row] for row in rows])


class PaintGrid(anywidget.AnyWidget):
    """A grid of classes, each by its first letter, that is painted by pointer or by keys."""

    _esm, _css = base.module("stage.js", "grid.js"), base.module("attention.css")
    rows = traitlets.List(traitlets.Unicode()).tag(sync=True)
    truth = traitlets.List(traitlets.Unicode(), list(TRUTH)).tag(sync=True)
    brush = traitlets.Unicode("S").tag(sync=True)
    classes = traitlets.List().tag(sync=True)  # of each: letter, name, colour, colour of the letter


class PaintPrediction(Explorer):
    """Paint the prediction of 4 x 6 pixels; accuracy, IoU and mIoU follow."""

    def __init__(self) -> None:
        colours, letters = map(to_hex, plots.COLOURS), [name[0].upper() for name in plots.PAINTED]
        inks = map(to_hex, plots.TEXT_COLOURS)
        classes = list(zip(letters, plots.PAINTED, colours, inks, strict=True))
        look = {"description": "brush", "style": {"button_width": "7em"}}
        options = [(f"{name} ({letter})", letter) for letter, name, *_ in classes]
        self.brush = ipywidgets.ToggleButtons(options=options, **look)
        self.grid = PaintGrid(rows=list(START), classes=classes)
        self.fills = [ipywidgets.Button(description=name) for name in FILLS]
        super().__init__(self.draw, rows=[self.brush, self.grid, ipywidgets.HBox(self.fills)])
        self.brush.observe(lambda change: setattr(self.grid, "brush", change["new"]), "value")
        self.grid.observe(base.in_this_thread(self.redraw), "rows")
        for button, rows in zip(self.fills, FILLS.values(), strict=True):
            self.on_click(button, partial(self.show_rows, rows))

    def show_rows(self, rows: Sequence[str]) -> None:
        """A prediction, such as ("SSSSSS", "SSSHHS", ...), in the grid and in the figure."""
        self.grid.rows = [row.replace(".", "S") for row in rows]

    def draw(self) -> FigureWithAlt:
        return plots.painted(classes_of(TRUTH), classes_of(self.grid.rows))


def window_sliders(image: np.ndarray) -> Explorer:
    """Choose window and stride; see how often each pixel is scored, and the cost.  (H, W, 3)"""

    def draw(side: int, stride: float) -> FigureWithAlt:
        step = max(1, int(side * stride + 0.5))
        return plots.window_map(image, (side, side), (step, step))

    sides = [max(8, int(image.shape[0] * part)) for part in (0.25, 0.375, 0.5, 0.75, 1.0, 1.5)]
    window = choice("window", {f"{side} pixels": side for side in sides}, sides[3])
    strides = {"1/3 of it": 1 / 3, "1/2": 1 / 2, "2/3": 2 / 3, "all of it": 1.0}
    return Explorer(draw, window, choice("stride", strides, 2 / 3))


class SetUp(Explorer):
    """A button that shows whether widgets reach Python."""

    def __init__(self) -> None:
        self.clicked = False
        self.button = ipywidgets.Button(description="Click me", button_style="primary")
        super().__init__(self.draw, rows=[self.button])
        self.on_click(self.button, self.note_click)

    def draw(self) -> list[str]:
        if self.clicked:
            return ["✓ Widgets: your click has reached Python, and this answer you."]
        return ["○ Widgets: waiting for your click (or Tab, then Space)."]

    def note_click(self) -> None:
        self.clicked = True
        self.redraw()


def set_up() -> SetUp:
    """Prints what this machine offers; returns the button to display."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none, and none is needed"
    print(f"✓ Python {platform.python_version()}, PyTorch {torch.__version__}")
    print(f"✓ {torch.get_num_threads()} CPU threads; GPU: {gpu}")
    return SetUp()


def prediction_ledger(predictions: Predictions) -> Explorer:
    """The table of a lesson's predictions, also of those that are compared after it is shown."""

    def draw(only_surprises: bool) -> Sequence[Piece]:
        if not predictions.compared:
            return ["No prediction has come out yet. Each will stand here once its cell has run."]
        rows = predictions.surprises if only_surprises else predictions.compared
        if not rows:
            return [f"{predictions.summary()} Clear the box to see them."]
        head, found = ("prediction", "you said", "it is", "so it was"), rows.items()
        verdicts = "≠ a surprise", "✓ as expected"
        lines = [(n, said(p), say(p.outcome), verdicts[p.as_expected]) for n, p in found]
        return html_table(head, lines), predictions.summary()

    layout = {"margin": "4px"}  # room for the ring that shows the focus
    box = ipywidgets.Checkbox(False, description="only surprises", indent=False, layout=layout)
    ledger = Explorer(draw, box)
    predictions.listeners.add(ledger.redraw)
    ledger.on_close.append(partial(predictions.listeners.discard, ledger.redraw))
    return ledger
