"""Which part of a whole network pays: a menu of heads, a slider for the picture."""

import ipywidgets
from IPython.display import display

from annlib.course.bills import HEADS, network_bill
from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.bills import part_bars, say_parts
from annlib.course.lines import say

SIZES = {f"{h} x {w}": (h, w) for h, w in ((128, 192), (256, 512), (512, 1024), (1024, 2048))}
BLOCKS = ("afnb", "apnb", "context")  # the parts of a network that attend


class NetworkBill(Explorer):
    """Operations of each part of ANN-R-50, counted, for a picture and a head of your choice.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "head": ipywidgets.Dropdown(options=list(HEADS), description="head", layout=LONG),
            "size": ipywidgets.SelectionSlider(
                options=list(SIZES.items()),
                value=(512, 1024),
                description="picture",
                continuous_update=False,
                layout=LONG,
            ),
        }
        super().__init__(controls, self.draw)

    def draw(self, head: str, size: tuple[int, int]) -> None:
        """The bars and the sentence for one state of the controls."""
        values = network_bill(head, size)
        title = f"{head}, one picture of {size[0]} x {size[1]}"
        display(part_bars(values, title, "GFLOPs", BLOCKS))
        attending = sum(value for name, value in values.items() if name in BLOCKS)
        say(say_parts(values, title, "GFLOPs"))
        say(f"The attending blocks take {attending / sum(values.values()):.0%} of all.")
