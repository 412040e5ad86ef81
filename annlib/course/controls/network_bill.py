"""Which part of a whole network pays: a menu of heads, a slider for the picture."""

from annlib.course.bills import HEADS, network_bill
from annlib.course.controls.explorer import Explorer, choice, menu
from annlib.course.figures.bills import part_bars, say_parts
from annlib.course.plots import Picture

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
