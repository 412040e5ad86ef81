"""The question of Balloon Town, in thousands of plans: far context tells, and nothing else does."""

import numpy as np
import pytest

from annlib.data.balloon_town.layout import (
    BALLOONS,
    HOUSES,
    PAINTS,
    PALETTE,
    Layout,
    plan_scene,
    vote,
    voting_accuracy,
    with_patterns,
)

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SIGHT = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
RGB_TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


@pytest.fixture(scope="module")
def layouts() -> list[Layout]:
    return [plan_scene(seed) for seed in range(3000)]


def lab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB 0-1 to CIE L*a*b*.  (K, 3) -> (K, 3)"""
    x, y, z = np.cbrt(np.clip(rgb, 0, 1) @ np.array(RGB_TO_XYZ).T / [0.9505, 1, 1.089]).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def smallest_distance(colours: np.ndarray, sight: str) -> float:
    """CIE dE76 of the two most alike of these sRGB colours, as seen."""
    linear = ((colours / 255 + 0.055) / 1.055) ** 2.4
    seen = lab(linear @ np.array(SIGHT[sight]).T)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    return float(distances[np.triu_indices(len(colours), 1)].min())


def probe_accuracy(features: np.ndarray, classes: np.ndarray) -> float:
    """Accuracy on the second half of a linear probe, fitted by least squares to the first."""
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    half = len(features) // 2
    weights = np.linalg.lstsq(features[:half], np.eye(3)[classes[:half]], rcond=None)[0]
    return float(((features[half:] @ weights).argmax(1) == classes[half:]).mean())


# Only the pattern of the balloon with the house's paint tells


def test_the_deciding_balloon_alone_has_the_paint_of_the_house(layouts: list[Layout]) -> None:
    for layout in layouts:
        paints = [balloon.paint for balloon in layout.balloons]
        for house in layout.houses:
            assert [i for i, p in enumerate(paints) if p == house.paint] == [house.decided_by]


def test_the_class_of_a_house_is_the_pattern_of_its_balloon(layouts: list[Layout]) -> None:
    for layout in layouts:
        for house in layout.houses:
            balloon = layout.balloons[house.decided_by]
            assert HOUSES.index(house.label) == BALLOONS.index(balloon.label)


def test_patterns_are_uniform_on_every_balloon(layouts: list[Layout]) -> None:
    for index in range(4):
        patterns = [lay.balloons[index].pattern for lay in layouts if len(lay.balloons) > index]
        share = np.bincount(patterns, minlength=3) / len(patterns)
        np.testing.assert_allclose(share, 1 / 3, atol=4 * np.sqrt(2 / 9 / len(patterns)))


def test_the_patterns_of_two_balloons_are_independent(layouts: list[Layout]) -> None:
    table = np.zeros((3, 3))
    for layout in layouts:
        table[layout.balloons[0].pattern, layout.balloons[1].pattern] += 1
    expected = table.sum() / 9
    assert ((table - expected) ** 2 / expected).sum() < 26.1  # chi2, 8 degrees, p = 0.001


def test_a_linear_probe_of_place_and_paint_stays_at_chance(layouts: list[Layout]) -> None:
    names = list(PAINTS)
    houses = [house for layout in layouts for house in layout.houses]
    place = [(h.left / 192, h.right / 192, h.top / 128, h.bottom / 128) for h in houses]
    paint = np.eye(6)[[names.index(house.paint) for house in houses]][:, 1:]
    classes = np.array([house.pattern for house in houses])
    assert abs(probe_accuracy(np.concatenate([place, paint], axis=1), classes) - 1 / 3) < 0.03


def test_voting_is_right_for_eleven_houses_of_eighteen(layouts: list[Layout]) -> None:
    assert voting_accuracy(layouts) == pytest.approx(11 / 18, abs=0.015)


def test_voting_is_mere_guessing_when_patterns_are_permuted() -> None:
    permuted = (plan_scene(seed, permute_patterns=True) for seed in range(100))
    assert voting_accuracy(permuted) == pytest.approx(1 / 3)


def test_a_vote_goes_to_the_most_frequent_pattern() -> None:
    assert vote(plan_scene(3, patterns=[2, 0, 2, 1], num_distractors=1)) == HOUSES[2]


@pytest.mark.parametrize("patterns", [[0, 1], [0, 1, 3], [0, 1, 2, -1, 0]])
def test_unsuitable_patterns_are_named_in_the_error(patterns: list[int]) -> None:
    layout = plan_scene(0, num_distractors=0)
    with pytest.raises(ValueError, match="do not suit 3 balloons"):
        with_patterns(layout, patterns)


# Places and colours


def test_balloons_and_houses_are_42_pixels_apart(layouts: list[Layout]) -> None:
    for layout in layouts:
        lowest = max(balloon.box.bottom for balloon in layout.balloons)
        assert min(house.box.top for house in layout.houses) - lowest >= 42


def test_things_of_a_kind_stand_apart_from_left_to_right(layouts: list[Layout]) -> None:
    for layout in layouts:
        for things, gap in ((layout.balloons, 6 - 2), (layout.houses, 14 - 2)):
            for left, right in zip(things[:-1], things[1:], strict=True):
                assert right.box.left - left.box.right >= gap


def test_options_decide_size_height_and_number() -> None:
    layout = plan_scene(4, radius=8, balloon_y=30, num_pairs=2, num_distractors=2)
    assert [(b.radius, b.y) for b in layout.balloons] == [(8, 30)] * 4
    assert len(layout.houses) == 2


def test_more_houses_than_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        plan_scene(0, num_pairs=4)


def test_more_balloons_than_paints_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 6 paints"):
        plan_scene(0, num_distractors=4)


@pytest.mark.parametrize("sight", SIGHT)
def test_the_palette_can_be_told_apart_by(sight: str) -> None:
    assert smallest_distance(PALETTE.astype(float), sight) >= 20


@pytest.mark.parametrize("sight", SIGHT)
def test_the_paints_can_be_told_apart_by(sight: str) -> None:
    assert smallest_distance(np.array(list(PAINTS.values()), float), sight) >= 16
