"""Sliders for the size of a map, its channels and its anchors, and the bill for each form."""

import ipywidgets

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.bills import cost_curves, say_bills
from annlib.course.plots import Picture

SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
CHANNELS = (32, 64, 128, 256, 512)
LEVELS = {  # S -> the grids of which so many anchors are made
    "1 (1 x 1)": 1,
    "10 (1, 3)": 10,
    "46 (1, 3, 6)": 46,
    "110 (1, 3, 6, 8)": 110,
    "366 (1, 3, 6, 8, 16)": 366,
    "1390 (1, 3, 6, 8, 16, 32)": 1390,
}


class CostExplorer(Explorer):
    """H, W, C and S; predicted operations and memory, and a line at what this machine has.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as sentences.
    """

    def __init__(self, memory: float) -> None:
        """memory: bytes that are free here"""
        self.memory = memory
        controls = {
            "height": choices("H", SIDES, 128),
            "width": choices("W", SIDES, 256),
            "channels": choices("C", CHANNELS, 256),
            "anchors": choices("S", LEVELS, 110),
        }
        super().__init__(controls, self.draw)

    def draw(self, height: int, width: int, channels: int, anchors: int) -> tuple[Picture, str]:
        """The curves and the sentences for one state of the sliders."""
        said = say_bills((height, width), channels, anchors, self.memory)
        curves = cost_curves((height, width), channels, anchors, self.memory)
        return curves, said.replace(". ", ".\n")


def choices(name: str, options: object, value: int) -> ipywidgets.SelectionSlider:
    """A slider over a few values; redraws when it is let go."""
    if isinstance(options, dict):
        options = list(options.items())
    return ipywidgets.SelectionSlider(
        options=options, value=value, description=name, continuous_update=False, layout=LONG
    )
