"""Balloon Town: a procedural world in which far context is needed.

A house is a home, a shop or a school according to the pattern (belt, stripe, disc) of the balloon
that has the house's paint, far away in the sky. The house itself looks the same for all three: a
local network can only guess (1/3); one that counts patterns but does not match paints can only vote
(11/18 = 0.61: 17/27 with three balloons, 16/27 with four).

One scene is a `Layout` (what stands where, from stream 0 of the seed), painted with decoration from
stream 1. Patterns are drawn last: to change them, and nothing else, makes the counterfactual scene.
The same seed gives the same bytes on every machine, for the reasons told in painting.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, fsum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from annlib.config import IGNORE_INDEX
from annlib.data.painting import (
    Canvas,
    Colour,
    Dice,
    Shape,
    develop,
    disc,
    line,
    overlap,
    paint_bonnet,
    paint_cars,
    paint_hills,
    paint_mist,
    paint_road,
    paint_sky,
    paint_tree,
    polygon,
    rectangle,
    unit,
)

HEIGHT, WIDTH = 128, 192
BALLOONS = (4, 5, 6)  # by pattern
HOUSES = (7, 8, 9)  # by the pattern of the balloon that decides
PATTERNS = ("belt", "stripe", "disc")
CLASS_NAMES = (
    *("sky", "road", "green", "car"),
    *("belt-balloon", "stripe-balloon", "disc-balloon"),
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
PAINTS: dict[str, Colour] = {
    "vermilion": (213, 80, 20),
    "orange": (240, 160, 20),
    "yellow": (245, 232, 80),
    "green": (0, 150, 105),
    "blue": (20, 85, 175),
    "pink": (200, 105, 165),
}
WHITE: Colour = (250, 248, 242)


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
    paint: str
    pattern: int  # index of PATTERNS
    y: float
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

    instance: int
    paint: str
    decided_by: int
    pattern: int
    top: float
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

    seed: int
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


# The plan


def line_up(rng: Dice, widths: Sequence[float], margin: float, gap: float) -> list[float]:
    """Left edges of things beside each other, at least `gap` apart and `margin` from the border."""
    slack = WIDTH - 2 * margin - gap * (len(widths) - 1) - fsum(widths)
    if slack < 0:
        raise ValueError(
            f"{len(widths)} things of {min(widths):.0f}-{max(widths):.0f} px do not fit beside "
            f"each other into {WIDTH} px: ask for fewer or smaller ones."
        )
    lefts, left = [], margin
    offsets = sorted(rng.uniform(0, slack) for _ in widths)
    for offset, width in zip(offsets, widths, strict=True):
        lefts.append(left + offset)
        left += width + gap
    return lefts


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


def plan_balloons(
    rng: Dice, paints: Sequence[str], radius: float | None, balloon_y: float | None
) -> tuple[Balloon, ...]:
    """Balloons of these paints in random order, pattern 0 for now."""
    radii = [rng.uniform(13, 14.8) for _ in paints]
    ys = [rng.uniform(16, 17) for _ in paints]
    if radius is not None:
        radii = [radius] * len(paints)
    if balloon_y is not None:
        ys = [balloon_y] * len(paints)
    lefts = line_up(rng, [2 * radius for radius in radii], margin=3, gap=6)
    rows = zip(rng.shuffled(paints), ys, lefts, radii, strict=True)
    return tuple(
        Balloon(instance, paint, 0, y, left + radius, radius)
        for instance, (paint, y, left, radius) in enumerate(rows, 1)
    )


def plan_houses(
    rng: Dice, paints: Sequence[str], balloons: Sequence[Balloon], ground: float
) -> tuple[House, ...]:
    """Houses of these paints in random order, each with the balloon of its paint, pattern 0."""
    widths = [rng.uniform(31, 42) for _ in paints]
    tops = [max(ground - rng.uniform(25.5, 28), 80.5) for _ in paints]
    lefts = line_up(rng, widths, margin=4, gap=14)
    balloon_of = {balloon.paint: index for index, balloon in enumerate(balloons)}
    rows = zip(rng.shuffled(paints), tops, lefts, widths, strict=True)
    return tuple(
        House(instance, paint, balloon_of[paint], 0, top, left, ground, left + width)
        for instance, (paint, top, left, width) in enumerate(rows, len(balloons) + 1)
    )


def draw_patterns(rng: Dice, layout: Layout, permute_patterns: bool) -> list[int]:
    """A pattern for each balloon: independent, or all different where they decide a house."""
    patterns = [rng.integer(0, 2) for _ in layout.balloons]
    if permute_patterns:
        for house, pattern in zip(layout.houses, rng.shuffled([0, 1, 2]), strict=False):
            patterns[house.decided_by] = pattern
    return patterns


def plan_scene(
    seed: int,
    *,
    patterns: Sequence[int] | None = None,
    radius: float | None = None,
    balloon_y: float | None = None,
    num_pairs: int = 3,
    num_distractors: int | None = None,
    permute_patterns: bool = False,
) -> Layout:
    """Draw a layout; thousands a second, as nothing is painted.

    radius and balloon_y (pixels) put all balloons at one size or height. Distractors are balloons
    whose paint no house has: 0 or 1 unless told. permute_patterns gives the balloons that decide a
    house three different patterns, so that voting is no better than guessing.
    """
    rng = Dice(seed, stream=0)
    ground = rng.uniform(106, 108)
    distractors = rng.integer(0, 1) if num_distractors is None else num_distractors
    if not 1 <= num_pairs <= num_pairs + distractors <= len(PAINTS):
        raise ValueError(
            f"{num_pairs} houses and {distractors} further balloons need one paint each, "
            f"at least one house and at most {len(PAINTS)} paints."
        )
    paints = rng.shuffled(list(PAINTS))
    balloons = plan_balloons(rng, paints[: num_pairs + distractors], radius, balloon_y)
    houses = plan_houses(rng, paints[:num_pairs], balloons, ground)
    layout = Layout(seed, balloons, houses, ground)
    if patterns is None:
        patterns = draw_patterns(rng, layout, permute_patterns)
    return with_patterns(layout, patterns)


# Houses and balloons, which mean everything


def jittered(rng: Dice, paint: str) -> Colour:
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
    """Belt, stripe or disc, cut to the fabric."""
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


# The scene


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


def make_scene(
    seed: int,
    *,
    patterns: Sequence[int] | None = None,
    radius: float | None = None,
    balloon_y: float | None = None,
    num_pairs: int = 3,
    num_distractors: int | None = None,
    permute_patterns: bool = False,
) -> Scene:
    """Plan and paint; the options are those of `plan_scene`."""
    return paint_scene(
        plan_scene(
            seed,
            patterns=patterns,
            radius=radius,
            balloon_y=balloon_y,
            num_pairs=num_pairs,
            num_distractors=num_distractors,
            permute_patterns=permute_patterns,
        )
    )


def repaint(scene: Scene, balloon_index: int, pattern: int) -> Scene:
    """The counterfactual: one balloon gets another pattern, and the house that it decides follows.

    The image differs inside that balloon's fabric only.
    """
    patterns = [balloon.pattern for balloon in scene.balloons]
    patterns[balloon_index] = pattern
    return paint_scene(with_patterns(scene.layout, patterns))


# The voter, who counts patterns but does not match paints


def most_frequent_patterns(scene: Scene | Layout) -> list[int]:
    patterns = [balloon.pattern for balloon in scene.balloons]
    most = max(patterns.count(pattern) for pattern in patterns)
    return [pattern for pattern in range(3) if patterns.count(pattern) == most]


def vote(scene: Scene | Layout) -> int:
    """The class of the most frequent balloon, given to all houses; ties go to the lowest class."""
    return HOUSES[most_frequent_patterns(scene)[0]]


def voting_accuracy(scenes: Iterable[Scene | Layout]) -> float:
    """Share of houses that a voter gets right who breaks ties at random (the expected value)."""
    right = [
        (house.pattern in winners) / len(winners)
        for scene in scenes
        for winners in [most_frequent_patterns(scene)]
        for house in scene.houses
    ]
    return fsum(right) / len(right)


# Data sets


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Scenes of consecutive seeds, each painted once and then remembered (0.12 MB each)."""

    def __init__(
        self, num_scenes: int, first_seed: int = 0, make: Callable[[int], Scene] = make_scene
    ) -> None:
        self.num_scenes, self.first_seed = num_scenes, first_seed
        self.make = make
        self.made: dict[int, Scene] = {}

    def __len__(self) -> int:
        return self.num_scenes

    def scene(self, index: int) -> Scene:
        if not 0 <= index < self.num_scenes:
            raise IndexError(f"scene {index} is not one of the {self.num_scenes} of this data set")
        if index not in self.made:
            self.made[index] = self.make(self.first_seed + index)
        return self.made[index]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Copies: image uint8 (3, H, W), labels uint8 (H, W)."""
        scene = self.scene(index)
        image = torch.from_numpy(scene.image.transpose(2, 0, 1).copy())
        return image, torch.from_numpy(scene.labels.copy())


def write_scene(scene: Scene, folder: Path) -> None:
    name = f"{scene.seed:06d}.png"
    Image.fromarray(scene.image).save(folder / "images" / name)
    Image.fromarray(scene.labels).save(folder / "labels" / name)


def write_scenes(folder: str | Path, num_scenes: int, first_seed: int = 0) -> None:
    """Write images/SEED.png (RGB), labels/SEED.png (class indices) and classes.txt (name r g b).

    The folder appears when all of it is written, or not at all.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is not an empty folder and scenes would mix with what is in it: "
            "name a new folder, or empty this one."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        partial = Path(temporary) / folder.name
        for part in ("images", "labels"):
            (partial / part).mkdir(parents=True)
        for seed in range(first_seed, first_seed + num_scenes):
            write_scene(make_scene(seed), partial)
        rows = zip(CLASS_NAMES, PALETTE.tolist(), strict=True)
        lines = [f"{name} {red} {green} {blue}\n" for name, (red, green, blue) in rows]
        (partial / "classes.txt").write_text("".join(lines))
        if folder.exists():
            folder.rmdir()  # empty: some systems rename onto nothing only
        partial.rename(folder)
