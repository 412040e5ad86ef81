"""Sliders for a block's maps and channels, and its operations before and after folding."""

from annlib.course.controls.explorer import Explorer, choice, menu
from annlib.course.figures.orders import before_after, say_before_after
from annlib.course.folding_bill import block_shape, step_gflops
from annlib.course.plots import Picture

SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 256)
CHANNELS = (64, 128, 256, 512, 1024, 2048)


class FoldBill(Explorer):
    """Block, H, W and channels; a pair of bars for each step.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "name": menu("block", ("AFNB", "APNB")),
            "height": choice("H", SIDES, 64),
            "width": choice("W", SIDES, 128),
            "channels": choice("channels", CHANNELS, 2048),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, height: int, width: int, channels: int) -> tuple[Picture, str]:
        """The bars and the sentence for one state of the controls."""
        shape = block_shape(name, (height, width), channels)
        before, after = step_gflops(shape, folded=False), step_gflops(shape, folded=True)
        title = f"{name}, map {height} x {width}, {channels} channels"
        return before_after(before, after, title), say_before_after(before, after, title)
