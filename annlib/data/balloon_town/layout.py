"""The objects of a scene, their classes, colours and positions, and how a seed determines them.

Places, sizes and paints are drawn first, patterns last and independently. Coordinates as in
painting.py: y down, x right, in pixels. Legend: H height, W width.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import TypeVar

import numpy as np

from annlib.data.classes import BALLOON_TOWN

Item = TypeVar("Item")
Colour = Sequence[float]  # red, green, blue, 0-255
HEIGHT, WIDTH = 128, 192
NUM_HOUSES = 3
SKY, ROAD, GREEN, CAR = range(4)  # recognisable from nearby pixels
BALLOONS = (4, 5, 6)  # by pattern
HOUSES = (7, 8, 9)  # by the pattern of the balloon that decides
PATTERNS = ("belt", "stripe", "disc")
CLASS_NAMES = BALLOON_TOWN.class_names
PALETTE = np.array(BALLOON_TOWN.palette, np.uint8)
TABLES = tomllib.loads(Path(__file__).parents[1].joinpath("balloon_town.toml").read_text())
PAINTS: dict[str, Colour] = TABLES["paints"]


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


@dataclass(frozen=True)
class Balloon:
    """Fabric and basket. Its place in `Layout.balloons` (left to right) + 1 is its `instance`."""

    instance: int
    paint: str  # key of PAINTS
    pattern: int  # index of PATTERNS
    y: float  # centre of the fabric
    x: float
    radius: float

    @property
    def label(self) -> int:
        return BALLOONS[self.pattern]

    @property
    def bottom(self) -> float:  # of the basket
        return self.y + self.radius + 5.2


@dataclass(frozen=True)
class House:
    """A building whose class is the pattern of `balloons[decided_by]`, which has the same paint."""

    instance: int  # continues after those of the balloons
    paint: str
    decided_by: int  # index of `Layout.balloons`
    pattern: int  # index of PATTERNS
    top: float  # ridge of the roof
    left: float
    bottom: float
    right: float

    @property
    def label(self) -> int:
        return HOUSES[self.pattern]


@dataclass(frozen=True)
class Layout:
    """All that determines the labels of a scene. Balloons and houses go from left to right."""

    seed: int  # also that of the decoration
    balloons: tuple[Balloon, ...]
    houses: tuple[House, ...]
    ground: float  # y where the houses stand


@dataclass(frozen=True)
class Scene(Layout):
    """A painted layout. Instances: 0 none, 1..n balloons, then houses, as in their `instance`."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    labels: np.ndarray  # uint8 (H, W), IGNORE_INDEX along borders and on the bonnet
    instances: np.ndarray  # uint8 (H, W), without ignored borders

    def mask(self, thing: Balloon | House) -> np.ndarray:
        """Visible pixels of a balloon or house.  -> bool (H, W)"""
        return self.instances == thing.instance


def with_patterns(layout: Layout, patterns: Sequence[int]) -> Layout:
    """The same layout with these patterns of the balloons from left to right; houses follow."""
    if len(patterns) != len(layout.balloons) or not set(patterns) <= {0, 1, 2}:
        said = f"patterns {list(patterns)} do not suit {len(layout.balloons)} balloons: give each,"
        raise ValueError(f"{said} from left to right, an index of {PATTERNS}.")
    pairs = zip(layout.balloons, patterns, strict=True)
    balloons = tuple(replace(balloon, pattern=int(pattern)) for balloon, pattern in pairs)
    houses = (replace(house, pattern=balloons[house.decided_by].pattern) for house in layout.houses)
    return replace(layout, balloons=balloons, houses=tuple(houses))


def line_up(rng: Dice, widths: Sequence[float], margin: float, gap: float) -> list[float]:
    """Left edges in pixels: `gap` apart and `margin` from the border at least, otherwise random."""
    slack = WIDTH - 2 * margin - gap * (len(widths) - 1) - fsum(widths)
    if slack < 0:
        said = f"{len(widths)} balloons of {max(widths):.0f} px do not fit beside each other into"
        raise ValueError(f"{said} {WIDTH} px: ask for smaller ones.")
    lefts, left = [], margin
    offsets = sorted(rng.uniform(0, slack) for _ in widths)
    for offset, width in zip(offsets, widths, strict=True):
        lefts.append(left + offset)
        left += width + gap
    return lefts


def plan_scene(
    seed: int, *, patterns: Sequence[int] | None = None, radius: float | None = None
) -> Layout:
    """Draws a layout; thousands a second, because nothing is painted.

    patterns: of the balloons from left to right. radius: of all balloons, in pixels.
    """
    rng = Dice(seed, stream=0)
    ground = rng.uniform(106, 108)
    num_balloons = NUM_HOUSES + rng.integer(0, 1)
    paints = rng.shuffled(list(PAINTS))[:num_balloons]

    radii = [rng.uniform(13, 14.8) for _ in paints]
    ys = [rng.uniform(16, 17) for _ in paints]
    if radius is not None:
        radii = [radius] * num_balloons
    lefts = line_up(rng, [2 * radius for radius in radii], margin=3, gap=6)
    rows = zip(rng.shuffled(paints), ys, lefts, radii, strict=True)
    balloons = tuple(
        Balloon(instance, paint, 0, y, left + radius, radius)
        for instance, (paint, y, left, radius) in enumerate(rows, 1)
    )

    widths = [rng.uniform(31, 42) for _ in range(NUM_HOUSES)]
    tops = [max(ground - rng.uniform(25.5, 28), 80.5) for _ in range(NUM_HOUSES)]
    lefts = line_up(rng, widths, margin=4, gap=14)
    balloon_of = {balloon.paint: index for index, balloon in enumerate(balloons)}
    rows = zip(rng.shuffled(paints[:NUM_HOUSES]), tops, lefts, widths, strict=True)
    houses = tuple(
        House(instance, paint, balloon_of[paint], 0, top, left, ground, left + width)
        for instance, (paint, top, left, width) in enumerate(rows, num_balloons + 1)
    )
    if patterns is None:
        patterns = [rng.integer(0, 2) for _ in balloons]
    return with_patterns(Layout(seed, balloons, houses, ground), patterns)
