"""Paints a layout: anti-aliased objects by signed distances over a decorative background.

Arrays meet only + - * / sqrt, min, max and comparisons, one NumPy call each. IEEE 754 fixes every
bit of those, so an image has the same bytes on every machine; sin, exp, sums and matmul would not.
The decoration comes from a random stream of its own, in a fixed order, whatever the patterns are.

Coordinates: y down, x right, in pixels; the centre of the first pixel is (0.5, 0.5).
ground: y where the houses stand; horizon: y where the sky ends.
Legend: H height, W width of the canvas; h, w of the window around one shape.
"""

from collections.abc import Callable
from math import ceil, floor, sqrt
from typing import NamedTuple

import numpy as np

from annlib.config import IGNORE_INDEX
from annlib.data.balloon_town.layout import (
    CAR,
    GREEN,
    HEIGHT,
    PAINTS,
    ROAD,
    TABLES,
    WIDTH,
    Balloon,
    Colour,
    Dice,
    House,
    Layout,
    Scene,
)

WHITE: Colour = (250, 248, 242)
HILLS = np.array([(178, 186, 182), (152, 163, 148)])  # far, near


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


def paint_sky(canvas: Canvas, rng: Dice, horizon: float) -> None:
    """A gradient that ends at the horizon, one to three clouds."""
    zenith, haze = (np.array(c, np.float32)[:, None, None] for c in rng.choice(TABLES["skies"]))
    canvas.colours[:] = zenith + (haze - zenith) * unit(canvas.y / horizon)
    for _ in range(rng.integer(1, 3)):
        x, y, size = rng.uniform(0, WIDTH), rng.uniform(8, 54), rng.uniform(8, 18)
        for _ in range(5):
            down, right = size * rng.uniform(-0.2, 0.2), size * rng.uniform(-1.4, 1.4)
            radii = size * rng.uniform(0.2, 0.4), size * rng.uniform(0.5, 1)
            puff, alpha = ellipse(y + down, x + right, *radii), rng.uniform(0.2, 0.45)
            canvas.paint(puff, (252, 250, 248), alpha=alpha, softness=3)


def paint_tree(canvas: Canvas, rng: Dice, foot: float, x: float, size: float) -> None:
    """Trunk and five lobes of grey-green, lit from above; size: its height in pixels."""
    half = 0.4 + 0.035 * size
    canvas.paint(rectangle(foot - 0.5 * size, x - half, foot, x + half), (92, 80, 70), GREEN)
    light = rng.uniform(0.85, 1.15)
    for up, aside in ((0.44, -0.15), (0.44, 0.15), (0.56, 0), (0.68, -0.1), (0.71, 0.08)):
        y = foot - size * (up + rng.uniform(-0.03, 0.03))
        lobe = disc(y, x + size * (aside + rng.uniform(-0.04, 0.04)), 0.27 * size)
        tone = light * (0.72 + 0.5 * up)
        canvas.paint(lobe, (96 * tone, 110 * tone, 98 * tone), GREEN)


def paint_hills(canvas: Canvas, rng: Dice, horizon: float) -> None:
    """Two ridges of three ever smaller waves each, two to five small trees on the far one."""
    meadow = 1 + 0.03 * smooth(rng.noise(20, 29), 7, HEIGHT, WIDTH)
    ridges = []  # y in each column, float32 (W,)
    for base, amplitude in ((horizon + 4, 6), (horizon + 13, 5)):
        height = np.zeros(WIDTH, np.float32)
        for j in (1, 2, 3):
            frequency, phase = j * rng.uniform(0.6, 1.6) / WIDTH, rng.uniform(0, 1)
            height += wave(canvas.x[0] * frequency + phase) * (1 / j)
        ridges.append(base - 0.6 * amplitude * height)
    for is_far, ridge, colour in zip((True, False), ridges, HILLS, strict=True):
        canvas.paint(below(ridge), rng.uniform(0.9, 1.1) * colour, GREEN)
        canvas.shade(below(ridge), meadow)
        for _ in range(rng.integer(2, 5) if is_far else 0):
            x = rng.uniform(2, WIDTH - 2)
            foot = float(ridge[int(x)]) + rng.uniform(1.5, 4)
            paint_tree(canvas, rng, foot, x, rng.uniform(9, 14))


def paint_road(canvas: Canvas, rng: Dice, ground: float, grain: np.ndarray) -> None:
    """Mist behind the houses, pavement, kerb, dashed lane.  grain: noise (H, W)"""
    density = rng.uniform(0.25, 0.55) * unit(1 - np.abs(canvas.y - ground) / 34)  # (H, 1)
    haze = np.array((228, 229, 226), np.float32)[:, None, None]
    canvas.colours += density * (haze - canvas.colours)
    kerb = ground + 3.5
    road = rectangle(kerb, -2, HEIGHT + 2, WIDTH + 2)
    canvas.paint(rectangle(ground, -2, HEIGHT + 2, WIDTH + 2), (168, 164, 158), ROAD)
    canvas.paint(road, (96, 97, 102))
    canvas.shade(road, 1 + 0.03 * grain)
    canvas.paint(rectangle(kerb - 0.6, -2, kerb + 0.6, WIDTH + 2), (192, 190, 186))
    start = rng.uniform(-26, 0)
    for left in (start + 26 * dash for dash in range(9)):
        canvas.paint(rectangle(kerb + 11, left, kerb + 12.5, left + 13), (214, 212, 206))


def trapezoid(top: float, bottom: float, x: float, top_half: float, bottom_half: float) -> Shape:
    """Symmetric about x, with half its width above and below."""
    upper = (top, x - top_half), (top, x + top_half)
    return polygon(*upper, (bottom, x + bottom_half), (bottom, x - bottom_half))


def paint_cars(canvas: Canvas, rng: Dice, ground: float) -> None:
    """One or two, the second well beside the first; nearly grey, so that paint marks the houses."""
    x = rng.uniform(10, WIDTH - 10)
    for _ in range(rng.integer(1, 2)):
        foot, size = ground + rng.choice((9.5, 15.0)), rng.uniform(27, 35)
        grey, facing = rng.uniform(60, 225), rng.choice((-1, 1))
        paint = np.array([min(max(grey + rng.uniform(-22, 22), 30), 240) for _ in range(3)])
        cabin = x - facing * 0.04 * size
        top, waist, sill = foot - 0.4 * size, foot - 0.24 * size, foot - 0.07 * size
        canvas.paint(trapezoid(top, waist + 1, cabin, 0.2 * size, 0.33 * size), 0.92 * paint, CAR)
        glass = trapezoid(top + 1.2, waist, cabin, 0.17 * size, 0.26 * size)
        canvas.paint(glass, (62, 70, 80), CAR)
        canvas.paint(rectangle(top, cabin - 0.6, waist, cabin + 0.6), paint, CAR)
        canvas.paint(trapezoid(waist, sill, x, 0.46 * size, 0.5 * size), paint, CAR)
        stripe = rectangle(sill - 1.5, x - 0.5 * size, sill, x + 0.5 * size)
        canvas.paint(stripe, 0.7 * paint, CAR)
        for hub in (x - 0.29 * size, x + 0.29 * size):
            canvas.paint(disc(foot - 0.09 * size, hub, 0.095 * size), (34, 34, 38), CAR)
            hubcap = disc(foot - 0.09 * size, hub, 0.5 * (0.095 * size))
            canvas.paint(hubcap, (150, 150, 152), CAR)
        x = (x + rng.uniform(60, WIDTH - 60)) % WIDTH


def jittered(rng: Dice, paint: str) -> Colour:
    """The paint, up to 10 of 255 off in each channel, as from weather and wear."""
    return [channel + rng.uniform(-10, 10) for channel in PAINTS[paint]]


def paint_house(canvas: Canvas, rng: Dice, house: House, grain: np.ndarray) -> None:
    """Facade, grey roof, door and windows: none hints at the class.  grain: noise (H, W)"""
    left, right, bottom, ridge = house.left, house.right, house.bottom, house.top
    width, mark = right - left, (house.label, house.instance)
    eaves = ridge + (bottom - ridge) * rng.uniform(0.26, 0.34)
    facade = rectangle(eaves - 1, left + 1.5, bottom, right - 1.5)
    canvas.paint(facade, jittered(rng, house.paint), *mark)
    siding = 1 - 0.07 * ((canvas.y - bottom) % 4 < 1)
    aside = 1 - 0.08 * unit((canvas.x - left) / width)
    canvas.shade(facade, (siding * aside * (1 + 0.025 * grain)).astype(np.float32))

    inset = width * rng.choice((0.46, 0.22, 0.05))
    grey = rng.uniform(70, 105)
    has_chimney, x = rng.uniform(0, 1) < 0.6, left + width * rng.uniform(0.25, 0.75)
    if has_chimney:
        chimney = rectangle(ridge, x - 2, eaves, x + 2)
        canvas.paint(chimney, (0.85 * grey, 0.8 * grey, 0.78 * grey), *mark)
        ridge += 1.5
    roof = polygon((ridge, left + inset), (ridge, right - inset), (eaves, right), (eaves, left))
    canvas.paint(roof, (grey, 0.97 * grey, 0.96 * grey), *mark)

    num_bays = max(2, int(width) // 11)
    door = rng.integer(0, num_bays - 1)
    y = eaves + 0.46 * (bottom - eaves)  # of the windows
    for bay in range(num_bays):
        x = left + (bay + 0.5) / num_bays * (width - 4) + 2
        lit = rng.uniform(0, 1) < 0.25
        if bay == door:
            canvas.paint(rectangle(bottom - 11.5, x - 3.1, bottom, x + 3.1), (82, 66, 58))
            canvas.paint(disc(bottom - 5.5, x + 1.6, 0.6), (190, 180, 150))
        else:
            canvas.paint(rectangle(y - 4.1, x - 3.1, y + 4.1, x + 3.1), (240, 238, 232))
            glass = (246, 226, 160) if lit else (88, 102, 118)
            canvas.paint(rectangle(y - 3.1, x - 2.1, y + 3.1, x + 2.1), glass)


def paint_balloon(canvas: Canvas, rng: Dice, balloon: Balloon) -> None:
    """Ropes, basket, fabric, pattern and light; no random number depends on the pattern."""
    y, x, radius = balloon.y, balloon.x, balloon.radius
    foot, mark = balloon.bottom, (balloon.label, balloon.instance)
    for side in (-1, 1):
        rope = line(y + 0.8 * radius, x + side * 0.42 * radius, foot - 2.5, x + side * 2.2, 0.8)
        canvas.paint(rope, (110, 88, 66))
    canvas.paint(rectangle(foot - 3, x - 2.4, foot, x + 2.4), (134, 92, 52), *mark)

    def envelope(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Distance from a circle that narrows towards the basket."""
        down = unit((rows - y) / radius)
        right = (columns - x) / (1 - 0.3 * down * down)
        return np.sqrt(right * right + (rows - y) * (rows - y)) - radius

    fabric = Shape(y - radius, x - radius, y + radius, x + radius, envelope)
    canvas.paint(fabric, jittered(rng, balloon.paint), *mark)
    half = 0.21 * radius
    pattern = (
        rectangle(y - half, x - 2 * radius, y + half, x + 2 * radius),  # belt
        rectangle(y - 2 * radius, x - half, y + 2 * radius, x + half),  # stripe
        disc(y, x, 0.42 * radius),
    )[balloon.pattern]
    on_fabric = fabric._replace(
        distance=lambda *place: np.maximum(envelope(*place), pattern.distance(*place))
    )
    canvas.paint(on_fabric, WHITE)
    right, down = (canvas.x - x) / radius + 0.35, (canvas.y - y) / radius + 0.35
    canvas.shade(fabric, 1.03 - 0.22 * unit((right * right + down * down) * 0.45))  # from above


def develop(canvas: Canvas, rng: Dice) -> np.ndarray:
    """Exposure, tint, vignette (12 % darker in the corners), noise.  -> uint8 (H, W, 3)"""
    gain = rng.uniform(0.82, 1.12)
    tint = [gain * rng.uniform(0.96, 1.04) for _ in range(3)]
    down, right = canvas.y * (2 / HEIGHT) - 1, canvas.x * (2 / WIDTH) - 1
    image = canvas.colours * (1 - 0.06 * (down * down + right * right))
    image *= np.array(tint, np.float32)[:, None, None]
    image += rng.noise(3, HEIGHT, WIDTH) * rng.uniform(2, 6)
    image = np.minimum(np.maximum(image + 0.5, 0), 255).astype(np.uint8)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def ignore_borders(labels: np.ndarray) -> np.ndarray:
    """Every pixel beside a pixel of another label becomes IGNORE_INDEX.  (H, W) -> (H, W)"""
    border = np.zeros(labels.shape, bool)
    beside, above = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= beside
    border[:, :-1] |= beside
    border[1:] |= above
    border[:-1] |= above
    return np.where(border, np.uint8(IGNORE_INDEX), labels)


def paint_scene(layout: Layout) -> Scene:
    """Paints from back to front; the bonnet of the camera's own car is labelled as ignored."""
    rng = Dice(layout.seed, stream=1)
    canvas = Canvas(HEIGHT, WIDTH)
    ground, grain = layout.ground, rng.noise(HEIGHT, WIDTH)
    horizon = rng.uniform(0.50, 0.56) * HEIGHT
    paint_sky(canvas, rng, horizon)
    paint_hills(canvas, rng, horizon)
    paint_road(canvas, rng, ground, grain)
    for _ in range(rng.integer(2, 4)):
        paint_tree(canvas, rng, ground, rng.uniform(4, WIDTH - 4), rng.uniform(20, 27))
    for house in layout.houses:
        paint_house(canvas, rng, house, grain)
    for _ in range(rng.integer(1, 3)):
        house = rng.choice(layout.houses)
        beside = rng.choice((house.left - 5, house.right + 5))
        paint_tree(canvas, rng, ground + 1, beside, rng.uniform(11, 15))
    for balloon in layout.balloons:
        paint_balloon(canvas, rng, balloon)
    paint_cars(canvas, rng, ground)
    x, height = WIDTH * rng.uniform(0.44, 0.56), rng.uniform(3, 5.5)
    bonnet = ellipse(HEIGHT + 1, x, height, rng.uniform(32, 46))
    canvas.paint(bonnet, (46, 47, 52), IGNORE_INDEX)
    planned = layout.seed, layout.balloons, layout.houses, layout.ground
    return Scene(*planned, develop(canvas, rng), ignore_borders(canvas.labels), canvas.instances)
