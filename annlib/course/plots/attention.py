"""Figures of attention on an image, and of what ablating attention weights changes.

H x W pixels of the image, h x w positions of the map, N queries, S keys, C channels.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from annlib.course.attention import Attention, Size, anchor_boxes, house_answer, to_pixels
from annlib.course.interventions import WAYS, Damage
from annlib.course.plots import style
from annlib.course.plots.scenes import draw_labels
from annlib.course.plots.style import BLOCK_COLOURS, INK, Drawn, new_figure, styled
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene


def mosaic(image: np.ndarray, map_size: Size, level: int) -> np.ndarray:
    """The image with each cell in its mean colour, overlaps averaged.  -> uint8 (H, W, 3)"""
    sums, counts = np.zeros(image.shape), np.zeros(image.shape[:2])
    boxes = to_pixels(anchor_boxes((level,), *map_size), map_size, image.shape[:2]).round().int()
    for top, left, bottom, right in boxes.tolist():
        sums[top:bottom, left:right] += image[top:bottom, left:right].mean((0, 1))
        counts[top:bottom, left:right] += 1
    return (sums / counts[..., None]).round().astype(np.uint8)


def times_counted(map_size: Size, level: int) -> np.ndarray:
    """In how many cells of a level each position is.  -> (h, w)"""
    counts = np.zeros(map_size, int)
    for top, left, bottom, right in anchor_boxes((level,), *map_size).tolist():
        counts[top:bottom, left:right] += 1
    return counts


@styled
def cell_map(image: np.ndarray, map_size: Size, level: int, index: int) -> Drawn:
    """The means of a level with one cell framed, beside how many cells each position is in."""
    size, boxes = image.shape[:2], anchor_boxes((level,), *map_size)
    figure, axes = style.panels(1, 2, extra_height=0.2)
    style.draw_image(axes[0], mosaic(image, map_size, level), f"Level {level}: {level**2} means")
    style.draw_frame(axes[0], to_pixels(boxes, map_size, size)[index].tolist())
    counts, bar = times_counted(map_size, level), {"ticks": range(5)}
    style.draw_map(axes[1], counts, size, "Cells that a position is in", bar, vmin=0, vmax=4)
    (top, left, bottom, right), more = boxes[index].tolist(), int((counts > 1).sum())
    return figure, (
        f"Level {level} on a map of {map_size[0]} x {map_size[1]}: cell {index} of 0 to "
        f"{level**2 - 1} covers rows {top} to {bottom - 1}, columns {left} to {right - 1}, "
        f"{bottom - top} x {right - left} = {(bottom - top) * (right - left)} of {counts.size} "
        f"positions; {more or 'no'} position{'s are' if more else ' is'} in two cells or more."
    )


LABEL_SIZE = 20, 12  # pixels of the image, wide and high, that a weight of two digits takes
SHOWN = 6  # anchors that are drawn; the others are too weak to be seen


def count_anchors(levels: tuple[int, ...] | None, map_size: Size) -> str:
    """S in words: "1² + 3² = 1 + 9 = 10 anchors"."""
    if levels is None:
        return f"{map_size[0]} x {map_size[1]} = {map_size[0] * map_size[1]} positions"
    squares, total = " + ".join(f"{level}²" for level in levels), sum(n * n for n in levels)
    if len(levels) > 1:
        squares += " = " + " + ".join(f"{level * level}" for level in levels)
    return f"{squares} = {total} {'anchor' if total == 1 else 'anchors'}"


def strongest(attention: Attention, y: int, x: int) -> list[tuple[str, float, np.ndarray]]:
    """The anchors to which pixel (y, x) attends most: place in words, weight, box in pixels."""
    weights, boxes = attention.row(y, x).numpy(), attention.boxes().numpy()
    order = np.argsort(-weights, kind="stable")[:SHOWN]
    return [(say_place(int(i), attention), float(weights[i]), boxes[i]) for i in order]


def say_place(index: int, attention: Attention) -> str:
    """Which cell anchor `index` is the mean of; rows and columns count from 0."""
    if attention.pool_scales is None:
        row, column = divmod(index, attention.map_size[1])
        return f"position row {row} column {column}"
    for level in attention.pool_scales:
        if index < level * level:
            return f"level {level} row {index // level} column {index % level}"
        index -= level * level
    raise IndexError(f"anchor {index} lies beyond the last level of {attention.pool_scales}")


@styled
def anchor_map(
    image: np.ndarray, attention: Attention, y: int, x: int, title: str, block: str
) -> Drawn:
    """The strongest cells on the image, beside all weights spread over theirs.  uint8 (H, W, 3)"""
    (figure, axes), heat = style.panels(1, 2), attention.map_at(y, x).numpy()
    style.draw_spotlight(axes[1], image, heat, (y, x), "All weights, spread over cells")
    return figure, draw_cells(axes[0], image, attention, y, x, title, block)


def draw_cells(
    axes: Axes, image: np.ndarray, attention: Attention, y: int, x: int, title: str, block: str
) -> str:
    """The strongest cells on the image, strong ones with their weight.  -> the same in words"""
    title, anchors = f"{title}: S = {attention.weights.shape[1]}", strongest(attention, y, x)
    style.draw_image(axes, style.faded(image, 0.3), title, block)
    style.draw_query(axes, y, x)
    highest, taken = anchors[0][1], []  # middles of labels
    for _, weight, box in reversed(anchors):
        style.draw_box(axes, box, BLOCK_COLOURS[block], weight / highest)
    for _, weight, (top, left, bottom, right) in anchors:
        if weight < highest / 4:
            break  # weak ones often lie on the strongest: numbers would cover each other
        u, v = (left + right) / 2, (top + bottom) / 2
        if all(abs(u - a) >= LABEL_SIZE[0] or abs(v - b) >= LABEL_SIZE[1] for a, b in taken):
            taken.append((u, v))
            look = {"ha": "center", "va": "center", "fontsize": 9, "path_effects": style.HALO}
            axes.text(u, v, f"{weight:.0%}", zorder=5, **look)
    counted = count_anchors(attention.pool_scales, attention.map_size)
    weights = "; ".join(f"{place}: {weight:.1%}" for place, weight, _ in anchors[:3])
    return f"S: {counted}. Row {y}, column {x} attends most to {weights}."


@styled
def output_change(image: np.ndarray, exact: Tensor, anchored: Tensor) -> Drawn:
    """The image, beside how far anchors change the output.  uint8 (H, W, 3), (C, h, w) twice"""
    moved, bar = (exact - anchored).norm(dim=0).numpy(), {"label": "length of the difference"}
    figure, axes = style.panels(1, 2)
    style.draw_image(axes[0], image, "The image")
    style.draw_map(axes[1], moved, image.shape[:2], "How far the output changes", bar, vmin=0)
    row, column = np.unravel_index(moved.argmax(), moved.shape)
    return figure, (
        f"Beside the image, how far anchors change the output of each position: at most "
        f"{moved.max():.1f}, at row {row}, column {column} of the {moved.shape[0]} x "
        f"{moved.shape[1]} map; in the median {np.median(moved):.1f}."
    )


QueryMap = tuple[np.ndarray, str, str]  # (h, w), and the titles of queries and keys


@styled
def two_maps(image: np.ndarray, query_map: QueryMap, attention: Attention, y: int, x: int) -> Drawn:
    """The queries' map, with the position; the image, with the cells that it attends to."""
    (strength, queries, keys), (figure, axes) = query_map, style.panels(1, 2)
    style.draw_map(axes[0], strength, image.shape[:2], queries, None, vmin=0)
    style.draw_query(axes[0], y, x)
    said = draw_cells(axes[1], image, attention, y, x, keys, "afnb")
    return figure, f"{queries}, {keys}. {said}"


@styled
def picked(image: np.ndarray, y: int, x: int, title: str, name: str) -> Drawn:
    """uint8 (H, W, 3) with pixel (y, x) ringed.  name: of its class"""
    (figure, axes), (height, width) = style.panels(1, 1), image.shape[:2]
    style.draw_image(axes, image, title)
    style.draw_query(axes, y, x)
    place = f"the pixel in row {y}, column {x}, {name}"
    return figure, f"{title}: {place}, of an image of {height} x {width}."


Damages = Mapping[tuple[str, str, int], Damage]  # (block, way, k) -> scores after the ablation
MARKS = {1 / 3: "guessing", 0.61: "voting"}  # house accuracy without matching colours


@styled
def damage_curves(damages: Damages, blocks: Mapping[str, str]) -> Drawn:
    """House accuracy against the number of weights set to zero.  blocks: path -> panel's title"""
    figure, (axes,) = new_figure(4.6 * len(blocks), 3.7, 1, len(blocks), sharey=True, squeeze=False)
    words = ["House accuracy with attention weights of one block set to zero."]
    for place, (block, title) in zip(axes, blocks.items(), strict=True):
        colour = BLOCK_COLOURS[block.partition(".")[0]]
        for way, marker, dashes in zip(WAYS, "os", ("-", "--"), strict=True):
            points = [(k, d.houses) for (b, w, k), d in damages.items() if (b, w) == (block, way)]
            ks, houses = zip(*sorted(points), strict=True)
            place.plot(houses, label=way, color=colour, marker=marker, linestyle=dashes)
            said = ", ".join(f"{h:.2f} without {k}" for k, h in zip(ks, houses, strict=True))
            words.append(f"{title}, {way}: {said}.")
        for height, name in MARKS.items():
            place.axhline(height, color=style.GREY, linewidth=1, linestyle=":")
            place.text(-0.2, height + 0.015, name, size=9, color=INK)
        place.set_xticks(range(len(ks)), [str(k) for k in ks])
        place.set(ylim=(0, 1.05), title=title, xlabel="weights set to zero in each row")
    axes[0].set_ylabel("house accuracy")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 0.02), title="set to zero")
    return figure, " ".join(words)


@styled
def ablated(scene: Scene, left: Attention, query: Size, labels: np.ndarray, block: str) -> Drawn:
    """The attention that an ablation left to a pixel, beside the network's prediction (H, W)."""
    (figure, axes), heat = style.panels(1, 2), left.map_at(*query).numpy()
    style.draw_spotlight(axes[0], scene.image, heat, query, "Attention that is left", block)
    draw_labels(axes[1], scene, "Prediction after the ablation", labels)
    style.draw_query(axes[1], *query)
    houses = " ".join(
        f"The {house.paint} {CLASS_NAMES[house.label]} is classified as "
        f"{CLASS_NAMES[house_answer(labels, scene, house)]}."
        for house in scene.houses
    )
    return figure, f"Beside the attention that is left, the prediction: {houses}"
