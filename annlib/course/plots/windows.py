"""What one position sees of a picture: the theoretical field as a frame, the effective as light."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from annlib.course.drawing import INK, draw_image, draw_query, faded, spotlight, styled
from annlib.course.plots import Picture, panels
from annlib.course.receptive_field import Field, View


@styled
def receptive_field(image: np.ndarray, view: View, pixel: tuple[int, int], depth: str) -> Picture:
    """On the left what a position could depend on, on the right what it does.  uint8 (H, W, 3)

    pixel: (y, x), for which the position stands. Behind a block that attends the frame is dashed:
    what the convolutions alone would see.
    """
    figure, axes = panels(1, 2)
    seen = image if view.unbounded else within(image, view.frame)
    draw_image(axes[0, 0], seen, "Could depend on")
    draw_image(axes[0, 1], lit(image, view.light), "Does depend on")
    for place in axes[0]:
        draw_frame(place, view.frame, "--" if view.unbounded else "-")
        draw_query(place, *pixel)
    return Picture(figure, f"After {depth}: {say_view(view)}")


def within(image: np.ndarray, frame: Field) -> np.ndarray:
    """The picture, pale outside of the frame.  uint8 (H, W, 3) -> uint8 (H, W, 3)"""
    inside = slice(frame.top, frame.bottom), slice(frame.left, frame.right)
    seen = faded(image, 0.75)
    seen[inside] = image[inside]
    return seen


def lit(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The picture, as bright as its pixels move the position; dark if none does."""
    return spotlight(image, light) if light.max() > 0 else (0.4 * image).astype(np.uint8)


def draw_frame(axes: Axes, frame: Field, dashes: str) -> None:
    """White in ink: to be seen on light and on dark pictures."""
    for colour, width, line in ((INK, 3.5, "-"), ("white", 1.6, dashes)):
        box = Rectangle((frame.left, frame.top), frame.size[1], frame.size[0], fill=False)
        box.set(edgecolor=colour, linewidth=width, linestyle=line)
        axes.add_patch(box)


def say_view(view: View) -> str:
    """Theoretical and effective field in words."""
    (row, column), (rows, columns) = view.position, view.map_size
    height, width = view.field.size
    asks = f"row {row}, column {column} of the {rows} x {columns} map can depend on"
    if view.unbounded:
        return (
            f"{asks} every pixel. {view.share_far:.0%} of its gradient lie outside of the dashed "
            f"frame, the {height} x {width} pixels that the convolutions alone would see."
        )
    frame, pixels = view.frame, view.light.size
    share = frame.size[0] * frame.size[1] / pixels
    return (
        f"{asks} {height} x {width} pixels; in the picture rows {frame.top} to {frame.bottom - 1}, "
        f"columns {frame.left} to {frame.right - 1} ({share:.1%} of it). "
        f"{say_middle(view)}"
    )


def say_middle(view: View) -> str:
    """Where the light gathers."""
    if view.light.max() == 0:
        return "No pixel moves it now: all of its channels are shut by their ReLU."
    return (
        f"{view.share_in_middle:.0%} of its gradient lie in the central half of the frame, on a "
        "quarter of its pixels."
    )
