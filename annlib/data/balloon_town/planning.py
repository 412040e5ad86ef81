"""Draws the layout of a scene from a seed.

Only the pattern of the balloon with a house's paint tells the class of the house: places, sizes
and paints are drawn first, patterns last and independently of them.
"""

from collections.abc import Sequence
from math import fsum

from annlib.data.balloon_town.layout import PAINTS, WIDTH, Balloon, House, Layout, with_patterns
from annlib.data.balloon_town.painting import Dice


def line_up(rng: Dice, widths: Sequence[float], margin: float, gap: float) -> list[float]:
    """Left edges of things of these widths, from left to right, all in pixels.

    They stand at least `gap` apart and `margin` from the border, otherwise at random.
    """
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


def draw_paints(rng: Dice, num_pairs: int, num_distractors: int | None) -> list[str]:
    """A different paint for each balloon; houses have the first `num_pairs` of them."""
    if num_distractors is None:
        num_distractors = rng.integer(0, 1)
    if not 1 <= num_pairs <= num_pairs + num_distractors <= len(PAINTS):
        raise ValueError(
            f"{num_pairs} houses and {num_distractors} further balloons need one paint each, "
            f"at least one house and at most {len(PAINTS)} paints."
        )
    return rng.shuffled(list(PAINTS))[: num_pairs + num_distractors]


def plan_balloons(
    rng: Dice, paints: Sequence[str], radius: float | None, balloon_y: float | None
) -> tuple[Balloon, ...]:
    """Balloons of these paints in random order, high in the sky, pattern 0 for now."""
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
    paints = draw_paints(rng, num_pairs, num_distractors)
    balloons = plan_balloons(rng, paints, radius, balloon_y)
    houses = plan_houses(rng, paints[:num_pairs], balloons, ground)
    layout = Layout(seed, balloons, houses, ground)
    if patterns is None:
        patterns = draw_patterns(rng, layout, permute_patterns)
    return with_patterns(layout, patterns)
