"""Sliders for what attention costs. No maths: state -> picture is in figures."""

from annlib.course.controls.explorer import Explorer, choice
from annlib.course.families import FAMILIES
from annlib.course.figures.cheap_attention import cost_curves, say_costs
from annlib.course.plots import Picture

SHOWN = ("non-local", "anchors", "landmarks", "windows", "criss-cross", "kernel")
SIDES = (16, 32, 64, 96, 128, 256)
CHANNELS = (16, 32, 64, 128, 256, 512)


class CostSliders(Explorer):
    """Sliders for channels, map, and the sizes of the methods that have one.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "channels": choice("C", CHANNELS, 64),
            "side": choice("map height", SIDES, 64),
            "anchors": choice("anchors", FAMILIES["anchors"].options, 110),
            "window": choice("window side", (2, 4, 8, 16), 4),
        }
        super().__init__(controls, self.draw)

    def draw(self, channels: int, side: int, anchors: int, window: int) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the controls."""
        sizes = {"anchors": anchors, "windows": window, "criss-cross": 2, "landmarks": 8}
        options = {name: sizes.get(name, 1) for name in SHOWN}
        return cost_curves(channels, options, side), say_costs(channels, options, side)
