"""Widgets on which a pixel is chosen: pixel picker, receptive field, two maps, anchors."""

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec

import anywidget
import ipywidgets
import numpy as np
import traitlets

from annlib.config import IGNORE_INDEX
from annlib.course.attention import projections_of
from annlib.course.attention_metrics import predict_labels, query_on
from annlib.course.interventions import low_and_high, projections_across, strength, with_levels
from annlib.course.plots.attention import Asking, View, Views, picked, subject_of
from annlib.course.plots.scenes import Picture
from annlib.course.plots.windows import receptive_field
from annlib.course.receptive_field import REDUCE, Viewer
from annlib.course.widgets.attention_explorer import explorer, first_question
from annlib.course.widgets.base import JAVASCRIPT, Explorer, in_this_thread, menu, module, slider
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline


class PixelPicker(anywidget.AnyWidget):
    """`xy` is the column and the row of the pixel; observe it, or set it.

    Overlays are laid over the picture in their order, each with a box to tick; set `overlays` anew
    to change them. Hovering tells row, column and, with labels, the class.
    """

    _esm = module("stage.js", "picker.js")
    _css = (JAVASCRIPT / "attention.css").read_text(encoding="utf-8")
    title = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True)
    labels = traitlets.Bytes(None, allow_none=True).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    overlay_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    overlay_pixels = traitlets.List(traitlets.Bytes()).tag(sync=True)
    xy = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        image: np.ndarray,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] = (),
        overlays: Mapping[str, np.ndarray] | None = None,
        xy: tuple[int, int] | None = None,
        title: str = "Choose a pixel",
    ) -> None:
        """image: uint8 (H, W, 3). labels: class indices (H, W). overlays: uint8 (H, W, 4) RGBA.

        xy: the pixel at first, the middle if None. Raises ValueError for sizes that do not agree.
        """
        self.image = checked("image", image, image.shape[:2], 3)
        if labels is not None and labels.shape != image.shape[:2]:
            raise ValueError(
                f"labels have shape {labels.shape}, the image {image.shape[:2]}: they must agree, "
                "or a click would name the class of another pixel."
            )
        self.layers: dict[str, np.ndarray] = {}
        height, width = image.shape[:2]
        super().__init__(
            title=title,
            width=width,
            height=height,
            pixels=image.tobytes(),
            labels=None if labels is None else labels.astype(np.uint8).tobytes(),
            class_names=list(class_names),
            xy=xy or (width // 2, height // 2),
        )
        self.overlays = overlays or {}

    @property
    def overlays(self) -> dict[str, np.ndarray]:
        return dict(self.layers)

    @overlays.setter
    def overlays(self, overlays: Mapping[str, np.ndarray]) -> None:
        size = self.image.shape[:2]
        self.layers = {name: checked(name, one, size, 4) for name, one in overlays.items()}
        with self.hold_sync():  # names and pixels arrive together
            self.overlay_names = list(self.layers)
            self.overlay_pixels = [one.tobytes() for one in self.layers.values()]

    @traitlets.validate("xy")
    def inside(self, proposal: dict) -> tuple[int, int]:
        x, y = proposal["value"]
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise traitlets.TraitError(
                f"xy = {(x, y)} is outside the picture: columns go from 0 to {self.width - 1}, "
                f"rows from 0 to {self.height - 1}."
            )
        return x, y

    def static(self) -> Picture:
        """The picture with its overlays and the pixel, for pages without a browser's half."""
        x, y = self.xy
        return picked(self.image, list(self.layers.values()), y, x, self.title, self.class_at(y, x))

    def class_at(self, y: int, x: int) -> str | None:
        """The name of a pixel's class; None without labels."""
        if self.labels is None:
            return None
        label = self.labels[y * self.width + x]
        known = label != IGNORE_INDEX and label < len(self.class_names)
        return self.class_names[label] if known else "border"

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**options)
        picture = self.static()
        data |= {"image/png": base64.b64encode(picture.png()).decode(), "text/plain": picture.alt}
        return data, metadata | {"image/png": {"alt": picture.alt}}

    def close(self) -> None:
        self.unobserve_all()
        self.layout.close()
        super().close()


def checked(name: str, image: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """The array, if it is uint8 of that size with so many channels; else ValueError."""
    if image.shape != (*size, channels) or image.dtype != np.uint8:
        raise ValueError(
            f"{name} has shape {image.shape} and type {image.dtype}, but has to be uint8 "
            f"{(*size, channels)}: values from 0 to 255, one for each pixel of the picture."
        )
    return np.ascontiguousarray(image)


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


HIGH, LOW = "High-level map", "Low-level map"
ROLES = {"high asks low (AFNB)": False, "low asks high (swapped)": True}


def two_maps(model: ANN, scene: Scene) -> ipywidgets.DOMWidget:
    """Click a pixel of the map that asks, and exchange the roles of the maps.

    Raises ValueError where the projections of one map do not fit the other.
    """

    def look(image: np.ndarray) -> Views:
        low, high = map(strength, low_and_high(model, image))

        def view(swapped: bool) -> View:
            asks, answers = (LOW, HIGH) if swapped else (HIGH, LOW)
            asking = Asking(low if swapped else high, f"{asks} asks", f"{answers} answers")
            return View(projections_across(model, image, swapped), "afnb", asking)

        return {"ANN": {name: view(swapped) for name, swapped in ROLES.items()}}

    label = partial(predict_labels, model)
    return explorer({"scene": subject_of(scene)}, look, first_question(scene), None, label)


LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)
ANCHORS, EVERYONE = "anchors of the ticked levels", "every position (lesson 2)"


def anchor_map(model: Baseline, scene: Scene) -> ipywidgets.DOMWidget:
    """Tick pyramid levels, click a pixel, and see which cells it takes from.

    Raises ValueError for a network that has neither anchors nor positions to ask.
    """
    anchored, everyone = with_levels(model, LEVELS), with_levels(model, None)

    def look(image: np.ndarray) -> Views:
        cells = projections_of(anchored, image)["context.attention"]
        positions = projections_of(everyone, image)["context.attention"]
        return {
            ANCHORS: {"APNB": View(cells, "apnb")},
            EVERYONE: {"non-local": View(positions, "nonlocal")},
        }

    label = partial(predict_labels, model)
    start = first_question(scene)
    return explorer({"scene": subject_of(scene)}, look, start, (1, 3, 6, 8), label)
