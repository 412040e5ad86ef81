"""Click a pixel, choose a depth, and see how far its position sees. No maths: a Viewer does it."""

from collections.abc import Sequence
from importlib.util import find_spec

import ipywidgets

from annlib.course.controls.explorer import Explorer, menu, slider
from annlib.course.figures.receptive_field import receptive_field as draw_field
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

        picker = PixelPicker(scene.image, scene.labels, CLASS_NAMES, xy=(x, y))
        super().__init__({"depth": depth}, self.draw_picked_of(picker))
        self.picker = picker
        picker.observe(self.redraw, "xy")
        self.place(depth, picker)

    def draw_picked_of(self, picker: ipywidgets.DOMWidget):
        """`draw`, with the pixel of a picker."""

        def draw(depth: str) -> Sequence[Picture | str]:
            x, y = picker.xy
            return self.draw(depth, y, x)

        return draw

    def draw(self, depth: str, y: int, x: int) -> Sequence[Picture | str]:
        """The picture and the sentence for one state of the controls."""
        view = self.viewer.view(depth, y, x)
        picture = draw_field(self.scene.image, view, (y, x), depth)
        return picture, picture.alt


def receptive_field(model: Baseline, scene: Scene) -> ReceptiveField:
    """What a position could depend on, and what it does, at every depth of a network."""
    return ReceptiveField(model, scene)
