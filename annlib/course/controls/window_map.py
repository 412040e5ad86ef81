"""Sliders for the side and the stride of windows that slide over a picture."""

import ipywidgets
import numpy as np
from IPython.display import display

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.window_map import say_windows, window_map
from annlib.course.lines import say


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
            "side": self.slider("window", {f"{side} pixels": side for side in sides}, 3),
            "share": self.slider(
                "stride", {"1/3 of it": 1 / 3, "1/2": 1 / 2, "2/3": 2 / 3, "all of it": 1.0}, 2
            ),
        }
        super().__init__(controls, self.draw)

    def slider(
        self, name: str, options: dict[str, float], start: int
    ) -> ipywidgets.SelectionSlider:
        return ipywidgets.SelectionSlider(
            options=list(options.items()),
            index=start,
            description=name,
            continuous_update=False,
            layout=LONG,
        )

    def draw(self, side: int, share: float) -> None:
        """The picture and the sentence for one state of the sliders."""
        stride = max(1, int(side * share + 0.5))
        display(window_map(self.image, (side, side), (stride, stride)))
        say(say_windows(self.image.shape[:2], (side, side), (stride, stride)))


def window_sliders(image: np.ndarray) -> WindowMap:
    """Choose window and stride; see which pixels are scored how often, and what it costs."""
    return WindowMap(image)
