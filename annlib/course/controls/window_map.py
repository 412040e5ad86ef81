"""Sliders for the side and the stride of windows that slide over a picture."""

import numpy as np

from annlib.course.controls.explorer import Explorer, choice
from annlib.course.figures.window_map import say_windows, window_map
from annlib.course.plots import Picture

SHARES = {"1/3 of it": 1 / 3, "1/2": 1 / 2, "2/3": 2 / 3, "all of it": 1.0}


class WindowMap(Explorer):
    """Square windows as a share of the picture's height, their stride as a share of their side.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, image: np.ndarray) -> None:
        """image: uint8 (H, W, 3)"""
        self.image = image
        height = image.shape[0]
        sides = [max(8, int(height * share)) for share in (0.25, 0.375, 0.5, 0.75, 1.0, 1.5)]
        controls = {
            "side": choice("window", {f"{side} pixels": side for side in sides}, sides[3]),
            "share": choice("stride", SHARES, 2 / 3),
        }
        super().__init__(controls, self.draw)

    def draw(self, side: int, share: float) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the sliders."""
        stride = max(1, int(side * share + 0.5))
        said = say_windows(self.image.shape[:2], (side, side), (stride, stride))
        return window_map(self.image, (side, side), (stride, stride)), said


def window_sliders(image: np.ndarray) -> WindowMap:
    """Choose window and stride; see which pixels are scored how often, and what it costs."""
    return WindowMap(image)
