"""A picture with what lies over it, and a ring around one pixel."""

from collections.abc import Sequence

import numpy as np

from annlib.course.drawing import draw_image, draw_query, styled
from annlib.course.plots import Picture, panels


def laid_over(image: np.ndarray, overlay: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), RGBA uint8 (H, W, 4) -> uint8 (H, W, 3)"""
    share = overlay[..., 3:] / 255
    return (image * (1 - share) + overlay[..., :3] * share + 0.5).astype(np.uint8)


@styled
def picked(
    image: np.ndarray,
    overlays: Sequence[np.ndarray],
    y: int,
    x: int,
    title: str,
    name: str | None = None,
) -> Picture:
    """uint8 (H, W, 3) under its overlays (H, W, 4), in their order, with pixel (y, x) ringed.

    name: the pixel's class, if it is known.
    """
    for overlay in overlays:
        image = laid_over(image, overlay)
    figure, axes = panels(1, 1)
    draw_image(axes[0, 0], image, title)
    draw_query(axes[0, 0], y, x)
    of = f", {name}," if name else ""
    height, width = image.shape[:2]
    alt = f"{title}: the pixel in row {y}, column {x}{of} of a picture of {height} x {width}."
    return Picture(figure, alt)
