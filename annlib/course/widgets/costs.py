"""Widgets about costs: of attention, of networks, of folding, and before a run."""

import ipywidgets
import torch

from annlib.course.costs import HEADS, Setting, Times, block_shape, network_bill, step_gflops, timed
from annlib.course.efficient import FAMILIES
from annlib.course.plots import costs as plots
from annlib.course.plots.style import FigureWithAlt
from annlib.course.row_costs import GPUS, PRECISIONS, estimate
from annlib.course.widgets.base import Explorer, Piece, choice, menu
from annlib.published_experiments import ROWS

SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
CHANNELS = (32, 64, 128, 256, 512)
GRIDS = ((1,), (1, 3), (1, 3, 6), (1, 3, 6, 8), (1, 3, 6, 8, 16), (1, 3, 6, 8, 16, 32))
LEVELS = {  # S -> the grids of which so many anchors are made
    f"{sum(side * side for side in grids)} ({', '.join(map(str, grids))})": grids for grids in GRIDS
}
CPU = torch.device("cpu")
MEASURE, BUSY = "Measure here", "Measuring ..."


class CostExplorer(Explorer):
    """Operations, memory and time by formula over H, W, C and S; a button measures the time."""

    def __init__(self, memory: float, device: torch.device = CPU) -> None:
        """memory: bytes that are free here. device: that calls are timed on"""
        self.memory, self.device = memory, device
        self.times: Times | None = None
        self.asked, self.button = False, ipywidgets.Button(description=MEASURE)
        sizes = choice("H", SIDES, 128), choice("W", SIDES, 256), choice("C", CHANNELS, 256)
        anchors = choice("S", LEVELS, (1, 3, 6, 8))
        super().__init__(self.draw, *sizes, anchors, rows=[self.button])
        self.on_click(self.button, self.measure)

    def measure(self) -> None:
        """Times both forms at the present state; the button rests meanwhile."""
        self.button.disabled, self.button.description, self.asked = True, BUSY, True
        try:
            self.redraw()
        finally:
            self.button.disabled, self.button.description, self.asked = False, MEASURE, False

    def draw(self, height: int, width: int, channels: int, grids: tuple[int, ...]) -> list[Piece]:
        setting = Setting((height, width), channels, grids)
        if self.asked:
            self.times = timed(self.times, setting, self.memory, self.device)
        figure = plots.cost_curves(setting, self.memory, self.times)
        return [figure, figure.alt.replace(". ", ".\n")]


SHOWN = ("non-local", "anchors", "landmarks", "windows", "criss-cross", "kernel")


def method_costs() -> Explorer:
    """Operations of efficient methods; sliders for channels, map, and sizes of methods."""

    def draw(channels: int, side: int, anchors: int, window: int) -> FigureWithAlt:
        options = dict(zip(SHOWN, (1, anchors, 8, window, 2, 1), strict=True))
        return plots.method_cost_curves(channels, options, side)

    size = choice("C", (16, *CHANNELS), 64), choice("map height", (16, 32, 64, 96, 128, 256), 64)
    anchors = choice("anchors", FAMILIES["anchors"].options, 110)
    return Explorer(draw, *size, anchors, choice("window side", (2, 4, 8, 16), 4))


SIZES = {f"{h} x {w}": (h, w) for h, w in ((128, 192), (256, 512), (512, 1024), (1024, 2048))}
BLOCKS = ("afnb", "apnb", "context")  # the parts of a network with attention


def network_cost() -> Explorer:
    """Operations of each part of ANN-R-50, counted, for an image size and a head."""

    def draw(head: str, size: tuple[int, int]) -> tuple[FigureWithAlt, str]:
        values = network_bill(head, size)
        title = f"{head}, one image of {size[0]} x {size[1]}"
        figure = plots.part_bars(values, title, "GFLOPs", BLOCKS)
        part = sum(values.get(name, 0) for name in BLOCKS) / sum(values.values())
        return figure, f"{figure.alt}\nThe attention blocks take {part:.0%} of all operations."

    return Explorer(draw, menu("head", HEADS), choice("image", SIZES, (512, 1024)))


def folding_cost() -> Explorer:
    """Operations of each step of a block, as it is written and folded."""

    def draw(name: str, height: int, width: int, channels: int) -> FigureWithAlt:
        shape = block_shape(name, (height, width), channels)
        title = f"{name}, map {height} x {width}, {channels} channels"
        return plots.before_after(step_gflops(shape, False), step_gflops(shape, True), title)

    sides = (8, 16, 24, 32, 48, 64, 96, 128, 256)
    size = choice("H", sides, 64), choice("W", sides, 128)
    channels = choice("channels", (64, 128, 256, 512, 1024, 2048), 2048)
    return Explorer(draw, menu("block", ("AFNB", "APNB")), *size, channels)


def preflight() -> Explorer:
    """Memory, hours and disk of a published row on a GPU, by batch size and precision."""

    def draw(name: str, gpu: str, batch: int, precision: str) -> FigureWithAlt:
        title = f"Batch of {batch}, {precision}"
        return plots.memory_bar(estimate(name, GPUS[gpu], batch, precision), title)

    name, batch = menu("row", [row.name for row in ROWS]), choice("batch size", (1, 2, 4, 8, 16), 2)
    return Explorer(draw, name, menu("GPU", GPUS), batch, menu("precision", PRECISIONS))
