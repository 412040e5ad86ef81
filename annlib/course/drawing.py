"""The visual language of the course: colours, and what is drawn onto one Axes.

One colour a block, cividis for shares, shape or words beside every colour, so that a figure also
works in grey. Styles hold inside `styled` functions only; nothing global is changed.
"""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, FancyArrowPatch, Patch, Rectangle
from matplotlib.patheffects import withStroke

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention
from annlib.course.matching import match, query_on
from annlib.course.predicting import house_answer
from annlib.data.scenes import CLASS_NAMES, PAINTS, PALETTE, PATTERNS, House, Scene

INK = "#1b1b1b"
BLOCK_COLOURS = {  # Okabe and Ito's palette
    "fcn": "#6b6b6b",
    "ppm": "#E69F00",
    "nonlocal": "#0072B2",
    "apnb": "#009E73",
    "afnb": "#D55E00",
    "ann": "#D55E00",
}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8a8a8a",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "image.interpolation": "nearest",
    "image.cmap": "cividis",
    "figure.facecolor": "white",
    "figure.dpi": 110,
}
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

    Brightness goes with the square root of heat / maximum, so that weak shares can be seen, too.
    """
    height, width = image.shape[:2]
    rows = np.arange(height) * heat.shape[0] // height
    columns = np.arange(width) * heat.shape[1] // width
    light = np.sqrt(heat / heat.max())[rows][:, columns, None]
    return (image * (0.22 + 0.78 * light)).astype(np.uint8)


def draw_query(axes: Axes, y: float, x: float, colour: str = "white", radius: float = 4) -> None:
    """A ring around the pixel that asks."""
    for edge, width in ((INK, 4.5), (colour, 2.2)):
        axes.add_patch(Circle((x, y), radius, fill=False, edgecolor=edge, linewidth=width))


def draw_box(axes: Axes, box: Sequence[float], colour: str, strength: float = 1.0) -> None:
    """The outline of a cell, top, left, bottom, right; a weaker one is thinner."""
    top, left, bottom, right = box
    for edge, width in ((INK, 1.6 + 2.4 * strength), (colour, 0.6 + 1.8 * strength)):
        cell = Rectangle((left, top), right - left, bottom - top, fill=False)
        cell.set(edgecolor=edge, linewidth=width, joinstyle="miter")
        axes.add_patch(cell)


def draw_arrow(axes: Axes, start: Sequence[float], end: Sequence[float], colour: str) -> None:
    """From (y, x) to (y, x), with a dark rim so that it shows on any ground."""
    for edge, width, head in ((INK, 5.0, 17), (colour, 2.6, 14)):
        arrow = FancyArrowPatch(start[::-1], end[::-1], arrowstyle="-|>", mutation_scale=head)
        arrow.set(color=edge, linewidth=width, shrinkA=7, shrinkB=0, zorder=3, capstyle="round")
        axes.add_patch(arrow)


def name_houses(axes: Axes, scene: Scene, labels: np.ndarray | None = None) -> None:
    """Writes over each house what it is; with predicted labels, what it was taken for, ✓ or ✗."""
    for house in scene.houses:
        text = CLASS_NAMES[house.label]
        if labels is not None:
            answer = house_answer(labels, scene, house)
            name = "nothing" if answer is None else CLASS_NAMES[answer]
            text = f"{'✓' if answer == house.label else '✗'} {name}"
        x = (house.left + house.right) / 2
        axes.text(x, house.top - 3, text, ha="center", va="bottom", fontsize=9, path_effects=HALO)


def legend_patches(classes: Sequence[int] = tuple(range(len(CLASS_NAMES)))) -> list[Patch]:
    """One swatch a class, for `Figure.legend`."""
    return [
        Patch(facecolor=PALETTE[index] / 255, edgecolor="#8a8a8a", label=CLASS_NAMES[index])
        for index in classes
    ]


def draw_spotlight(
    axes: Axes, image: np.ndarray, heat: np.ndarray, query: tuple[int, int], title: str = ""
) -> None:
    draw_image(axes, spotlight(image, np.asarray(heat)), title)
    draw_query(axes, *query)


def brightest(heat: np.ndarray, image_size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (y, x) in the middle of the position with the largest share."""
    heat = np.asarray(heat)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    scale = image_size[0] / heat.shape[0], image_size[1] / heat.shape[1]
    return int((row + 0.5) * scale[0]), int((column + 0.5) * scale[1])


def draw_choices(axes: Axes, scene: Scene, attention: Attention, title: str) -> str:
    """Arrows and the three strongest cells of each house; returns the same in words."""
    boxes, told = attention.boxes().numpy(), []
    for house in scene.houses:
        query, colour = query_on(scene, house), paint_colour(house.paint)
        weights = attention.row(*query).numpy()
        strongest = weights.argsort()[::-1][:3]
        for index in strongest[::-1]:
            draw_box(axes, boxes[index], colour, weights[index] / weights.max())
        top, left, bottom, right = boxes[strongest[0]]
        draw_query(axes, *query, colour=colour)
        draw_arrow(axes, query, ((top + bottom) / 2, (left + right) / 2), colour)
        found = match(attention, scene, house)
        told.append(f"{house.paint} {found.on_its_balloon:.0%}")
    return f"{title}, share on the balloon of the house's own paint: {', '.join(told)}."


def say_house(house: House) -> str:
    return f"{house.paint} {CLASS_NAMES[house.label]}"


def say_scene(scene: Scene) -> str:
    """A scene in words, for those who cannot see it."""
    balloons = ", ".join(f"{b.paint} with a {PATTERNS[b.pattern]}" for b in scene.balloons)
    houses = ", ".join(say_house(house) for house in scene.houses)
    return f"Balloons from left to right: {balloons}. Houses from left to right: {houses}."


def say_answers(
    scenes: Sequence[Scene], answers: Mapping[str, Sequence[np.ndarray]]
) -> Iterator[str]:
    """Each scene in words, and how many of its houses each model names rightly."""
    for row, scene in enumerate(scenes):
        yield f"Scene {scene.seed}. {say_scene(scene)}"
        for name, labels in answers.items():
            right = [house_answer(labels[row], scene, h) == h.label for h in scene.houses]
            yield f"{name}: {sum(right)} of {len(right)} houses right."
