"""Figures of pooled anchors: cells, their attention weights, and two feature maps side by side.

H x W pixels of the image, h x w positions of the map.

H x W pixels of the image, h x w positions of the map, S anchors.

H x W pixels of the image, h x w positions of the map, C channels.

H x W pixels of the image, h x w positions of the map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from annlib.course.attention import Attention, Size, anchor_boxes, to_pixels
from annlib.course.plots.scenes import Picture, panels
from annlib.course.plots.style import (
    BLOCK_COLOURS,
    HALO,
    INK,
    draw_box,
    draw_image,
    draw_query,
    faded,
    spotlight,
    styled,
)


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


LABEL_SIZE = 20, 12  # pixels of the image, wide and high, that a share of two digits takes
SHOWN = 6  # anchors that are drawn and named; the others are too weak to be seen


class Anchor(NamedTuple):
    """One of the S that answer."""

    index: int
    place: str  # its level, row and column in words
    share: float
    box: tuple[float, ...]  # top, left, bottom, right in pixels


def count_up(levels: tuple[int, ...] | None, map_size: tuple[int, int]) -> str:
    """S in words: "1² + 3² = 1 + 9 = 10 anchors"."""
    if levels is None:
        return f"{map_size[0]} x {map_size[1]} = {map_size[0] * map_size[1]} positions"
    total = sum(level * level for level in levels)
    squares = " + ".join(f"{level}²" for level in levels)
    if len(levels) > 1:
        squares += " = " + " + ".join(f"{level * level}" for level in levels)
    return f"{squares} = {total} {'anchor' if total == 1 else 'anchors'}"


def strongest(attention: Attention, y: int, x: int, count: int = SHOWN) -> list[Anchor]:
    """The anchors that the position at pixel (y, x) takes most of, largest share first."""
    weights, boxes = attention.row(y, x).numpy(), attention.boxes().numpy()
    order = np.argsort(-weights, kind="stable")[:count]
    return [
        Anchor(int(i), say_place(int(i), attention), float(weights[i]), tuple(boxes[i]))
        for i in order
    ]


def say_place(index: int, attention: Attention) -> str:
    """Which cell anchor `index` is the mean of; rows and columns count from 0."""
    if attention.pool_scales is None:
        row, column = divmod(index, attention.map_size[1])
        return f"position row {row} column {column}"
    for level in attention.pool_scales:
        if index < level * level:
            return f"level {level} row {index // level} column {index % level}"
        index -= level * level
    raise IndexError(f"there is no anchor {index} beyond the last level")


@styled
def anchor_map(
    image: np.ndarray, attention: Attention, y: int, x: int, title: str, block: str
) -> Picture:
    """The strongest cells on the picture, and all shares spread over theirs.  uint8 (H, W, 3)"""
    found = strongest(attention, y, x)
    figure, axes = panels(1, 2)
    draw_image(axes[0, 0], faded(image, 0.3), f"{title}: S = {attention.weights.shape[1]}", block)
    draw_cells(axes[0, 0], found, BLOCK_COLOURS[block])
    draw_query(axes[0, 0], y, x)
    draw_image(axes[0, 1], spotlight(image, attention.picture(y, x).numpy()), "All shares, spread")
    draw_query(axes[0, 1], y, x)
    return Picture(figure, say_anchors(attention, y, x))


def draw_cells(axes: Axes, anchors: list[Anchor], colour: str) -> None:
    """Weakest first, so that the strongest lies on top; those that count are named by share."""
    for anchor in reversed(anchors):
        draw_box(axes, anchor.box, colour, anchor.share / anchors[0].share)
    taken: list[tuple[float, float]] = []
    for anchor in anchors:
        if anchor.share < anchors[0].share / 4:
            break  # weak ones often lie on the strongest: numbers would cover each other
        middle, place = middle_of(anchor.box), free_place(anchor.box, taken)
        taken.append(place)
        if place != middle:
            axes.plot(*zip(middle, place, strict=True), color=INK, linewidth=0.8, zorder=4)
        axes.text(
            *place,
            f"{anchor.share:.0%}",
            ha="center",
            va="center",
            fontsize=9,
            path_effects=HALO,
            zorder=5,
        )


def middle_of(box: tuple[float, ...]) -> tuple[float, float]:
    """(x, y)"""
    top, left, bottom, right = box
    return (left + right) / 2, (top + bottom) / 2


def free_place(box: tuple[float, ...], taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Where (x, y) a share is written: in the middle of its cell, or as near as no other stands."""
    x, y = middle_of(box)
    wide, high = LABEL_SIZE
    steps = sorted(
        ((across, down) for across in range(-4, 5) for down in range(-2, 8)),
        key=lambda step: (abs(step[0]) * wide + abs(step[1]) * high, -step[1], step[0]),
    )
    places = [(x + across * wide, y + down * high) for across, down in steps]
    inside = [place for place in places if place[0] > wide / 2 and place[1] > high / 2]
    return next(
        place
        for place in inside or places
        if all(abs(place[0] - u) >= wide or abs(place[1] - v) >= high for u, v in taken)
    )


def say_anchors(attention: Attention, y: int, x: int) -> str:
    """S and the three strongest anchors in words."""
    counted = count_up(attention.pool_scales, attention.map_size)
    shares = "; ".join(f"{a.place}: {a.share:.1%}" for a in strongest(attention, y, x, 3))
    return f"S: {counted}. Row {y}, column {x} takes most of {shares}."


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
