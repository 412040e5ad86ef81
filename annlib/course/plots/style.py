"""What all figures share: the style, figures with a text alternative, and marks on one Axes.

A shape or words stand beside every colour, so that a figure also works in grey. Figures are made
without pyplot, so none is shown twice and no state is left behind.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from IPython.display import display
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke

from annlib.data.balloon_town.layout import PALETTE

INK = "#1b1b1b"
GREY = "#8a8a8a"
BLOCK_COLOURS = {"fcn": "#6b6b6b", "ppm": "#E69F00", "nonlocal": "#0072B2", "apnb": "#009E73"}
BLOCK_COLOURS |= {"afnb": "#D55E00", "ann": "#D55E00"}  # all are of Okabe and Ito's palette
STYLE = rc_params_from_file(Path(__file__).with_name("annlib.mplstyle"), use_default_template=False)
HALO = [withStroke(linewidth=2.5, foreground="white")]
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class FigureWithAlt:
    """A figure and its text alternative; the last line of a cell shows both."""

    figure: Figure
    alt: str

    def png(self) -> bytes:
        self.figure.savefig(buffer := io.BytesIO(), format="png", dpi=110)
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple:
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}


Drawn = tuple[Figure, str]  # a figure and its text alternative


def styled(draw: Callable[..., Drawn]) -> Callable[..., FigureWithAlt]:
    """A decorator of functions that draw: each call has the style to itself."""

    @wraps(draw)
    def drawn(*given: object, **named: object) -> FigureWithAlt:
        with matplotlib.rc_context(STYLE):
            return FigureWithAlt(*draw(*given, **named))

    return drawn


def show(figure: Figure, alt: str) -> None:
    """Shows a figure of your own with its text alternative."""
    display(FigureWithAlt(figure, alt))


def new_figure(width: float, height: float, *grid: int, **options: object) -> tuple[Figure, Any]:
    """A figure of so many inches, and its Axes: one, or those of `Figure.subplots(*grid)`."""
    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots(*grid, **options)


def panels(rows: int, columns: int, extra_height: float = 0.0) -> tuple[Figure, Any]:
    """A figure with room for rows x columns scenes, and its Axes."""
    width, height = (3.3, 2.2) if columns <= 4 else (2.4, 1.6)  # inches of one scene: 3 to 2
    return new_figure(columns * width, rows * (height + 0.3) + extra_height, rows, columns)


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """Class indices in their display colours, ignored pixels white.  (H, W) -> uint8 (H, W, 3)"""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table[labels]


def faded(image: np.ndarray, white: float = 0.45) -> np.ndarray:
    """Mixed with white, so that marks stand out.  uint8 (H, W, 3) -> uint8 (H, W, 3)"""
    return (image * (1 - white) + 255 * white).astype(np.uint8)


def spotlight(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image, as bright as the root of the weight, so small ones show, too.  uint8 (H, W, 3)"""
    sides = zip(image.shape, heat.shape, strict=False)
    nearest = np.ix_(*(np.arange(pixels) * cells // pixels for pixels, cells in sides))
    brightness = np.sqrt(heat / (heat.max() or 1))[nearest][..., None]
    return (image * (0.4 + 0.6 * brightness)).astype(np.uint8)


def draw_image(axes: Axes, image: np.ndarray, title: str, block: str = "") -> None:
    """An image without ticks; the title in the colour of its block.  uint8 (H, W, 3)"""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axes.spines[:].set_visible(False)
    axes.set_title(title, color=BLOCK_COLOURS.get(block, INK))


def draw_map(
    axes: Axes, values: np.ndarray, image_size: Sequence[int], title: str, bar: dict | None, **look
) -> None:
    """Values (h, w) over the extent of an image; bar: options of its colour bar, look: of imshow"""
    drawn = axes.imshow(values, extent=(0, image_size[1], image_size[0], 0), **look)
    axes.set(xticks=[], yticks=[], title=title)
    if bar is not None:
        axes.figure.colorbar(drawn, ax=axes, **bar)


def draw_query(axes: Axes, y: float, x: float, colour: str = "white") -> None:
    """A ring around the query pixel."""
    for edge, width in ((INK, 4.5), (colour, 2.2)):
        axes.add_patch(Circle((x, y), 4, fill=False, ec=edge, linewidth=width, zorder=4))


def draw_rectangle(axes: Axes, box: Sequence[float], **look: object) -> None:
    """A box (top, left, bottom, right), filled unless its look says otherwise."""
    top, left, bottom, right = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, **look))


def draw_box(axes: Axes, box: Sequence[float], colour: str, strength: float = 1.0) -> None:
    """A cell; the weaker, the paler."""
    width = 0.4 + 1.4 * strength
    for fill, edge, alpha in ((colour, "none", 0.55 * strength), ("none", INK, 1.0)):
        draw_rectangle(axes, box, fc=fill, ec=edge, alpha=alpha, linewidth=width)


def draw_frame(axes: Axes, box: Sequence[float], dashes: str = "-") -> None:
    """A white frame with dark edges, seen on light and dark images."""
    for colour, width, line in ((INK, 3.5, "-"), ("white", 1.6, dashes)):
        draw_rectangle(axes, box, fill=False, ec=colour, linewidth=width, linestyle=line)


def draw_spotlight(
    axes: Axes, image: np.ndarray, heat: np.ndarray, query: Sequence, title: str, block: str = ""
) -> None:
    """The image brightened by attention weights (h, w), with a ring around the query pixel."""
    draw_image(axes, spotlight(image, heat), title, block)
    draw_query(axes, *query)
