"""Two maps: a position of one asks, the cells of the other answer.

H x W pixels of the image, h x w positions of the map.
"""

from collections.abc import Sequence

import numpy as np

from annlib.course.attention import Attention
from annlib.course.drawing import BLOCK_COLOURS, draw_image, draw_query, faded, styled
from annlib.course.figures.anchor_map import draw_cells, say_anchors, strongest
from annlib.course.plots import Picture, panels


@styled
def two_maps(
    image: np.ndarray,
    asking: np.ndarray,
    attention: Attention,
    names: Sequence[str],
    y: int,
    x: int,
) -> Picture:
    """The map that asks, with the position; the picture, with the cells that answer.

    uint8 (H, W, 3); asking: strength of each position (h, w); names: "... asks", "... answers".
    """
    height, width = image.shape[:2]
    figure, axes = panels(1, 2)
    axes[0, 0].imshow(asking, vmin=0, extent=(0, width, height, 0))
    axes[0, 0].set(xticks=[], yticks=[], title=names[0])
    draw_query(axes[0, 0], y, x)
    title = f"{names[1]}: S = {attention.weights.shape[1]}"
    draw_image(axes[0, 1], faded(image, 0.3), title, "afnb")
    draw_cells(axes[0, 1], strongest(attention, y, x), BLOCK_COLOURS["afnb"])
    draw_query(axes[0, 1], y, x)
    alt = f"{names[0]}, {names[1]}. {say_anchors(attention, y, x)}"
    return Picture(figure, alt)
