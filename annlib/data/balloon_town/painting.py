"""Drawing with signed distances: anti-aliased shapes on a canvas of colours, labels and instances.

Arrays meet only + - * / sqrt, min, max and comparisons, one NumPy call each. IEEE 754 fixes every
bit of those, so an image has the same bytes on every machine; sin, exp, sums and matmul would not.

Coordinates: y down, x right, in pixels; the centre of the first pixel is (0.5, 0.5).
Legend: H height, W width of the canvas; h, w of the window around one shape.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor, sqrt
from typing import NamedTuple, TypeVar

import numpy as np

Item = TypeVar("Item")
Colour = Sequence[float]  # red, green, blue, 0-255


class Dice:
    """PCG64's raw words, which NumPy promises not to change; streams of a seed are independent."""

    def __init__(self, seed: int, stream: int) -> None:
        self.bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,)))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * ((self.bits.random_raw() >> 11) * 2.0**-53)

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.uniform(0, high - low + 1))

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """All items in random order (Fisher-Yates)."""
        shuffled = list(items)
        for last in range(len(shuffled) - 1, 0, -1):
            other = self.integer(0, last)
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
        return shuffled

    def noise(self, *shape: int) -> np.ndarray:
        """Nearly normal, mean 0 and deviation 1: four random bytes added.  -> float32 shape"""
        size = int(np.prod(shape))
        words = self.bits.random_raw((size + 1) // 2).astype("<u8")
        byte = words.view(np.uint8)[: 4 * size].reshape(4, size)
        total = (byte[0].astype(np.uint16) + byte[1]) + (byte[2].astype(np.uint16) + byte[3])
        return ((total.astype(np.float32) - 510.0) * (1 / 147.8)).reshape(shape)


def unit(values: np.ndarray) -> np.ndarray:
    """Clip to 0..1; np.clip takes five times as long on small windows."""
    return np.minimum(np.maximum(values, 0), 1)


def wave(turns: np.ndarray) -> np.ndarray:
    """Sine of so many full turns, within 0.002, by Bhaskara's fraction: a true sine's bits vary."""
    turns = turns - np.floor(turns)
    half = 2 * turns - (turns >= 0.5)  # 0..1 in either half turn
    bow = half * (1 - half)
    return np.where(turns < 0.5, 16, -16) * bow / (5 - 4 * bow)


def smooth(coarse: np.ndarray, cell: int, height: int, width: int) -> np.ndarray:
    """Stretch a coarse grid, one value a cell, without steps.  (h, w) -> (height, width)"""
    y, x = np.arange(height) // cell, np.arange(width) // cell
    down = ((np.arange(height) % cell) / cell).astype(np.float32)[:, None]
    right = ((np.arange(width) % cell) / cell).astype(np.float32)
    rows = coarse[y] * (1 - down) + coarse[y + 1] * down  # (height, w)
    return rows[:, x] * (1 - right) + rows[:, x + 1] * right


class Shape(NamedTuple):
    """A signed distance in pixels, negative inside, and the box beyond which it is positive."""

    top: float
    left: float
    bottom: float
    right: float
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]  # y (h, 1), x (1, w) -> (h, w)


def ellipse(y: float, x: float, radius_y: float, radius_x: float) -> Shape:
    """Its distance is exact for a disc, and good enough near the edge for others."""

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        down, right = (rows - y) / radius_y, (columns - x) / radius_x
        return (np.sqrt(down * down + right * right) - 1) * min(radius_y, radius_x)

    return Shape(y - radius_y, x - radius_x, y + radius_y, x + radius_x, distance)


def disc(y: float, x: float, radius: float) -> Shape:
    return ellipse(y, x, radius, radius)


def rectangle(top: float, left: float, bottom: float, right: float) -> Shape:
    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        vertical = np.maximum(top - rows, rows - bottom)
        return np.maximum(vertical, np.maximum(left - columns, columns - right))

    return Shape(top, left, bottom, right, distance)


def polygon(*corners: tuple[float, float]) -> Shape:
    """Convex, corners (y, x) clockwise on the screen."""

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        farthest = np.float32(-np.inf)
        for (y, x), (end_y, end_x) in zip(corners, corners[1:] + corners[:1], strict=True):
            down, right = end_y - y, end_x - x
            length = sqrt(down * down + right * right)
            outside = (columns - x) * (down / length) - (rows - y) * (right / length)
            farthest = np.maximum(farthest, outside)
        return farthest

    ys, xs = zip(*corners, strict=True)
    return Shape(min(ys), min(xs), max(ys), max(xs), distance)


def line(y: float, x: float, end_y: float, end_x: float, width: float) -> Shape:
    """A straight stroke with round ends."""
    down, right = end_y - y, end_x - x

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        along = unit(((rows - y) * down + (columns - x) * right) / (down * down + right * right))
        off_y, off_x = rows - y - along * down, columns - x - along * right
        return np.sqrt(off_y * off_y + off_x * off_x) - width / 2

    return Shape(min(y, end_y), min(x, end_x), max(y, end_y), max(x, end_x), distance)


def below(ridge: np.ndarray) -> Shape:
    """Everything under a line over the whole width.  ridge: its y in each column (W,)"""
    top, width = float(ridge.min()), len(ridge)
    return Shape(top, 0, np.inf, width, lambda rows, columns: ridge - rows + 0 * columns)


class Canvas:
    """What is painted: colours float32 (3, H, W) in 0-255, labels and instances uint8 (H, W)."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.colours = np.zeros((3, height, width), np.float32)
        self.labels = np.zeros((height, width), np.uint8)
        self.instances = np.zeros((height, width), np.uint8)
        self.y = np.arange(height, dtype=np.float32)[:, None] + 0.5
        self.x = np.arange(width, dtype=np.float32)[None, :] + 0.5

    def measure(self, shape: Shape, margin: float) -> tuple[tuple[slice, slice], np.ndarray]:
        """The window (rows, columns) that a shape can touch, and the distances (h, w) in it."""
        top, left = max(floor(shape.top - margin), 0), max(floor(shape.left - margin), 0)
        bottom = ceil(min(shape.bottom + margin, self.height))
        right = ceil(min(shape.right + margin, self.width))
        window = slice(top, max(bottom, top)), slice(left, max(right, left))
        return window, shape.distance(self.y[window[0]], self.x[:, window[1]])

    def paint(
        self,
        shape: Shape,
        colour: Colour,
        label: int | None = None,
        instance: int = 0,
        alpha: float = 1.0,
        softness: float = 1.0,
    ) -> None:
        """Blend a colour in; the last call decides the label and the instance of a pixel.

        Without a label only colours change. softness: width of the edge in pixels; alpha: 0-1.
        """
        window, distance = self.measure(shape, softness)
        coverage = unit(0.5 - distance / softness) * alpha
        region = self.colours[:, *window]
        region += coverage * (np.array(colour, np.float32)[:, None, None] - region)
        if label is not None:
            self.labels[window][distance < 0] = label
            self.instances[window][distance < 0] = instance

    def shade(self, shape: Shape, factor: np.ndarray) -> None:
        """Multiply the colours inside a shape.  factor: float32, broadcast to (H, W)"""
        window, distance = self.measure(shape, 1)
        factor = np.broadcast_to(factor, self.labels.shape)[window]
        self.colours[:, *window] *= 1 + unit(0.5 - distance) * (factor - 1)
