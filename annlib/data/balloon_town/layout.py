"""The objects of a scene: classes, colours, positions, and what a majority vote would predict.

A house is a home, a shop or a school according to the pattern of the balloon with its paint.
Coordinates as in painting.py: y down, x right, in pixels. Legend: H height, W width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, fsum
from typing import NamedTuple

import numpy as np

from annlib.data.balloon_town.painting import Colour

HEIGHT, WIDTH = 128, 192
SKY, ROAD, GREEN, CAR = range(4)  # recognisable on the spot
BALLOONS = (4, 5, 6)  # by pattern
HOUSES = (7, 8, 9)  # by the pattern of the balloon that decides
PATTERNS = ("belt", "stripe", "disc")
CLASS_NAMES = (
    *("sky", "road", "green", "car"),
    *("belt balloon", "stripe balloon", "disc balloon"),
    *("home", "shop", "school"),
)
PALETTE = np.array(
    [
        *[(186, 244, 236), (113, 119, 104), (159, 197, 141), (50, 36, 20)],
        *[(96, 143, 243), (255, 242, 83), (216, 154, 212)],
        *[(0, 44, 171), (226, 120, 0), (144, 59, 147)],
    ],
    np.uint8,
)
PAINTS: dict[str, Colour] = {  # of houses and balloons, to be told apart by everyone
    "vermilion": (213, 80, 20),
    "orange": (240, 160, 20),
    "yellow": (245, 232, 80),
    "green": (0, 150, 105),
    "blue": (20, 85, 175),
    "pink": (200, 105, 165),
}


class Box(NamedTuple):
    """Pixels, half-open: rows top..bottom-1, columns left..right-1."""

    top: int
    left: int
    bottom: int
    right: int


def pixels(top: float, left: float, bottom: float, right: float) -> Box:
    """The smallest Box around exact edges."""
    return Box(floor(top), floor(left), ceil(bottom), ceil(right))


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
    def box(self) -> Box:
        y, x, radius = self.y, self.x, self.radius
        return pixels(y - radius, x - radius, y + radius + 5.2, x + radius)


@dataclass(frozen=True)
class House:
    """A building whose class is the pattern of `balloons[decided_by]`, which has the same paint."""

    instance: int  # goes on where those of the balloons end
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

    @property
    def box(self) -> Box:
        return pixels(self.top, self.left, self.bottom, self.right)


@dataclass(frozen=True)
class Layout:
    """What stands where: all that a scene means. Balloons and houses go from left to right."""

    seed: int  # also that of the decoration
    balloons: tuple[Balloon, ...]
    houses: tuple[House, ...]
    ground: float  # y where the houses stand


@dataclass(frozen=True)
class Scene:
    """A painted layout. Instances: 0 none, 1..n balloons, then houses, as in their `instance`."""

    layout: Layout
    image: np.ndarray  # uint8 (H, W, 3), RGB
    labels: np.ndarray  # uint8 (H, W), IGNORE_INDEX along borders and on the bonnet
    instances: np.ndarray  # uint8 (H, W), without ignored borders

    @property
    def seed(self) -> int:
        return self.layout.seed

    @property
    def balloons(self) -> tuple[Balloon, ...]:
        return self.layout.balloons

    @property
    def houses(self) -> tuple[House, ...]:
        return self.layout.houses

    def mask(self, thing: Balloon | House) -> np.ndarray:
        """Visible pixels of a balloon or house.  -> bool (H, W)"""
        return self.instances == thing.instance


def with_patterns(layout: Layout, patterns: Sequence[int]) -> Layout:
    """The same place with these patterns, balloons from left to right; houses follow."""
    if len(patterns) != len(layout.balloons) or not set(patterns) <= {0, 1, 2}:
        raise ValueError(
            f"patterns {list(patterns)} do not suit {len(layout.balloons)} balloons: "
            f"give each, from left to right, an index of {PATTERNS}."
        )
    balloons = [
        replace(balloon, pattern=int(pattern))
        for balloon, pattern in zip(layout.balloons, patterns, strict=True)
    ]
    houses = [replace(house, pattern=balloons[house.decided_by].pattern) for house in layout.houses]
    return replace(layout, balloons=tuple(balloons), houses=tuple(houses))


# The voter, who counts patterns but does not match paints


def most_frequent_patterns(scene: Scene | Layout) -> list[int]:
    """All patterns that no other outnumbers, as indices of PATTERNS in rising order."""
    patterns = [balloon.pattern for balloon in scene.balloons]
    most = max(patterns.count(pattern) for pattern in patterns)
    return [pattern for pattern in range(3) if patterns.count(pattern) == most]


def vote(scene: Scene | Layout) -> int:
    """The class (7, 8 or 9) that a voter gives to all houses; ties go to the lowest pattern."""
    return HOUSES[most_frequent_patterns(scene)[0]]


def voting_accuracy(scenes: Iterable[Scene | Layout]) -> float:
    """Share of houses, 0-1, that a voter gets right on average who breaks ties at random."""
    right = [
        (house.pattern in winners) / len(winners)
        for scene in scenes
        for winners in [most_frequent_patterns(scene)]
        for house in scene.houses
    ]
    return fsum(right) / len(right)
