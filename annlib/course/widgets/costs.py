"""Widgets about costs: of attention, of networks, of folding, and before a run."""

from collections.abc import Sequence

import ipywidgets
import torch

from annlib.course.costs import HEADS, Setting, block_shape, network_bill, step_gflops
from annlib.course.efficient import FAMILIES
from annlib.course.plots.costs import (
    cost_curves,
    memory_bar,
    part_bars,
    say_bills,
    say_estimate,
    say_parts,
    say_times,
)
from annlib.course.plots.efficient import (
    before_after,
    method_cost_curves,
    say_before_after,
    say_costs,
)
from annlib.course.plots.scenes import Picture
from annlib.course.preflight import GPUS, PRECISIONS, estimate
from annlib.course.scaling import Times, timed
from annlib.course.widgets.base import Explorer, choice, menu
from annlib.zoo import ROWS

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


SHOWN = ("non-local", "anchors", "landmarks", "windows", "criss-cross", "kernel")
SLIDER_SIDES = (16, 32, 64, 96, 128, 256)
SLIDER_CHANNELS = (16, 32, 64, 128, 256, 512)


class CostSliders(Explorer):
    """Sliders for channels, map, and the sizes of the methods that have one.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "channels": choice("C", SLIDER_CHANNELS, 64),
            "side": choice("map height", SLIDER_SIDES, 64),
            "anchors": choice("anchors", FAMILIES["anchors"].options, 110),
            "window": choice("window side", (2, 4, 8, 16), 4),
        }
        super().__init__(controls, self.draw)

    def draw(self, channels: int, side: int, anchors: int, window: int) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the controls."""
        sizes = {"anchors": anchors, "windows": window, "criss-cross": 2, "landmarks": 8}
        options = {name: sizes.get(name, 1) for name in SHOWN}
        return method_cost_curves(channels, options, side), say_costs(channels, options, side)


SIZES = {f"{h} x {w}": (h, w) for h, w in ((128, 192), (256, 512), (512, 1024), (1024, 2048))}
BLOCKS = ("afnb", "apnb", "context")  # the parts of a network that attend


class NetworkBill(Explorer):
    """Operations of each part of ANN-R-50, counted, for a picture and a head of your choice.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "head": menu("head", HEADS),
            "size": choice("picture", SIZES, (512, 1024)),
        }
        super().__init__(controls, self.draw)

    def draw(self, head: str, size: tuple[int, int]) -> tuple[Picture, str, str]:
        """The bars and the sentence for one state of the controls."""
        values = network_bill(head, size)
        title = f"{head}, one picture of {size[0]} x {size[1]}"
        attending = sum(value for name, value in values.items() if name in BLOCKS)
        return (
            part_bars(values, title, "GFLOPs", BLOCKS),
            say_parts(values, title, "GFLOPs"),
            f"The attending blocks take {attending / sum(values.values()):.0%} of all.",
        )


BLOCK_SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 256)
BLOCK_CHANNELS = (64, 128, 256, 512, 1024, 2048)


class FoldBill(Explorer):
    """Block, H, W and channels; a pair of bars for each step.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "name": menu("block", ("AFNB", "APNB")),
            "height": choice("H", BLOCK_SIDES, 64),
            "width": choice("W", BLOCK_SIDES, 128),
            "channels": choice("channels", BLOCK_CHANNELS, 2048),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, height: int, width: int, channels: int) -> tuple[Picture, str]:
        """The bars and the sentence for one state of the controls."""
        shape = block_shape(name, (height, width), channels)
        before, after = step_gflops(shape, folded=False), step_gflops(shape, folded=True)
        title = f"{name}, map {height} x {width}, {channels} channels"
        return before_after(before, after, title), say_before_after(before, after, title)


class Preflight(Explorer):
    """Row, GPU, pictures at a time and precision; memory, hours and disk as bar and as words.

    Keyboard: Tab to a control, then the arrow keys.
    """

    def __init__(self) -> None:
        controls = {
            "name": menu("row", [row.name for row in ROWS]),
            "gpu": menu("GPU", GPUS),
            "batch": choice("pictures", (1, 2, 4, 8, 16), 2),
            "precision": menu("precision", PRECISIONS),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, gpu: str, batch: int, precision: str) -> tuple[Picture, str]:
        """The bar and the sentences for one state of the controls."""
        found = estimate(name, GPUS[gpu], batch, precision)
        return memory_bar(found, f"{batch} at a time, {precision}"), say_estimate(found)


def preflight() -> Preflight:
    """Choose a row, a GPU, a batch and a precision; see whether it fits, and for how long."""
    return Preflight()
