"""Sliders for the size of a map, its channels and its anchors, and the bill for each form."""

from collections.abc import Sequence

import ipywidgets
import torch

from annlib.course.bills import Setting
from annlib.course.controls.explorer import Explorer, choice
from annlib.course.figures.bills import cost_curves, say_bills, say_times
from annlib.course.plots import Picture
from annlib.course.timing_here import Times, timed

SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
CHANNELS = (32, 64, 128, 256, 512)
GRIDS = ((1,), (1, 3), (1, 3, 6), (1, 3, 6, 8), (1, 3, 6, 8, 16), (1, 3, 6, 8, 16, 32))
LEVELS = {  # S -> the grids of which so many anchors are made
    f"{sum(side * side for side in grids)} ({', '.join(map(str, grids))})": grids for grids in GRIDS
}
CPU = torch.device("cpu")
MEASURE, BUSY = "Measure here", "Measuring ..."


class CostExplorer(Explorer):
    """H, W, C and S; operations, memory and time by formula, and a button that takes the time.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as sentences.
    """

    def __init__(self, memory: float, device: torch.device = CPU) -> None:
        """memory: bytes that are free here. device: that calls are timed on"""
        self.memory, self.device = memory, device
        self.times: Times | None = None
        self.button = ipywidgets.Button(description=MEASURE)
        controls = {
            "height": choice("H", SIDES, 128),
            "width": choice("W", SIDES, 256),
            "channels": choice("C", CHANNELS, 256),
            "grids": choice("S", LEVELS, (1, 3, 6, 8)),
        }
        super().__init__(controls, self.draw, (self.button,))
        self.on_click(self.button, self.measure)

    def measure(self, button: ipywidgets.Button) -> None:
        """Times both forms at the present state; the button rests meanwhile."""
        button.disabled, button.description = True, BUSY
        try:
            self.refresh(self.draw_timed)
        finally:
            button.disabled, button.description = False, MEASURE

    def draw_timed(self) -> Sequence[Picture | str]:
        """`draw` of the present state, after a measurement."""
        state = self.values()
        setting = as_setting(**state)
        self.times = timed(self.times, setting, self.memory, self.device)
        return self.draw(**state)

    def draw(
        self, height: int, width: int, channels: int, grids: tuple[int, ...]
    ) -> Sequence[Picture | str]:
        """The curves and the sentences for one state of the sliders."""
        setting = as_setting(height, width, channels, grids)
        said = (say_bills(setting, self.memory), say_times(setting, self.memory, self.times))
        curves = cost_curves(setting, self.memory, self.times)
        return curves, *(text.replace(". ", ".\n") for text in said)


def as_setting(height: int, width: int, channels: int, grids: tuple[int, ...]) -> Setting:
    """What the sliders say."""
    return Setting((height, width), channels, grids)
