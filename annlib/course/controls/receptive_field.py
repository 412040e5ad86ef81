"""Click a pixel, choose a depth, and see how far its position sees. No maths: a Viewer does it."""

from collections.abc import Sequence
from importlib.util import find_spec

import ipywidgets

from annlib.course.controls.explorer import Explorer, menu, slider
from annlib.course.controls.shown import in_this_thread
from annlib.course.figures.receptive_field import receptive_field
from annlib.course.matching import query_on
from annlib.course.plots import Picture
from annlib.course.receptive_field import REDUCE, Viewer
from annlib.data.scenes import CLASS_NAMES, Scene
from annlib.model.baselines import Baseline


class ReceptiveField(Explorer):
    """A menu for the depth; the pixel is clicked, or placed by two sliders without anywidget.

    Keyboard: Tab to a control, then the arrow keys. State is also told as a sentence.
    """

    def __init__(self, model: Baseline, scene: Scene) -> None:
        """model: a network with an attention block that walks one map. Raises ValueError."""
        self.scene, self.viewer = scene, Viewer(model, scene.image)
        y, x = query_on(scene, scene.houses[0])
        depth = menu("depth", self.viewer.layers, REDUCE)
        self.picker: ipywidgets.DOMWidget | None = None
        if find_spec("anywidget") is None:
            height, width = scene.labels.shape
            place = {"y": slider("row", y, height - 1), "x": slider("column", x, width - 1)}
            super().__init__({"depth": depth, **place}, self.draw)
            return
        from annlib.course.controls.pixel_picker import PixelPicker

        self.picker = PixelPicker(scene.image, scene.labels, CLASS_NAMES, xy=(x, y))
        super().__init__({"depth": depth}, self.draw_picked, (self.picker,))
        self.picker.observe(in_this_thread(self.redraw), "xy")

    def draw_picked(self, depth: str) -> Sequence[Picture | str]:
        """`draw`, for the pixel that is clicked."""
        x, y = self.picker.xy
        return self.draw(depth, y, x)

    def draw(self, depth: str, y: int, x: int) -> Sequence[Picture | str]:
        """The picture and the sentence for one state of the controls."""
        picture = receptive_field(self.scene.image, self.viewer.view(depth, y, x), (y, x), depth)
        return picture, picture.alt
