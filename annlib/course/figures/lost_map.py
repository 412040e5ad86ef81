"""Where anchors change what is fetched: the difference, position by position.

H x W pixels of the image, h x w positions of the map, C channels.
"""

import numpy as np
from torch import Tensor

from annlib.course.drawing import draw_image, styled
from annlib.course.plots import Picture, panels


@styled
def lost_map(image: np.ndarray, exact: Tensor, anchored: Tensor) -> Picture:
    """The picture, and the length of the difference at each position.

    uint8 (H, W, 3), what is fetched without and with anchors (C, h, w)
    """
    moved = (exact - anchored).norm(dim=0).numpy()
    height, width = image.shape[:2]
    figure, axes = panels(1, 2)
    draw_image(axes[0, 0], image, "The picture")
    drawn = axes[0, 1].imshow(moved, vmin=0, extent=(0, width, height, 0))
    axes[0, 1].set(xticks=[], yticks=[], title="How far the context moves")
    figure.colorbar(drawn, ax=axes[0, 1], label="length of the difference")
    row, column = np.unravel_index(moved.argmax(), moved.shape)
    alt = (
        f"Beside the picture, how far anchors move what each position fetches: at most "
        f"{moved.max():.1f}, at row {row}, column {column} of the {moved.shape[0]} x "
        f"{moved.shape[1]} map; in the median {np.median(moved):.1f}."
    )
    return Picture(figure, alt)
