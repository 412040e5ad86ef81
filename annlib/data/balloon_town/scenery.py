"""The decorative background of a scene: sky, hills, trees, road, cars and the camera.

Every painter draws its decoration from `rng`, in a fixed order: the same seed, the same picture.
ground: y where the houses stand; horizon: y where the sky ends. Legend: H height, W width.
"""

import numpy as np

from annlib.config import IGNORE_INDEX
from annlib.data.balloon_town.layout import CAR, GREEN, ROAD
from annlib.data.balloon_town.painting import (
    Canvas,
    Colour,
    Dice,
    Shape,
    below,
    disc,
    ellipse,
    polygon,
    rectangle,
    smooth,
    unit,
    wave,
)

SKIES: tuple[tuple[Colour, Colour], ...] = (  # zenith, horizon
    ((190, 207, 222), (233, 237, 238)),
    ((206, 207, 222), (241, 228, 217)),
    ((199, 193, 217), (238, 227, 234)),
    ((158, 169, 185), (209, 215, 221)),
    ((193, 210, 209), (240, 239, 224)),
)


def paint_sky(canvas: Canvas, rng: Dice, horizon: float) -> None:
    """A gradient that ends at the horizon, one to three clouds."""
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
    """Trunk and five lobes of grey-green, lit from above; size: its height in pixels."""
    half = 0.4 + 0.035 * size
    canvas.paint(rectangle(foot - 0.5 * size, x - half, foot, x + half), (92, 80, 70), GREEN)
    light = rng.uniform(0.85, 1.15)
    for up, aside in ((0.44, -0.15), (0.44, 0.15), (0.56, 0), (0.68, -0.1), (0.71, 0.08)):
        y = foot - size * (up + rng.uniform(-0.03, 0.03))
        lobe = disc(y, x + size * (aside + rng.uniform(-0.04, 0.04)), 0.27 * size)
        tone = light * (0.72 + 0.5 * up)
        canvas.paint(lobe, (96 * tone, 110 * tone, 98 * tone), GREEN)


def ridge(rng: Dice, canvas: Canvas, base: float, amplitude: float) -> np.ndarray:
    """The outline of a hill: three ever smaller waves.  -> y in each column, float32 (W,)"""
    height = np.zeros(canvas.width, np.float32)
    for j in (1, 2, 3):
        frequency, phase = j * rng.uniform(0.6, 1.6) / canvas.width, rng.uniform(0, 1)
        height += wave(canvas.x[0] * frequency + phase) * (1 / j)
    return base - 0.6 * amplitude * height


def paint_hills(canvas: Canvas, rng: Dice, horizon: float) -> None:
    """Two layers, two to five small trees on the far one."""
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
    """Pavement, kerb and dashed lane down to the lower border.  grain: noise (H, W)"""
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
    """Tyre and hub."""
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


# The camera


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
