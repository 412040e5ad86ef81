"""Drawing with signed distances: soft-edged shapes on a canvas of colours, labels and instances.

Arrays meet only + - * / sqrt, min, max and comparisons, one NumPy call each. IEEE 754 fixes every
bit of those, so a picture has the same bytes on every machine; sin, exp, sums and matmul would not.

Coordinates: y down, x right, in pixels; the centre of the first pixel is (0.5, 0.5).
Legend: H height, W width of the canvas; h, w of the window around one shape.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor, sqrt
from typing import NamedTuple, TypeVar

import numpy as np

from annlib.config import IGNORE_INDEX

Item = TypeVar("Item")
Colour = tuple[float, float, float]  # red, green, blue, 0-255
SKY, ROAD, GREEN, CAR = range(4)  # the classes that are recognisable on the spot
SKIES: tuple[tuple[Colour, Colour], ...] = (  # zenith, horizon
    ((190, 207, 222), (233, 237, 238)),
    ((206, 207, 222), (241, 228, 217)),
    ((199, 193, 217), (238, 227, 234)),
    ((158, 169, 185), (209, 215, 221)),
    ((193, 210, 209), (240, 239, 224)),
)


class Dice:
    """Random numbers made of PCG64's raw words: the one stream that NumPy promises never to change.

    Different `stream`s of one seed are independent: a draw from one never shifts the other.
    """

    def __init__(self, seed: int, stream: int) -> None:
        self.bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,)))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((self.bits.random_raw() >> 11) * 2.0**-53)

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.uniform(0, high - low + 1))

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """All items in random order (Fisher and Yates)."""
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
    """Clipped to 0..1; np.clip takes five times as long on small windows."""
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
    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        down, right = (rows - y) / radius_y, (columns - x) / radius_x
        return (np.sqrt(down * down + right * right) - 1) * min(radius_y, radius_x)

    return Shape(y - radius_y, x - radius_x, y + radius_y, x + radius_x, distance)


def disc(y: float, x: float, radius: float) -> Shape:
    return ellipse(y, x, radius, radius)


def rectangle(top: float, left: float, bottom: float, right: float) -> Shape:
    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return np.maximum(
            np.maximum(top - rows, rows - bottom), np.maximum(left - columns, columns - right)
        )

    return Shape(top, left, bottom, right, distance)


def polygon(*corners: tuple[float, float]) -> Shape:
    """Convex, corners (y, x) clockwise on the screen."""
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        farthest = np.float32(-np.inf)
        for (y, x), (end_y, end_x) in edges:
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


def overlap(first: Shape, second: Shape) -> Shape:
    """Where both shapes are, within the box of the first."""

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return np.maximum(first.distance(rows, columns), second.distance(rows, columns))

    return first._replace(distance=distance)


def below(ridge: np.ndarray) -> Shape:
    """Everything under a line over the whole width.  ridge: its y in each column (W,)"""

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return ridge - rows + 0 * columns

    return Shape(float(ridge.min()), 0, np.inf, len(ridge), distance)


class Canvas:
    """What is painted: colours float32 (3, H, W) in 0-255, labels and instances uint8 (H, W)."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.colours = np.zeros((3, height, width), np.float32)
        self.labels = np.zeros((height, width), np.uint8)
        self.instances = np.zeros((height, width), np.uint8)
        self.y = np.arange(height, dtype=np.float32)[:, None] + 0.5
        self.x = np.arange(width, dtype=np.float32)[None, :] + 0.5

    def window(self, shape: Shape, margin: float) -> tuple[slice, slice]:
        """Rows and columns that the shape can touch: all else is left alone, which is the speed."""
        top, left = max(floor(shape.top - margin), 0), max(floor(shape.left - margin), 0)
        bottom = ceil(min(shape.bottom + margin, self.height))
        right = ceil(min(shape.right + margin, self.width))
        return slice(top, max(bottom, top)), slice(left, max(right, left))

    def paint(
        self,
        shape: Shape,
        colour: Colour,
        label: int | None = None,
        instance: int = 0,
        alpha: float = 1.0,
        softness: float = 1.0,
    ) -> None:
        """Blend a colour in; the last painter of a pixel decides its label and instance.

        Without a label only colours change. softness: width of the edge in pixels; alpha: 0-1.
        """
        window = self.window(shape, softness)
        distance = shape.distance(self.y[window[0]], self.x[:, window[1]])  # (h, w)
        coverage = unit(0.5 - distance / softness) * alpha
        region = self.colours[:, *window]
        region += coverage * (np.array(colour, np.float32)[:, None, None] - region)
        if label is not None:
            inside = distance < 0
            self.labels[window][inside] = label
            self.instances[window][inside] = instance

    def shade(self, shape: Shape, factor: np.ndarray) -> None:
        """Multiply the colours inside a shape.  factor: float32, broadcast to (H, W)"""
        window = self.window(shape, 1)
        distance = shape.distance(self.y[window[0]], self.x[:, window[1]])
        factor = np.broadcast_to(factor, self.labels.shape)[window]
        self.colours[:, *window] *= 1 + unit(0.5 - distance) * (factor - 1)


# The scenery, which means nothing


def paint_sky(canvas: Canvas, rng: Dice, horizon: float) -> None:
    zenith, haze = (np.array(colour, np.float32)[:, None, None] for colour in rng.choice(SKIES))
    canvas.colours[:] = zenith + (haze - zenith) * unit(canvas.y / horizon)
    for _ in range(rng.integer(1, 3)):
        x, y, size = rng.uniform(0, canvas.width), rng.uniform(8, 54), rng.uniform(8, 18)
        for _ in range(5):
            shape = ellipse(
                y + size * rng.uniform(-0.2, 0.2),
                x + size * rng.uniform(-1.4, 1.4),
                size * rng.uniform(0.2, 0.4),
                size * rng.uniform(0.5, 1),
            )
            canvas.paint(shape, (252, 250, 248), alpha=rng.uniform(0.2, 0.45), softness=3)


def paint_tree(canvas: Canvas, rng: Dice, foot: float, x: float, size: float) -> None:
    """Trunk and five lobes of grey-green, lit from above."""
    half = 0.4 + 0.035 * size
    canvas.paint(rectangle(foot - 0.5 * size, x - half, foot, x + half), (92, 80, 70), GREEN)
    light = rng.uniform(0.85, 1.15)
    for up, aside in ((0.44, -0.15), (0.44, 0.15), (0.56, 0), (0.68, -0.1), (0.71, 0.08)):
        y = foot - size * (up + rng.uniform(-0.03, 0.03))
        lobe = disc(y, x + size * (aside + rng.uniform(-0.04, 0.04)), 0.27 * size)
        tone = light * (0.72 + 0.5 * up)
        canvas.paint(lobe, (96 * tone, 110 * tone, 98 * tone), GREEN)


def ridge(rng: Dice, canvas: Canvas, base: float, amplitude: float) -> np.ndarray:
    """The outline of a hill: three waves of falling height.  -> y in each column (W,)"""
    height = np.zeros(canvas.width, np.float32)
    for j in (1, 2, 3):
        frequency, phase = j * rng.uniform(0.6, 1.6) / canvas.width, rng.uniform(0, 1)
        height += wave(canvas.x[0] * frequency + phase) * (1 / j)
    return base - 0.6 * amplitude * height


def paint_hills(canvas: Canvas, rng: Dice, horizon: float) -> None:
    """Two layers, small trees on the far one."""
    meadow = 1 + 0.03 * smooth(rng.noise(20, 29), 7, canvas.height, canvas.width)
    far = ridge(rng, canvas, horizon + 4, 6)
    near = ridge(rng, canvas, horizon + 13, 5)
    for outline, (red, green, blue) in ((far, (178, 186, 182)), (near, (152, 163, 148))):
        light = rng.uniform(0.9, 1.1)
        canvas.paint(below(outline), (red * light, green * light, blue * light), GREEN)
        canvas.shade(below(outline), meadow)
        if outline is far:
            for _ in range(rng.integer(2, 5)):
                x = rng.uniform(2, canvas.width - 2)
                foot = float(far[int(x)]) + rng.uniform(1.5, 4)
                paint_tree(canvas, rng, foot, x, rng.uniform(9, 14))


def paint_mist(canvas: Canvas, rng: Dice, ground: float) -> None:
    """A pale band behind the houses, densest at their feet."""
    density = rng.uniform(0.25, 0.55) * unit(1 - np.abs(canvas.y - ground) / 34)  # (H, 1)
    haze = np.array((228, 229, 226), np.float32)[:, None, None]
    canvas.colours += density * (haze - canvas.colours)


def paint_road(canvas: Canvas, rng: Dice, ground: float, grain: np.ndarray) -> None:
    kerb = ground + 3.5
    road = rectangle(kerb, -2, canvas.height + 2, canvas.width + 2)
    canvas.paint(rectangle(ground, -2, canvas.height + 2, canvas.width + 2), (168, 164, 158), ROAD)
    canvas.paint(road, (96, 97, 102))
    canvas.shade(road, 1 + 0.03 * grain)
    canvas.paint(rectangle(kerb - 0.6, -2, kerb + 0.6, canvas.width + 2), (192, 190, 186))
    start = rng.uniform(-26, 0)
    for dash in range(9):
        left = start + 26 * dash
        canvas.paint(rectangle(kerb + 11, left, kerb + 12.5, left + 13), (214, 212, 206))


def paint_wheel(canvas: Canvas, y: float, x: float, radius: float) -> None:
    canvas.paint(disc(y, x, radius), (34, 34, 38), CAR)
    canvas.paint(disc(y, x, 0.5 * radius), (150, 150, 152), CAR)


def trapezoid(top: float, bottom: float, x: float, top_half: float, bottom_half: float) -> Shape:
    """Symmetric about x, with half its width above and below."""
    return polygon(
        (top, x - top_half),
        (top, x + top_half),
        (bottom, x + bottom_half),
        (bottom, x - bottom_half),
    )


def paint_car(canvas: Canvas, rng: Dice, foot: float, x: float) -> None:
    """Nearly grey, so that paint remains the mark of houses and balloons."""
    length = rng.uniform(27, 35)
    grey, facing = rng.uniform(60, 225), rng.choice((-1, 1))
    red, green, blue = (min(max(grey + rng.uniform(-22, 22), 30), 240) for _ in range(3))
    cabin_x = x - facing * 0.04 * length
    top, waist, sill = foot - 0.4 * length, foot - 0.24 * length, foot - 0.07 * length

    roof = trapezoid(top, waist + 1, cabin_x, 0.2 * length, 0.33 * length)
    canvas.paint(roof, (0.92 * red, 0.92 * green, 0.92 * blue), CAR)
    glass = trapezoid(top + 1.2, waist, cabin_x, 0.17 * length, 0.26 * length)
    canvas.paint(glass, (62, 70, 80), CAR)
    canvas.paint(rectangle(top, cabin_x - 0.6, waist, cabin_x + 0.6), (red, green, blue), CAR)
    body = trapezoid(waist, sill, x, 0.46 * length, 0.5 * length)
    canvas.paint(body, (red, green, blue), CAR)
    stripe = rectangle(sill - 1.5, x - 0.5 * length, sill, x + 0.5 * length)
    canvas.paint(stripe, (0.7 * red, 0.7 * green, 0.7 * blue), CAR)
    for side in (-1, 1):
        paint_wheel(canvas, foot - 0.09 * length, x + side * 0.29 * length, 0.095 * length)


def paint_cars(canvas: Canvas, rng: Dice, ground: float) -> None:
    """One or two, the second well beside the first."""
    x = rng.uniform(10, canvas.width - 10)
    for _ in range(rng.integer(1, 2)):
        paint_car(canvas, rng, ground + rng.choice((9.5, 15.0)), x)
        x = (x + rng.uniform(60, canvas.width - 60)) % canvas.width


def paint_bonnet(canvas: Canvas, rng: Dice) -> None:
    """Of the car that carries the camera: labelled to be ignored."""
    x, height = canvas.width * rng.uniform(0.44, 0.56), rng.uniform(3, 5.5)
    bonnet = ellipse(canvas.height + 1, x, height, rng.uniform(32, 46))
    canvas.paint(bonnet, (46, 47, 52), IGNORE_INDEX)


def vignette(canvas: Canvas) -> np.ndarray:
    """12 % darker in the corners.  -> factor (H, W)"""
    down = canvas.y * (2 / canvas.height) - 1
    right = canvas.x * (2 / canvas.width) - 1
    return 1 - 0.06 * (down * down + right * right)


def develop(canvas: Canvas, rng: Dice) -> np.ndarray:
    """Exposure, tint, vignette and sensor noise.  -> uint8 (H, W, 3)"""
    gain = rng.uniform(0.82, 1.12)
    tint = [gain * rng.uniform(0.96, 1.04) for _ in range(3)]
    photo = canvas.colours * vignette(canvas)
    photo *= np.array(tint, np.float32)[:, None, None]
    photo += rng.noise(3, canvas.height, canvas.width) * rng.uniform(2, 6)
    photo = np.minimum(np.maximum(photo + 0.5, 0), 255).astype(np.uint8)
    return np.ascontiguousarray(photo.transpose(1, 2, 0))
