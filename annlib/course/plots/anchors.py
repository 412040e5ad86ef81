"""Where a position looks when anchors answer: their cells, shaded by their shares.

H x W pixels of the image, h x w positions of the map, S anchors.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from annlib.course.attention import Attention
from annlib.course.drawing import (
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
from annlib.course.plots import Picture, panels

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
