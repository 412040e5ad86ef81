"""Where sliding windows lie on a picture, and how often each pixel is scored."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annlib.course.drawing import BLOCK_COLOURS, INK, draw_image, faded, styled
from annlib.course.plots import Picture
from annlib.engine.windows import times_covered, window_starts

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
