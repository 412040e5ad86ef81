"""Balloon Town painted: the bytes that every machine gets, counterfactuals, labels and files."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from annlib.config import IGNORE_INDEX
from annlib.data.balloon_town.dataset import Scenes, make_scene, repaint, write_scenes
from annlib.data.balloon_town.layout import BALLOONS, CLASS_NAMES, HOUSES, PALETTE, Box, Scene
from annlib.data.classes import folder_spec


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed) for seed in range(300)]


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
    return np.any(
        [np.hypot(y - b.y, x - b.x) < b.radius + 0.8 for b in scene.balloons],
        axis=0,
    )


# The same bytes everywhere


@pytest.mark.parametrize(
    ("seed", "expected"),
    [(0, "f2bd85203c471441"), (1, "01f9c158a700c1c1"), (2026, "27d184fb49faf5a2")],
)
def test_a_seed_gives_the_stored_bytes(seed: int, expected: str) -> None:
    assert digest(make_scene(seed)) == expected


def test_another_process_paints_the_same_bytes() -> None:
    program = (
        "import sys; from annlib.data.balloon_town.dataset import make_scene; "
        "sys.stdout.write(make_scene(7).image.tobytes().hex())"
    )
    root = Path(__file__).parent.parent
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
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
            touched = Box(rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            assert touched[:2] >= thing.box[:2] and touched[2:] <= thing.box[2:]


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
