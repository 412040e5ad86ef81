"""From the name of a data set to its two halves."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import Subset

from annlib.config import DataConfig
from annlib.data.balloon_town.dataset import make_scene, write_scenes
from annlib.data.classes import BALLOON_TOWN, CITYSCAPES
from annlib.data.datasets import (
    FIRST_VAL_SEED,
    TRAIN_SCENES,
    VAL_SCENES,
    DatasetSplits,
    labelled,
    open_data,
)
from annlib.data.io import read_image
from annlib.data.loader import Draw, Seeded
from annlib.data.synthetic import mimic
from annlib.data.transforms import normalise, to_tensors
from annlib.experiments import PHOTO_DATA, TOWN_DATA
from annlib.zoo import ROWS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of a few scenes as files."""
    root = tmp_path_factory.mktemp("data") / "photos"
    for split, seed in (("train", 0), ("val", 50)):
        write_scenes(root / split, 3, seed)
    (root / "train" / "classes.txt").rename(root / "classes.txt")
    return root


def as_painted(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    scene = make_scene(seed)
    image = torch.from_numpy(scene.image).permute(2, 0, 1)
    return to_tensors(image, torch.from_numpy(scene.labels))


def same(first: tuple, second: tuple) -> bool:
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_town_is_painted_without_any_file() -> None:
    train, val, spec = open_data(TOWN_DATA, None)
    assert (len(train), len(val), spec) == (TRAIN_SCENES, VAL_SCENES, BALLOON_TOWN)


def test_validation_scenes_are_not_training_scenes() -> None:
    assert FIRST_VAL_SEED >= TRAIN_SCENES
    assert same(open_data(TOWN_DATA, None).val[3], as_painted(FIRST_VAL_SEED + 3))


def test_training_scenes_are_at_most_mirrored() -> None:
    image, labels = open_data(TOWN_DATA, None).train[2]
    expected = as_painted(2)
    mirrored = tuple(part.flip(-1) for part in expected)
    assert same((image, labels), expected) or same((image, labels), mirrored)


def test_folder_is_read_with_its_classes(folder: Path) -> None:
    halves = open_data(PHOTO_DATA, folder)
    assert halves.spec == replace(BALLOON_TOWN, name="photos", ignored=(255,))
    assert same(halves.val[0], as_painted(50))


def test_folder_named_by_dots_has_its_own_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert open_data(PHOTO_DATA, Path(".")).spec.name == "photos"


def test_training_pictures_of_a_folder_are_cut(folder: Path) -> None:
    config = replace(PHOTO_DATA, crop_size=(24, 40), base_size=(32, 48))
    image, labels = open_data(config, folder).train[0]
    assert (image.shape, labels.shape) == ((3, 24, 40), (24, 40))


def test_validation_pictures_are_whole_and_plain(folder: Path) -> None:
    halves: DatasetSplits = open_data(PHOTO_DATA, folder)
    assert all(image.shape == (3, 128, 192) for image, _ in Subset(halves.val, range(3)))
    assert same(halves.val[1], halves.val[1])


def test_built_in_classes_replace_the_file(folder: Path) -> None:
    assert open_data(PHOTO_DATA, folder, "balloon_town").spec is BALLOON_TOWN


def test_unknown_class_list_error_names_the_known(folder: Path) -> None:
    with pytest.raises(KeyError, match="No built-in class list 'kitti'; .*balloon_town, camvid"):
        open_data(PHOTO_DATA, folder, "kitti")


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        (PHOTO_DATA, "train/images, .*README"),
        (ROWS[0].experiment.data, r"leftImg8bit/.* annlib data prepare cityscapes .* data mimic"),
        (ROWS[-1].experiment.data, r"VOCdevkit/VOC2012/.* annlib data prepare voc12aug"),
    ],
)
def test_data_that_are_not_shipped_have_to_be_named(config: DataConfig, layout: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"not shipped .*--data\. It holds {layout}"):
        open_data(config, None)


def test_photographs_have_to_be_named_for_evaluation() -> None:
    with pytest.raises(FileNotFoundError, match="photos is not shipped with annlib: .*--data"):
        labelled(replace(BALLOON_TOWN, name="photos"), None, "val")


@pytest.mark.parametrize(("split", "seed"), [("train", 0), ("val", FIRST_VAL_SEED)])
def test_either_half_of_the_town_can_be_evaluated(split: str, seed: int) -> None:
    assert same(labelled(BALLOON_TOWN, None, split)[0], as_painted(seed))


@pytest.mark.parametrize("config", [TOWN_DATA, PHOTO_DATA], ids=lambda config: config.dataset)
def test_training_half_survives_the_trip_to_a_spawned_worker(
    folder: Path, config: DataConfig
) -> None:
    here = Seeded(open_data(config, folder if config is PHOTO_DATA else None).train)
    there = pickle.loads(pickle.dumps(here))
    assert same(here[Draw(2, 7)], there[Draw(2, 7)])


def test_folder_in_one_part_is_evaluated_whole(folder: Path) -> None:
    whole = labelled(BALLOON_TOWN, folder / "val", "val")
    assert len(whole) == 3
    assert same(whole[0], as_painted(50))


def test_folder_in_one_part_is_refused_for_training_with_the_way_to_divide_it(folder: Path) -> None:
    message = (
        r"val holds images/ .* two halves: .*val/train to learn .*val/val .*classes\.txt stays"
    )
    with pytest.raises(FileNotFoundError, match=message):
        open_data(PHOTO_DATA, folder / "val")


def test_class_list_without_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="--classes camvid says .* Name the folder with --data"):
        open_data(TOWN_DATA, None, "camvid")


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "voc12aug"])
def test_published_rows_open_their_benchmark_by_its_layout(tmp_path: Path, name: str) -> None:
    mimic(name, tmp_path / name, 3, 2, (40, 64))
    (config, *_) = [r.experiment.data for r in ROWS if r.experiment.data.dataset == name]
    small = replace(config, crop_size=(24, 40), base_size=(40, 64))
    train, val, spec = open_data(small, tmp_path / name)
    assert (len(train), len(val), spec.name) == (3, 2, name)
    assert train[0][0].shape == (3, 24, 40)
    for index, path in enumerate(val.images):
        image, labels = val[index]
        assert torch.equal(image, normalise(read_image(path)))
        assert labels.shape == image.shape[1:]


def test_a_class_list_tells_the_layout_of_the_folder_too(tmp_path: Path) -> None:
    mimic("cityscapes", tmp_path / "city", 2, 1, (40, 64))
    halves = open_data(PHOTO_DATA, tmp_path / "city", "cityscapes")
    assert halves.spec == CITYSCAPES
    assert len(labelled(CITYSCAPES, tmp_path / "city", "train")) == 2


def test_benchmark_root_that_is_a_plain_folder_is_told(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no cityscapes in .*This looks like a plain fold"):
        open_data(ROWS[0].experiment.data, folder)
