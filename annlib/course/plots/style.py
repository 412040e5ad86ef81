"""The visual style of the course: colours, and marks drawn onto one Axes.

One colour a block, cividis for shares, shape or words beside every colour, so that a figure also
works in grey. The style is annlib.mplstyle; it holds inside `styled` functions only.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, FancyArrowPatch, Patch, Rectangle
from matplotlib.patheffects import withStroke

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention
from annlib.course.attention_metrics import house_answer, match, query_on
from annlib.data.balloon_town.layout import CLASS_NAMES, PAINTS, PALETTE, Scene

INK = "#1b1b1b"
BLOCK_COLOURS = {  # Okabe and Ito's palette
    "fcn": "#6b6b6b",
    "ppm": "#E69F00",
    "nonlocal": "#0072B2",
    "apnb": "#009E73",
    "afnb": "#D55E00",
    "ann": "#D55E00",
}
STYLE = rc_params_from_file(Path(__file__).with_name("annlib.mplstyle"), use_default_template=False)
styled = matplotlib.rc_context(STYLE)  # as a decorator: each call has the style to itself
HALO = [withStroke(linewidth=2.5, foreground="white")]


def paint_colour(paint: str) -> str:
    """The colour of a house and of the balloon that decides it, as "#rrggbb"."""
    return to_hex(np.array(PAINTS[paint]) / 255)


def draw_image(axes: Axes, image: np.ndarray, title: str = "", block: str | None = None) -> None:
    """A picture without ticks; the title in the colour of its block.  uint8 (H, W, 3)"""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, color=BLOCK_COLOURS.get(block, INK))


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """Class indices in their display colours, ignored pixels white.  (H, W) -> uint8 (H, W, 3)"""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(PALETTE)] = PALETTE
    assert IGNORE_INDEX not in range(len(PALETTE))
    return table[labels]


def faded(image: np.ndarray, share: float = 0.45) -> np.ndarray:
    """Mixed with white, so that marks stand out.  uint8 (H, W, 3) -> uint8 (H, W, 3)"""
    return (image * (1 - share) + 255 * share).astype(np.uint8)


def spotlight(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture, as bright as its share of attention.  uint8 (H, W, 3), (h, w) -> (H, W, 3)

    Brightness goes with the square root of the share, so that weak shares can be seen, too.
    """
    height, width = image.shape[:2]
    rows = np.arange(height) * heat.shape[0] // height
    columns = np.arange(width) * heat.shape[1] // width
    light = np.sqrt(heat / heat.max())[rows][:, columns, None]
    return (image * (0.4 + 0.6 * light)).astype(np.uint8)


def draw_query(axes: Axes, y: float, x: float, colour: str = "white", radius: float = 4) -> None:
    """A ring around the pixel that asks."""
    for edge, width in ((INK, 4.5), (colour, 2.2)):
        ring = Circle((x, y), radius, fill=False, edgecolor=edge, linewidth=width, zorder=4)
        axes.add_patch(ring)


def draw_box(axes: Axes, box: Sequence[float], colour: str, strength: float = 1.0) -> None:
    """A cell (top, left, bottom, right), the paler the weaker."""
    top, left, bottom, right = box
    for fill, edge, alpha in ((colour, "none", 0.55 * strength), ("none", INK, 1.0)):
        cell = Rectangle((left, top), right - left, bottom - top)
        cell.set(facecolor=fill, edgecolor=edge, alpha=alpha, linewidth=0.4 + 1.4 * strength)
        axes.add_patch(cell)


def draw_arrow(axes: Axes, start: Sequence[float], box: Sequence[float], colour: str) -> None:
    """From (y, x) to the border of a box; none if it starts inside."""
    end = where_it_enters(start, box)
    if end is None:
        return
    style = "simple,head_length=0.85,head_width=0.8,tail_width=0.22"
    arrow = FancyArrowPatch(
        start[::-1], end[::-1], arrowstyle=style, mutation_scale=15, shrinkA=6, shrinkB=0
    )
    arrow.set(facecolor=colour, edgecolor=INK, linewidth=1.1, zorder=3)
    axes.add_patch(arrow)


def where_it_enters(start: Sequence[float], box: Sequence[float]) -> tuple[float, float] | None:
    """The point (y, x) in which the way from `start` to the middle of a box meets its border."""
    top, left, bottom, right = map(float, box)
    middle = (top + bottom) / 2, (left + right) / 2
    away = start[0] - middle[0], start[1] - middle[1]
    reach = max(abs(away[0]) / (bottom - top), abs(away[1]) / (right - left)) * 2
    if reach <= 1:
        return None
    return middle[0] + away[0] / reach, middle[1] + away[1] / reach


def name_houses(axes: Axes, scene: Scene, labels: np.ndarray | None = None) -> None:
    """Writes over each house what it is; with predicted labels, what it was taken for, ✓ or ✗."""
    for house in scene.houses:
        text = CLASS_NAMES[house.label]
        if labels is not None:
            answer = house_answer(labels, scene, house)
            text = f"{'✓' if answer == house.label else '✗'} {CLASS_NAMES[answer]}"
        x = (house.left + house.right) / 2
        axes.text(x, house.top - 3, text, ha="center", va="bottom", fontsize=9, path_effects=HALO)


def legend_patches() -> list[Patch]:
    """One swatch a class, for `Figure.legend`."""
    return [
        Patch(facecolor=colour / 255, edgecolor="#8a8a8a", label=name)
        for name, colour in zip(CLASS_NAMES, PALETTE, strict=True)
    ]


def draw_spotlight(
    axes: Axes,
    image: np.ndarray,
    heat: np.ndarray,
    query: tuple[int, int],
    title: str = "",
    block: str | None = None,
) -> None:
    """The picture lit by attention, with a ring around the pixel that asks."""
    draw_image(axes, spotlight(image, np.asarray(heat)), title, block)
    draw_query(axes, *query)


def brightest(heat: np.ndarray, image_size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (y, x) in the middle of the position with the largest share."""
    heat = np.asarray(heat)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    scale = image_size[0] / heat.shape[0], image_size[1] / heat.shape[1]
    return int((row + 0.5) * scale[0]), int((column + 0.5) * scale[1])


def draw_choices(axes: Axes, scene: Scene, attention: Attention, title: str) -> str:
    """An arrow from each house to its strongest cell; returns shares on the balloons in words.

    Further cells are drawn if they get at least a quarter of what the strongest gets.
    """
    boxes, shares = attention.boxes().numpy(), []
    for house in scene.houses:
        query, colour = query_on(scene, house), paint_colour(house.paint)
        weights = attention.row(*query).numpy()
        strengths = weights / weights.max()
        for index in np.flatnonzero(strengths >= 0.25):
            draw_box(axes, boxes[index], colour, strengths[index])
        draw_query(axes, *query, colour=colour)
        draw_arrow(axes, query, boxes[weights.argmax()], colour)
        share = f"{match(attention, scene, house).on_its_balloon:.0%}"
        axes.text(query[1], 125, share, ha="center", va="bottom", path_effects=HALO)
        shares.append(f"{house.paint} {share}")
    return f"{title}, share of each house's attention on its balloon: {', '.join(shares)}."
