"""What cells average: a picture as the means of a grid, and how often the grid counts a position.

H x W pixels of the image, h x w positions of the map.
"""

import numpy as np
from matplotlib.patches import Rectangle

from annlib.course.attention import Size, anchor_boxes, to_pixels
from annlib.course.drawing import INK, draw_image, styled
from annlib.course.plots import Picture, panels


def mosaic(image: np.ndarray, map_size: Size, level: int) -> np.ndarray:
    """The picture with each cell in its mean colour, where cells overlap in the mean of theirs.

    uint8 (H, W, 3) -> uint8 (H, W, 3)
    """
    sums, counts = np.zeros(image.shape), np.zeros(image.shape[:2])
    for cell in cells(map_size, level, image.shape[:2]):
        sums[cell] += image[cell].mean((0, 1))
        counts[cell] += 1
    return (sums / counts[..., None]).round().astype(np.uint8)


def cells(map_size: Size, level: int, image_size: Size) -> list[tuple[slice, slice]]:
    """The pixels of each cell of one level, row by row."""
    boxes = to_pixels(anchor_boxes((level,), *map_size), map_size, image_size).round().int()
    return [np.s_[top:bottom, left:right] for top, left, bottom, right in boxes.tolist()]


def times_counted(map_size: Size, level: int) -> np.ndarray:
    """In how many cells of a level each position is.  -> (h, w)"""
    counts = np.zeros(map_size, int)
    for top, left, bottom, right in anchor_boxes((level,), *map_size).tolist():
        counts[top:bottom, left:right] += 1
    return counts


@styled
def cell_map(image: np.ndarray, map_size: Size, level: int, index: int) -> Picture:
    """The means of a level with one cell framed; beside it how often each position counts."""
    height, width = image.shape[:2]
    figure, axes = panels(1, 2, extra_height=0.2)
    draw_image(axes[0, 0], mosaic(image, map_size, level), f"Level {level}: {level**2} means")
    box = to_pixels(anchor_boxes((level,), *map_size), map_size, (height, width))[index].tolist()
    for edge, line in (("white", 5.0), (INK, 2.0)):
        frame = Rectangle((box[1], box[0]), box[3] - box[1], box[2] - box[0], fill=False)
        frame.set(edgecolor=edge, linewidth=line)
        axes[0, 0].add_patch(frame)
    counts = times_counted(map_size, level)
    drawn = axes[0, 1].imshow(counts, vmin=0, vmax=4, extent=(0, width, height, 0))
    axes[0, 1].set(xticks=[], yticks=[], title="Cells that a position is in")
    figure.colorbar(drawn, ax=axes[0, 1], ticks=range(5))
    return Picture(figure, say_cell(map_size, level, index))


def say_cell(map_size: Size, level: int, index: int) -> str:
    """One cell, and the overlap of its level, in words."""
    top, left, bottom, right = anchor_boxes((level,), *map_size)[index].tolist()
    counts = times_counted(map_size, level)
    more = int((counts > 1).sum())
    overlap = (
        f"{more} positions are in two cells or more" if more else "no position is in two cells"
    )
    return (
        f"Level {level} on a map of {map_size[0]} x {map_size[1]}: cell {index} of 0 to "
        f"{level**2 - 1} covers rows {top} to {bottom - 1}, columns {left} to {right - 1}, "
        f"{bottom - top} x {right - left} = {(bottom - top) * (right - left)} of {counts.size} "
        f"positions; {overlap}."
    )
