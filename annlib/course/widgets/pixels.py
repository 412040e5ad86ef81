"""A picture on which a pixel is chosen: by click, by dragging, by arrow keys."""

import base64
from collections.abc import Mapping, Sequence

import anywidget
import numpy as np
import traitlets

from annlib.config import IGNORE_INDEX
from annlib.course.controls.esm import JAVASCRIPT, module
from annlib.course.figures.picked import picked
from annlib.course.plots import Picture


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
