"""Folders of images with labels, the ways in which they can be wrong, and both splits by name."""

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from annlib.config import IGNORE_INDEX, DataConfig
from annlib.data.balloon_town.dataset import make_scene, write_scenes
from annlib.data.check import training_problem
from annlib.data.classes import BALLOON_TOWN, CAMVID, CITYSCAPES, DatasetSpec
from annlib.data.convert import convert
from annlib.data.datasets import (
    FIRST_VAL_SEED,
    TRAIN_SCENES,
    VAL_SCENES,
    DatasetSplits,
    SegmentationFolder,
    class_balance,
    in_words,
    label_pixels,
    labelled,
    open_data,
)
from annlib.data.io import read_image
from annlib.data.loader import Draw, Seeded
from annlib.data.synthetic import mimic
from annlib.data.transforms import normalise, to_tensors
from annlib.experiments import PHOTO_DATA, TOWN_DATA
from annlib.published_experiments import ROWS as ZOO_ROWS

ROWS = (("sky", 1, 2, 3), ("road", 4, 5, 6), ("car", 7, 8, 9))
SPEC = DatasetSpec("three", tuple(n for n, *_ in ROWS), tuple(tuple(c) for _, *c in ROWS))


def random_image(seed: int, height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_pair(root: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    for kind, pixels in (("images", image), ("labels", labels)):
        folder = root / "train" / kind
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{name}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pairs of different sizes, their labels 0..2 and 255."""
    for seed, name in enumerate("bca"):
        image = random_image(seed, 5 + seed)
        labels = image[..., 0] % 4
        labels[labels == 3] = IGNORE_INDEX
        write_pair(tmp_path, name, image, labels)
    return tmp_path


def opened(root: Path, spec: DatasetSpec = SPEC) -> SegmentationFolder:
    return SegmentationFolder(root, spec, "train", to_tensors)


def read_pair(root: Path, name: str) -> tuple[Tensor, Tensor]:
    """The pair of that name by Pillow alone."""
    image, labels = (
        torch.from_numpy(np.array(Image.open(root / "train" / kind / f"{name}.png")))
        for kind in ("images", "labels")
    )
    return normalise(image.permute(2, 0, 1)), labels.long()


def test_pairs_come_sorted_by_name(root: Path) -> None:
    for pair, name in zip(opened(root), "abc", strict=False):
        for ours, theirs in zip(pair, read_pair(root, name), strict=True):
            assert torch.equal(ours, theirs)


def test_image_is_float_and_labels_are_whole_numbers(root: Path) -> None:
    image, labels = opened(root)[0]
    assert (image.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_pairs_kept_in_memory_are_those_on_disk(root: Path) -> None:
    kept, read = opened(root), opened(root)
    kept.keep_below(10**6)
    assert len(kept.kept) == 3
    for index in range(3):
        assert all(torch.equal(*pair) for pair in zip(kept[index], read[index], strict=True))


def test_pairs_that_fill_the_memory_are_not_kept(root: Path) -> None:
    dataset = opened(root)
    dataset.keep_below(100)
    assert dataset.kept == []


@pytest.mark.parametrize("large", "abc")
def test_memory_is_measured_by_all_pairs_not_by_the_first(root: Path, large: str) -> None:
    write_pair(root, large, random_image(0, 50, 70), np.zeros((50, 70), np.uint8))
    dataset = opened(root)
    in_memory = sum(4 * labels.numel() for _, labels in dataset)  # 3 bytes a pixel, 1 a label
    dataset.keep_below(in_memory - 1)
    assert len(dataset.kept) == 0
    dataset.keep_below(in_memory)
    assert len(dataset.kept) == 3


def test_ignored_values_become_255(root: Path) -> None:
    spec = DatasetSpec("two", SPEC.class_names[:2], SPEC.palette[:2], ignored=(2,))
    _, expected = read_pair(root, "a")
    expected[expected == 2] = IGNORE_INDEX
    assert torch.equal(opened(root, spec)[0][1], expected)


def test_files_that_are_no_images_are_passed_over(root: Path) -> None:
    (root / "train" / "images" / "Thumbs.db").write_bytes(b"?")
    assert len(opened(root)) == 3


def test_hidden_files_are_passed_over(root: Path) -> None:
    for name in ("images/._a.png", "labels/._a.png", "images/.trash.jpg"):
        (root / "train" / name).write_bytes(b"\0\5\x16\7")
    assert [path.name for path in opened(root).images] == ["a.png", "b.png", "c.png"]


def test_two_images_for_one_label_file_are_refused(root: Path) -> None:
    image = root / "train/images/b.png"
    image.with_suffix(".jpg").write_bytes(image.read_bytes())
    message = r"2 images for the label file .*labels/b\.png: .*b\.jpg, .*b\.png\. Keep the image"
    with pytest.raises(ValueError, match=message):
        opened(root)


def test_missing_folder_error_shows_how_it_should_look(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*images.*NAME\.jpg .*NAME\.png"):
        opened(tmp_path)


def test_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"train/images holds no image \(\.bmp"):
        opened(tmp_path)


def test_image_without_labels_is_named_and_counted(root: Path) -> None:
    (root / "train" / "labels" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images .*images/b\.png: expected .*b\."):
        opened(root)


def test_sizes_that_differ_are_told(root: Path) -> None:
    write_pair(root, "a", random_image(0, 5, 7), np.zeros((7, 5), np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is \(5, 7\) but .*a\.png is \(7, 5\)"):
        opened(root)[0]


def test_label_without_a_class_is_named_with_its_file(root: Path) -> None:
    write_pair(root, "c", random_image(0), np.full((5, 7), 33, np.uint8))
    with pytest.raises(ValueError, match=r"c\.png holds the label 33, but three has 3 classes"):
        opened(root)[2]


def test_class_list_without_the_background_is_told(root: Path) -> None:
    two = replace(SPEC, class_names=SPEC.class_names[:2], palette=SPEC.palette[:2])
    with pytest.raises(ValueError, match=r"the label 2, .*If 0 is a background, list it first"):
        opened(root, two)[0]


def test_error_in_any_file_comes_before_training_when_all_are_kept(root: Path) -> None:
    (root / "train" / "images" / "c.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"c\.png cannot be read"):
        opened(root).keep_below(10**6)


def test_unlabelled_pixels_of_camvid_count_for_nothing(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint8)[None]
    write_pair(tmp_path, "a", random_image(0, 1, 12), labels)
    assert opened(tmp_path, CAMVID)[0][1].tolist() == [[*range(11), IGNORE_INDEX]]


@pytest.mark.parametrize(
    ("values", "text"),
    [({0, 1, 2, 255}, "0..2 and 255"), ({7}, "7"), ({3, 1, 2, 9, 10, 255}, "1..3, 9..10 and 255")],
)
def test_values_are_told_as_ranges(values: set[int], text: str) -> None:
    assert in_words(values) == text


def test_every_meaningless_value_of_a_file_is_told(root: Path) -> None:
    write_pair(root, "c", random_image(0), np.arange(35, dtype=np.uint8).reshape(5, 7))
    message = (
        r"holds the label 3, 4, 5, 6, 7, \.\.\., but three has 3 classes: its .* 0\.\.2 and 255"
    )
    with pytest.raises(ValueError, match=message):
        opened(root)[2]


def pixels(**counts: int) -> Tensor:
    """Of each class index: pixels(c0=3, c255=1) -> int64 (256,)"""
    found = torch.zeros(256, dtype=torch.int64)
    for name, count in counts.items():
        found[int(name[1:])] = count
    return found


def test_pixels_of_each_class_are_counted_over_all_label_files(root: Path) -> None:
    files = [np.asarray(Image.open(root / f"train/labels/{name}.png")) for name in "abc"]
    expected = sum(np.bincount(values.ravel(), minlength=256) for values in files)
    assert label_pixels(opened(root)).sum(0).tolist() == expected.tolist()


def test_class_weights_are_roots_of_the_median_over_the_frequency() -> None:
    assert class_balance(pixels(c0=400, c1=100, c255=9), SPEC) == (0.5, 1.0, 1.0)  # median 100


def test_masks_of_0_and_255_are_no_training_labels() -> None:
    message = training_problem(pixels(c0=66, c255=34), SPEC)
    assert "the classes 'road', 'car' never occur in the training labels" in message
    assert "255 covers 34.0 %" in message
    assert "add the line `255=2`" in message
    assert "`ignore 255` to classes.txt" in message


def test_masks_of_0_and_1_beside_masks_of_0_and_255_are_told_before_training() -> None:
    two = replace(SPEC, class_names=SPEC.class_names[:2], palette=SPEC.palette[:2])
    files = [pixels(c0=50, c1=5), pixels(c0=50, c255=45), pixels(c0=150)]
    message = training_problem(torch.stack(files), two)
    assert (
        "some label files hold 1 and others 255, none holds both, but 255 covers 15.0 %" in message
    )
    files.append(pixels(c0=1, c1=1, c255=1))
    assert training_problem(torch.stack(files), two) == ""
    assert training_problem(torch.stack(files[:3]), replace(two, ignored=(255,))) == ""


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        (SPEC, {"c0": 1, "c1": 1, "c2": 1, "c255": 9}),  # every class occurs
        (SPEC, {"c0": 1, "c1": 1}),  # a class is missing, but not behind 255
        (replace(SPEC, ignored=(255,)), {"c0": 1, "c1": 1, "c255": 9}),  # confirmed by the list
        (CAMVID, {"c0": 1, "c1": 1, "c255": 9}),  # a part of a published data set
        (BALLOON_TOWN, {"c0": 1, "c1": 1, "c255": 9}),
        (replace(SPEC, layout="cityscapes"), {"c0": 1, "c1": 1, "c255": 9}),
    ],
)
def test_labels_that_merely_lack_a_class_may_be_trained_on(
    spec: DatasetSpec, counts: dict[str, int]
) -> None:
    assert training_problem(pixels(**counts), spec) == ""


@pytest.mark.parametrize("spec", [SPEC, CAMVID], ids=lambda spec: spec.name)
def test_training_labels_without_any_class_or_with_one_are_useless(spec: DatasetSpec) -> None:
    confirmed = replace(spec, ignored=(255,))
    assert "no pixel of the training labels has a class" in training_problem(
        pixels(c255=9), confirmed
    )
    one = training_problem(pixels(c1=9, c255=1), confirmed)
    assert one.startswith(f"the training labels hold no class but {spec.class_names[1]!r}")


# Both splits, from the name of a data set


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
    splits = open_data(PHOTO_DATA, folder)
    assert splits.spec == replace(BALLOON_TOWN, name="photos", ignored=(255,))
    assert same(splits.val[0], as_painted(50))


def test_folder_named_by_dots_has_its_own_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert open_data(PHOTO_DATA, Path(".")).spec.name == "photos"


def test_training_images_of_a_folder_are_cut(folder: Path) -> None:
    config = replace(PHOTO_DATA, crop_size=(24, 40), base_size=(32, 48))
    image, labels = open_data(config, folder).train[0]
    assert (image.shape, labels.shape) == ((3, 24, 40), (24, 40))


def test_validation_images_are_whole_and_plain(folder: Path) -> None:
    splits: DatasetSplits = open_data(PHOTO_DATA, folder)
    assert all(image.shape == (3, 128, 192) for image, _ in Subset(splits.val, range(3)))
    assert same(splits.val[1], splits.val[1])


def test_built_in_classes_replace_the_file(folder: Path) -> None:
    assert open_data(PHOTO_DATA, folder, "balloon_town").spec is BALLOON_TOWN


def test_unknown_class_list_error_names_the_known(folder: Path) -> None:
    with pytest.raises(KeyError, match="No built-in class list 'kitti'; .*balloon_town, camvid"):
        open_data(PHOTO_DATA, folder, "kitti")


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        (PHOTO_DATA, r"train/\{images,labels\} .*README"),
        (
            ZOO_ROWS[0].experiment.data,
            r"leftImg8bit/.* annlib data prepare cityscapes .* data mimic",
        ),
        (ZOO_ROWS[-1].experiment.data, r"VOCdevkit/VOC2012/.* annlib data prepare voc12aug"),
    ],
)
def test_data_that_are_not_shipped_have_to_be_named(config: DataConfig, layout: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"not shipped .*--data\. It holds {layout}"):
        open_data(config, None)


def test_images_have_to_be_named_for_evaluation() -> None:
    with pytest.raises(FileNotFoundError, match="photos is not shipped with annlib: .*--data"):
        labelled(replace(BALLOON_TOWN, name="photos"), None, "val")


@pytest.mark.parametrize(("split", "seed"), [("train", 0), ("val", FIRST_VAL_SEED)])
def test_either_split_of_the_town_can_be_evaluated(split: str, seed: int) -> None:
    assert same(labelled(BALLOON_TOWN, None, split)[0], as_painted(seed))


@pytest.mark.parametrize("config", [TOWN_DATA, PHOTO_DATA], ids=lambda config: config.dataset)
def test_training_split_survives_the_trip_to_a_spawned_worker(
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
    message = "val: training needs two splits, train and val, .*data convert .*val NEW_FOLDER"
    with pytest.raises(FileNotFoundError, match=message):
        open_data(PHOTO_DATA, folder / "val")
    convert(folder / "val", folder / "new", val_share=0.5)
    assert all(len(part) for part in open_data(PHOTO_DATA, folder / "new")[:2])


def test_class_list_without_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="--classes camvid is for .* Name the folder with --data"):
        open_data(TOWN_DATA, None, "camvid")


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "voc12aug"])
def test_published_rows_open_their_benchmark_by_its_layout(tmp_path: Path, name: str) -> None:
    mimic(name, tmp_path / name, 3, 2, (40, 64))
    (config, *_) = [r.experiment.data for r in ZOO_ROWS if r.experiment.data.dataset == name]
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
    splits = open_data(PHOTO_DATA, tmp_path / "city", "cityscapes")
    assert splits.spec == CITYSCAPES
    assert len(labelled(CITYSCAPES, tmp_path / "city", "train")) == 2


def test_benchmark_root_that_is_a_plain_folder_is_told(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no cityscapes in .*This looks like a plain fold"):
        open_data(ZOO_ROWS[0].experiment.data, folder)


def test_test_split_is_not_looked_at_by_training_and_has_no_stand_in(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_scenes(tmp_path / split, 2, {"train": 0, "val": 10, "test": 20}[split])
    (tmp_path / "train/classes.txt").rename(tmp_path / "classes.txt")
    damaged = sorted((tmp_path / "test").rglob("*.png"))
    for path in damaged:
        path.write_bytes(b"not an image")
    splits = open_data(DataConfig("folder", (64, 64), (128, 192), 2), tmp_path)
    assert len([*splits.train]) == len([*splits.val]) == 2
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "test"))):
        labelled(splits.spec, tmp_path, "test")[0]
    with pytest.raises(ValueError, match="has the splits train and val, and no test"):
        labelled(BALLOON_TOWN, None, "test")


@pytest.mark.parametrize(("count", "is_offered"), [(3, False), (6, False), (7, True), (19, True)])
def test_few_label_values_are_not_taken_for_those_of_a_benchmark(
    tmp_path: Path, count: int, is_offered: bool
) -> None:
    values = np.array([CITYSCAPES.class_values[:count]], np.uint8)
    write_pair(tmp_path, "a", random_image(0, *values.shape), values)
    with pytest.raises(ValueError, match="holds the label") as error:
        opened(tmp_path).read(0)
    assert ("the labels of another data set" in str(error.value)) == is_offered
