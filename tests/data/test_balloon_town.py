"""Balloon Town: the bytes that every machine gets, layouts, counterfactuals, labels and files.

Only the pattern of the balloon with the paint of a house may determine the class of the house.
"""

import hashlib
import subprocess
import sys
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from annlib.config import IGNORE_INDEX
from annlib.data.balloon_town.dataset import Scenes, make_scene, repaint, write_scenes
from annlib.data.balloon_town.layout import (
    BALLOONS,
    CLASS_NAMES,
    HOUSES,
    PAINTS,
    PALETTE,
    Balloon,
    Dice,
    House,
    Layout,
    Scene,
    plan_scene,
    with_patterns,
)
from annlib.data.balloon_town.painting import Canvas, disc, polygon, rectangle, wave
from annlib.data.classes import folder_spec


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed) for seed in range(100)]


def digest(scene: Scene) -> str:
    data = scene.image.tobytes() + scene.labels.tobytes() + scene.instances.tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def changed(first: Scene, second: Scene) -> np.ndarray:
    """Pixels of another colour.  -> bool (H, W)"""
    return (first.image != second.image).any(axis=2)


def next_patterns(scene: Scene) -> list[int]:
    return [(balloon.pattern + 1) % 3 for balloon in scene.balloons]


def discs(scene: Scene) -> np.ndarray:
    """Pixels that a balloon's round fabric touches.  -> bool (H, W)"""
    y, x = np.mgrid[:128, :192] + 0.5
    return np.any([np.hypot(y - b.y, x - b.x) < b.radius + 0.8 for b in scene.balloons], axis=0)


def box(thing: Balloon | House) -> tuple[int, int, int, int]:
    """The smallest rows top..bottom-1 and columns left..right-1 around it."""
    if isinstance(thing, House):
        top, left, right = thing.top, thing.left, thing.right
    else:
        top, left, right = thing.y - thing.radius, thing.x - thing.radius, thing.x + thing.radius
    return floor(top), floor(left), ceil(thing.bottom), ceil(right)


# The same bytes everywhere


@pytest.mark.parametrize(
    ("seed", "expected"),
    [(0, "f2bd85203c471441"), (1, "01f9c158a700c1c1"), (2026, "27d184fb49faf5a2")],
)
def test_a_seed_gives_the_stored_bytes(seed: int, expected: str) -> None:
    assert digest(make_scene(seed)) == expected


@pytest.mark.all
def test_another_process_paints_the_same_bytes() -> None:
    program = (
        "import sys; from annlib.data.balloon_town.layout import plan_scene; "
        "from annlib.data.balloon_town.painting import paint_scene; "
        "sys.stdout.write(paint_scene(plan_scene(7)).image.tobytes().hex())"
    )
    run = [sys.executable, "-c", program]
    other = subprocess.run(run, capture_output=True, text=True, check=True)
    assert bytes.fromhex(other.stdout) == make_scene(7).image.tobytes()


def test_different_seeds_give_different_images(scenes: list[Scene]) -> None:
    assert len({digest(scene) for scene in scenes}) == len(scenes)


# The counterfactual: other patterns and nothing else


def test_other_patterns_change_pixels_inside_the_balloons_only(scenes: list[Scene]) -> None:
    for scene in scenes[:40]:
        other = make_scene(scene.seed, patterns=next_patterns(scene))
        assert not (changed(scene, other) & ~discs(scene)).any()


def test_other_patterns_change_every_balloon(scenes: list[Scene]) -> None:
    scene = scenes[0]
    other = make_scene(scene.seed, patterns=next_patterns(scene))
    assert all((changed(scene, other) & scene.mask(b)).any() for b in scene.balloons)


def test_other_patterns_change_no_row_below_the_sixtieth(scenes: list[Scene]) -> None:
    for scene in scenes[:40]:
        other = make_scene(scene.seed, patterns=next_patterns(scene))
        np.testing.assert_array_equal(scene.image[60:], other.image[60:])


def test_other_patterns_change_the_labels_of_balloons_and_houses_only(scenes: list[Scene]) -> None:
    scene = scenes[1]
    other = make_scene(scene.seed, patterns=next_patterns(scene))
    things = np.isin(scene.labels, BALLOONS + HOUSES)
    np.testing.assert_array_equal(scene.labels != other.labels, things)


def test_repainting_one_balloon_changes_the_class_of_its_house_only(scenes: list[Scene]) -> None:
    scene = scenes[2]
    house = scene.houses[0]
    other = repaint(scene, house.decided_by, (house.pattern + 1) % 3)
    followed = [old.label != new.label for old, new in zip(scene.houses, other.houses, strict=True)]
    assert followed == [True, False, False]


def test_repainting_with_the_same_pattern_changes_nothing(scenes: list[Scene]) -> None:
    scene = scenes[3]
    assert digest(repaint(scene, 0, scene.balloons[0].pattern)) == digest(scene)


# The labels


def test_masks_lie_in_their_boxes(scenes: list[Scene]) -> None:
    for scene in scenes[:50]:
        for thing in scene.balloons + scene.houses:
            rows, columns = np.nonzero(scene.mask(thing))
            top, left, bottom, right = box(thing)
            assert top <= rows.min() and left <= columns.min()
            assert rows.max() < bottom and columns.max() < right


def test_instances_agree_with_labels(scenes: list[Scene]) -> None:
    for scene in scenes[:50]:
        for thing in scene.balloons + scene.houses:
            assert set(np.unique(scene.labels[scene.mask(thing)])) <= {thing.label, IGNORE_INDEX}


def test_every_balloon_and_house_is_seen(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.balloons + scene.houses:
            assert (scene.labels == thing.label)[scene.mask(thing)].sum() > 200


def test_pixels_beside_another_label_are_ignored(scenes: list[Scene]) -> None:
    for scene in scenes:
        for first, second in (
            (scene.labels[1:], scene.labels[:-1]),
            (scene.labels[:, 1:], scene.labels[:, :-1]),
        ):
            assert (first == second)[(first != 255) & (second != 255)].all()


def test_class_shares_are_those_of_the_design(scenes: list[Scene]) -> None:
    counts = np.bincount(np.concatenate([s.labels.ravel() for s in scenes]), minlength=256)
    share = 100 * counts / counts.sum()
    balloon, house = share[list(BALLOONS)].mean(), share[list(HOUSES)].mean()
    found = [*share[:4], balloon, house, share[IGNORE_INDEX]]
    np.testing.assert_allclose(found, [45, 12, 15, 1.2, 2.45, 3.1, 9.9], rtol=0.12)


# The data set


def test_samples_are_uint8_channels_first() -> None:
    image, labels = Scenes(1)[0]
    assert (image.shape, labels.shape) == ((3, 128, 192), (128, 192))
    assert image.dtype == labels.dtype == torch.uint8


def test_a_sample_is_the_scene_of_its_seed() -> None:
    image, labels = Scenes(3, first_seed=10)[2]
    scene = make_scene(12)
    np.testing.assert_array_equal(image.permute(1, 2, 0), scene.image)
    np.testing.assert_array_equal(labels, scene.labels)


def test_each_scene_is_painted_once() -> None:
    dataset = Scenes(2)
    assert dataset.scene(1) is dataset.scene(1)


def test_changing_a_sample_leaves_the_data_set_alone() -> None:
    dataset = Scenes(1)
    dataset[0][0].zero_()
    assert dataset[0][0].any()


def test_a_data_set_ends_after_its_last_scene() -> None:
    assert len(list(Scenes(2))) == 2


# Files


def test_written_files_hold_the_scenes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "town", 2, first_seed=5)
    scene = make_scene(6)
    image = np.asarray(Image.open(tmp_path / "town/images/000006.png"))
    labels = np.asarray(Image.open(tmp_path / "town/labels/000006.png"))
    assert (image == scene.image).all() and (labels == scene.labels).all()


def test_classes_txt_is_read_back_as_the_names_and_colours(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)  # an empty folder that exists is filled
    spec = folder_spec(tmp_path)
    assert spec.class_names == CLASS_NAMES
    assert np.array_equal(spec.palette, PALETTE)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_scenes(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seed: int) -> Scene:
        raise KeyboardInterrupt

    monkeypatch.setattr("annlib.data.balloon_town.dataset.make_scene", fail)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "town", 1)
    assert not list(tmp_path.iterdir())


# Layouts


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
    """A voter counts patterns, but does not match paints; ties are broken at random."""
    correct = []
    for layout in layouts:
        patterns = [balloon.pattern for balloon in layout.balloons]
        most = max(map(patterns.count, patterns))
        winners = [pattern for pattern in range(3) if patterns.count(pattern) == most]
        correct += [(house.pattern in winners) / len(winners) for house in layout.houses]
    assert np.mean(correct) == pytest.approx(11 / 18, abs=0.015)


@pytest.mark.parametrize("patterns", [[0, 1], [0, 1, 3], [0, 1, 2, -1, 0]])
def test_unsuitable_patterns_are_named_in_the_error(patterns: list[int]) -> None:
    layout = next(layout for layout in map(plan_scene, range(9)) if len(layout.balloons) == 3)
    with pytest.raises(ValueError, match="do not suit 3 balloons"):
        with_patterns(layout, patterns)


# Places and colours


def test_balloons_and_houses_are_42_pixels_apart(layouts: list[Layout]) -> None:
    for layout in layouts:
        lowest = max(box(balloon)[2] for balloon in layout.balloons)
        assert min(box(house)[0] for house in layout.houses) - lowest >= 42


def test_things_of_a_kind_stand_apart_from_left_to_right(layouts: list[Layout]) -> None:
    for layout in layouts:
        for things, gap in ((layout.balloons, 6 - 2), (layout.houses, 14 - 2)):
            for left, right in zip(things[:-1], things[1:], strict=True):
                assert box(right)[1] - box(left)[3] >= gap


def test_radius_is_that_of_all_balloons() -> None:
    layout = plan_scene(4, radius=8)
    assert {balloon.radius for balloon in layout.balloons} == {8}


def test_balloons_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 balloons of 80 px do not fit .* ask for smaller ones"):
        plan_scene(4, radius=40)


@pytest.mark.parametrize("sight", SIGHT)
def test_the_palette_can_be_told_apart_by(sight: str) -> None:
    assert smallest_distance(PALETTE.astype(float), sight) >= 20


@pytest.mark.parametrize("sight", SIGHT)
def test_the_paints_can_be_told_apart_by(sight: str) -> None:
    assert smallest_distance(np.array(list(PAINTS.values()), float), sight) >= 16


# Random numbers and shapes


def test_dice_agree_with_numpy_uniform_numbers() -> None:
    sequence = np.random.SeedSequence(5, spawn_key=(1,))
    expected = np.random.Generator(np.random.PCG64(sequence)).random(20)
    dice = Dice(5, stream=1)
    assert [dice.uniform(0, 1) for _ in range(20)] == list(expected)


def test_noise_has_mean_zero_and_deviation_one() -> None:
    noise = Dice(0, stream=0).noise(301, 300)
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 1], atol=0.01)


def test_wave_is_a_sine() -> None:
    turns = np.linspace(-2, 3, 1001)
    np.testing.assert_allclose(wave(turns), np.sin(2 * np.pi * turns), atol=0.002)


def test_a_polygon_of_four_corners_is_a_rectangle_inside() -> None:
    y, x = np.arange(3, 8)[:, None] + 0.5, np.arange(2, 9)[None, :] + 0.5
    corners = polygon((3, 2), (3, 9), (8, 9), (8, 2))
    np.testing.assert_allclose(corners.distance(y, x), rectangle(3, 2, 8, 9).distance(y, x))


def test_a_painted_disc_has_its_area_its_label_and_a_soft_edge() -> None:
    canvas = Canvas(31, 41)
    canvas.paint(disc(15.2, 20.7, 9), (200, 100, 50), label=3, instance=2)
    area = np.pi * 9**2
    np.testing.assert_allclose(canvas.colours.sum((1, 2)) / [200, 100, 50], area, rtol=0.01)
    np.testing.assert_allclose((canvas.labels == 3).sum(), area, rtol=0.03)
    np.testing.assert_array_equal(canvas.labels == 3, canvas.instances == 2)


def test_shapes_beyond_the_border_are_cut_off() -> None:
    canvas = Canvas(5, 7)
    canvas.paint(rectangle(-9, 4, 99, 99), (255, 255, 255), label=1)
    canvas.paint(disc(-20, -20, 3), (255, 255, 255), label=2)
    np.testing.assert_array_equal(canvas.labels, np.arange(7)[None] // 4 * np.ones((5, 1)))
