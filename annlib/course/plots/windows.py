"""Figures of receptive fields and of sliding windows on an image."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annlib.course.plots.scenes import Picture, panels
from annlib.course.plots.style import (
    BLOCK_COLOURS,
    INK,
    draw_image,
    draw_query,
    faded,
    spotlight,
    styled,
)
from annlib.course.receptive_field import Field, View
from annlib.engine.inference import times_covered, window_starts


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


Size = tuple[int, int]
DASHES = ("-", "--", ":", "-.")


def coverage(size: Size, window: Size, stride: Size) -> tuple[list[int], list[int], np.ndarray]:
    """Tops and lefts of the windows, and how many cover each pixel.  -> ..., ..., (H, W)"""
    tops, lefts = (list(window_starts(*three)) for three in zip(size, window, stride, strict=True))
    rows = times_covered(tops, window[0], size[0]).numpy()
    columns = times_covered(lefts, window[1], size[1]).numpy()
    return tops, lefts, np.outer(rows, columns)


@styled
def window_map(image: np.ndarray, window: Size, stride: Size) -> Picture:
    """The windows on the picture, and the number of scores of each pixel. uint8 (H, W, 3)"""
    size = image.shape[:2]
    tops, lefts, counts = coverage(size, window, stride)
    figure = Figure((9.6, 0.9 + 4.4 * size[0] / size[1]), layout="constrained")
    axes = figure.subplots(1, 2)
    draw_image(axes[0], faded(image, 0.65), f"{len(tops) * len(lefts)} windows")
    for number, place in enumerate((top, left) for top in tops for left in lefts):
        axes[0].add_patch(outline(number, place, size, window))
    drawn = axes[1].imshow(counts, extent=(0, size[1], size[0], 0), vmin=0, vmax=counts.max())
    axes[1].set(xticks=[], yticks=[])
    axes[1].set_title("Scores of each pixel", color=INK)
    whole = sorted({int(count) for count in counts.flat})
    figure.colorbar(drawn, ax=axes[1], ticks=whole[:: max(1, len(whole) // 6)], shrink=0.7)
    return Picture(figure, say_windows(size, window, stride))


def outline(number: int, place: Size, size: Size, window: Size) -> Rectangle:
    """A window, drawn a little smaller the later it comes, so that edges do not hide each other."""
    inset = (0.5 + number % 4) * 0.012 * size[0]
    height, width = (min(pair) - 2 * inset for pair in zip(window, size, strict=True))
    box = Rectangle((place[1] + inset, place[0] + inset), width, height)
    colour = (BLOCK_COLOURS["afnb"], BLOCK_COLOURS["nonlocal"])[number % 2]
    box.set(facecolor="none", linewidth=2.4, edgecolor=colour, linestyle=DASHES[number % 4])
    return box


def say_windows(size: Size, window: Size, stride: Size) -> str:
    """The windows in words, and what they cost."""
    tops, lefts, counts = coverage(size, window, stride)
    pixels = min(window[0], size[0]) * min(window[1], size[1]) * len(tops) * len(lefts)
    return (
        f"{len(tops)} x {len(lefts)} windows of {window[0]} x {window[1]} on a picture of "
        f"{size[0]} x {size[1]}, stride {stride[0]} x {stride[1]}: each pixel is scored "
        f"{int(counts.min())} to {int(counts.max())} times, and {pixels / (size[0] * size[1]):.2f} "
        "times as many pixels go through the network as in one piece."
    )
