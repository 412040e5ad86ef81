"""Pre-flight: a published row on a GPU of your choice, before anything is started."""

import ipywidgets
from IPython.display import display

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.preflight import memory_bar, say_estimate
from annlib.course.lines import say
from annlib.course.preflight import GPUS, PRECISIONS, estimate
from annlib.zoo import ROWS


class Preflight(Explorer):
    """Row, GPU, pictures at a time and precision; memory, hours and disk as bar and as words.

    Keyboard: Tab to a control, then the arrow keys.
    """

    def __init__(self) -> None:
        controls = {
            "name": self.menu("row", [row.name for row in ROWS]),
            "gpu": self.menu("GPU", list(GPUS)),
            "batch": ipywidgets.SelectionSlider(
                options=[1, 2, 4, 8, 16],
                value=2,
                description="pictures",
                continuous_update=False,
                layout=LONG,
            ),
            "precision": self.menu("precision", list(PRECISIONS)),
        }
        super().__init__(controls, self.draw)

    def menu(self, name: str, options: list[str]) -> ipywidgets.Dropdown:
        return ipywidgets.Dropdown(options=options, description=name, layout=LONG)

    def draw(self, name: str, gpu: str, batch: int, precision: str) -> None:
        """The bar and the sentences for one state of the controls."""
        found = estimate(name, GPUS[gpu], batch, precision)
        display(memory_bar(found, f"{batch} at a time, {precision}"))
        say(say_estimate(found))


def preflight() -> Preflight:
    """Choose a row, a GPU, a batch and a precision; see whether it fits, and for how long."""
    return Preflight()
