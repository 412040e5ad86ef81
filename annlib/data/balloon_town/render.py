"""Renders the labelled objects of a layout over a decorative background.

Legend: H height, W width of the canvas.
"""

import numpy as np

from annlib.config import IGNORE_INDEX
from annlib.data.balloon_town.layout import HEIGHT, PAINTS, WIDTH, Balloon, House, Layout, Scene
from annlib.data.balloon_town.painting import (
    Canvas,
    Colour,
    Dice,
    Shape,
    disc,
    line,
    overlap,
    polygon,
    rectangle,
    unit,
)
from annlib.data.balloon_town.scenery import (
    develop,
    paint_bonnet,
    paint_cars,
    paint_hills,
    paint_mist,
    paint_road,
    paint_sky,
    paint_tree,
)

WHITE: Colour = (250, 248, 242)


def jittered(rng: Dice, paint: str) -> Colour:
    """The paint, up to 10 of 255 off in each channel, as in weather and wear."""
    red, green, blue = (channel + rng.uniform(-10, 10) for channel in PAINTS[paint])
    return red, green, blue


def paint_roof(canvas: Canvas, rng: Dice, house: House, eaves: float) -> None:
    """Gable, hip or flat in a neutral grey, with or without a chimney: no hint at the class."""
    left, right, ridge = house.left, house.right, house.top
    inset = (right - left) * rng.choice((0.46, 0.22, 0.05))
    grey = rng.uniform(70, 105)
    has_chimney, x = rng.uniform(0, 1) < 0.6, left + (right - left) * rng.uniform(0.25, 0.75)
    if has_chimney:
        ridge += 1.5
        chimney = rectangle(house.top, x - 2, eaves, x + 2)
        tones = (0.85 * grey, 0.8 * grey, 0.78 * grey)
        canvas.paint(chimney, tones, house.label, house.instance)
    roof = polygon((ridge, left + inset), (ridge, right - inset), (eaves, right), (eaves, left))
    canvas.paint(roof, (grey, 0.97 * grey, 0.96 * grey), house.label, house.instance)


def paint_openings(canvas: Canvas, rng: Dice, house: House, eaves: float) -> None:
    """One door, else windows, a bay each."""
    width = house.right - house.left
    num_bays = max(2, int(width) // 11)
    door = rng.integer(0, num_bays - 1)
    for bay in range(num_bays):
        x = house.left + (bay + 0.5) / num_bays * (width - 4) + 2
        lit = rng.uniform(0, 1) < 0.25
        if bay == door:
            frame = rectangle(house.bottom - 11.5, x - 3.1, house.bottom, x + 3.1)
            canvas.paint(frame, (82, 66, 58))
            canvas.paint(disc(house.bottom - 5.5, x + 1.6, 0.6), (190, 180, 150))
            continue
        y = eaves + 0.46 * (house.bottom - eaves)
        canvas.paint(rectangle(y - 4.1, x - 3.1, y + 4.1, x + 3.1), (240, 238, 232))
        glass = (246, 226, 160) if lit else (88, 102, 118)
        canvas.paint(rectangle(y - 3.1, x - 2.1, y + 3.1, x + 2.1), glass)


def paint_house(canvas: Canvas, rng: Dice, house: House, grain: np.ndarray) -> None:
    """Facade with siding, roof, one door and windows.  grain: noise (H, W)"""
    eaves = house.top + (house.bottom - house.top) * rng.uniform(0.26, 0.34)
    facade = rectangle(eaves - 1, house.left + 1.5, house.bottom, house.right - 1.5)
    canvas.paint(facade, jittered(rng, house.paint), house.label, house.instance)
    siding = 1 - 0.07 * ((canvas.y - house.bottom) % 4 < 1)
    aside = 1 - 0.08 * unit((canvas.x - house.left) / (house.right - house.left))
    canvas.shade(facade, (siding * aside * (1 + 0.025 * grain)).astype(np.float32))
    paint_roof(canvas, rng, house, eaves)
    paint_openings(canvas, rng, house, eaves)


def envelope(balloon: Balloon) -> Shape:
    """A circle that narrows towards the basket."""
    y, x, radius = balloon.y, balloon.x, balloon.radius

    def distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        down = unit((rows - y) / radius)
        right = (columns - x) / (1 - 0.3 * down * down)
        return np.sqrt(right * right + (rows - y) * (rows - y)) - radius

    return Shape(y - radius, x - radius, y + radius, x + radius, distance)


def pattern_shape(balloon: Balloon) -> Shape:
    """Belt (across), stripe (upright) or disc, cut to the fabric."""
    y, x, radius = balloon.y, balloon.x, balloon.radius
    half = 0.21 * radius
    shapes = (
        rectangle(y - half, x - 2 * radius, y + half, x + 2 * radius),
        rectangle(y - 2 * radius, x - half, y + 2 * radius, x + half),
        disc(y, x, 0.42 * radius),
    )
    return overlap(envelope(balloon), shapes[balloon.pattern])


def bulge(canvas: Canvas, balloon: Balloon) -> np.ndarray:
    """Light from the upper left, 22 % darker at the far rim.  -> factor (H, W)"""
    right = (canvas.x - balloon.x) / balloon.radius + 0.35
    down = (canvas.y - balloon.y) / balloon.radius + 0.35
    return 1.03 - 0.22 * unit((right * right + down * down) * 0.45)


def paint_balloon(canvas: Canvas, rng: Dice, balloon: Balloon) -> None:
    """Ropes, basket, fabric, pattern and light; no random number depends on the pattern."""
    y, x, radius = balloon.y, balloon.x, balloon.radius
    foot = y + radius + 5.2
    for side in (-1, 1):
        rope = line(y + 0.8 * radius, x + side * 0.42 * radius, foot - 2.5, x + side * 2.2, 0.8)
        canvas.paint(rope, (110, 88, 66))
    basket = rectangle(foot - 3, x - 2.4, foot, x + 2.4)
    canvas.paint(basket, (134, 92, 52), balloon.label, balloon.instance)
    fabric = envelope(balloon)
    canvas.paint(fabric, jittered(rng, balloon.paint), balloon.label, balloon.instance)
    canvas.paint(pattern_shape(balloon), WHITE)
    canvas.shade(fabric, bulge(canvas, balloon))


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
    """From back to front; decoration comes from a stream of its own, whatever the patterns."""
    rng = Dice(layout.seed, stream=1)
    canvas = Canvas(HEIGHT, WIDTH)
    ground, grain = layout.ground, rng.noise(HEIGHT, WIDTH)
    horizon = rng.uniform(0.50, 0.56) * HEIGHT
    paint_sky(canvas, rng, horizon)
    paint_hills(canvas, rng, horizon)
    paint_mist(canvas, rng, ground)
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
    paint_bonnet(canvas, rng)
    return Scene(layout, develop(canvas, rng), ignore_borders(canvas.labels), canvas.instances)
