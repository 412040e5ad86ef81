"""Pre-flight: a published row on a GPU of your choice, before anything is started."""

from annlib.course.controls.explorer import Explorer, choice, menu
from annlib.course.figures.preflight import memory_bar, say_estimate
from annlib.course.plots import Picture
from annlib.course.preflight import GPUS, PRECISIONS, estimate
from annlib.zoo import ROWS


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
