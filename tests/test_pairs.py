"""Pictures and label files of each layout, as they should be and as they are not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from annlib.data.classes import (
    ADE20K,
    BENCHMARKS,
    CITYSCAPES,
    CITYSCAPES_TRAIN_IDS,
    VOC12AUG,
    DatasetSpec,
)
from annlib.data.datasets import SegmentationFolder
from annlib.data.folders import find_pairs
from annlib.data.synthetic import mimic
from annlib.data.transforms import to_tensors

each = pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)
SIZE = (32, 48)


@pytest.fixture
def root(tmp_path: Path) -> Callable[[DatasetSpec], Path]:
    """Makes a small imitation of a benchmark."""

    def make(spec: DatasetSpec, **options: bool) -> Path:
        mimic(spec.name, tmp_path / spec.name, 4, 2, SIZE, **options)
        return tmp_path / spec.name

    return make


def opened(root: Path, spec: DatasetSpec, split: str = "train") -> SegmentationFolder:
    return SegmentationFolder(root, spec, split, to_tensors)


@each
@pytest.mark.parametrize("split", ["train", "val"])
def test_pairs_have_the_same_name_and_are_sorted(root, spec: DatasetSpec, split: str) -> None:
    images, labels, _ = find_pairs(root(spec), spec, split)
    names = [path.name.partition("_leftImg8bit")[0].partition(".")[0] for path in images]
    assert names == [path.name.partition("_gtFine")[0].partition(".")[0] for path in labels]
    assert images == sorted(images)


@each
def test_halves_have_no_picture_in_common(root, spec: DatasetSpec) -> None:
    folder = root(spec)
    train, val = (find_pairs(folder, spec, split) for split in ("train", "val"))
    assert not {*train.images} & {*val.images}
    assert (len(train.images), len(val.images)) == (4, 2)


def to_train_ids(label_file: Path) -> None:
    """Writes ready-made train ids in the place of ids."""
    values = torch.from_numpy(np.array(Image.open(label_file)))
    ready = CITYSCAPES.label_table()[values.int()].numpy()
    Image.fromarray(ready).save(str(label_file).replace("labelIds", "labelTrainIds"))
    label_file.unlink()


def test_ready_made_train_ids_are_read_where_there_are_no_others(root) -> None:
    folder = root(CITYSCAPES)
    before = [opened(folder, CITYSCAPES).read(i)[1] for i in range(4)]
    for path in folder.rglob("*_labelIds.png"):
        to_train_ids(path)
    dataset = opened(folder, CITYSCAPES)
    assert dataset.spec == CITYSCAPES_TRAIN_IDS
    assert all(torch.equal(dataset.read(i)[1], before[i]) for i in range(4))


def test_ids_are_read_where_both_kinds_are(root) -> None:
    folder = root(CITYSCAPES)
    for path in folder.rglob("*_labelIds.png"):
        shutil.copy(path, str(path).replace("labelIds", "labelTrainIds"))
    assert opened(folder, CITYSCAPES).spec == CITYSCAPES


@each
def test_other_files_in_the_folders_are_passed_over(root, spec: DatasetSpec) -> None:
    folder = root(spec)
    for path in find_pairs(folder, spec, "train").labels:
        path.with_name(path.name.replace("_labelIds.png", "_color.png") + ".txt").touch()
    for path in find_pairs(folder, spec, "train").images:
        (path.parent / "Thumbs.db").touch()
    assert len(opened(folder, spec)) == 4


@each
def test_picture_without_labels_is_named_and_counted(root, spec: DatasetSpec) -> None:
    folder = root(spec)
    image, label = (paths[2] for paths in find_pairs(folder, spec, "train")[:2])
    label.unlink()
    with pytest.raises(FileNotFoundError) as error:
        opened(folder, spec)
    assert f"1 of 4 pictures have no labels, the first is {image}: expected " in str(error.value)


LABEL_FOLDERS = (
    (CITYSCAPES, "gtFine", "gtFine_trainvaltest.zip"),
    (ADE20K, "ADEChallengeData2016/annotations", "ADEChallengeData2016.zip"),
    (VOC12AUG, "VOCdevkit/VOC2012/SegmentationClass", "VOCtrainval_11-May-2012.tar"),
)


@pytest.mark.parametrize(("spec", "missing", "archive"), LABEL_FOLDERS, ids=lambda p: str(p)[:9])
def test_half_unpacked_benchmark_is_told_with_the_archive_that_lies_there(
    root, spec: DatasetSpec, missing: str, archive: str
) -> None:
    folder = root(spec)
    shutil.rmtree(folder / missing)
    (folder / archive).touch()
    with pytest.raises(FileNotFoundError, match="2 of 2 pictures have no .* first is ") as error:
        opened(folder, spec, "val")
    assert str(error.value).endswith(f"There lies {archive}: was it unpacked, and to the end?")


@pytest.mark.parametrize(
    ("spec", "split_folder"),
    [
        (CITYSCAPES, "leftImg8bit/val"),
        (ADE20K, "ADEChallengeData2016/images/validation"),
    ],
    ids=["cityscapes", "ade20k"],
)
def test_empty_split_is_told(root, spec: DatasetSpec, split_folder: str) -> None:
    folder = root(spec)
    shutil.rmtree(folder / split_folder)
    with pytest.raises(FileNotFoundError, match=rf"{split_folder}.* holds no .*{folder} holds "):
        opened(folder, spec, "val")


@pytest.mark.parametrize("strange", [{0: 251}, {0: 34}])
@pytest.mark.parametrize("spec", [*BENCHMARKS], ids=lambda spec: spec.name)
def test_unknown_label_is_told_with_file_value_and_data_set(
    root, spec: DatasetSpec, strange: dict[int, int]
) -> None:
    dataset = opened(root(spec), spec)
    values = np.array(Image.open(dataset.labels[1]))
    values[3, 5] = strange[0]
    Image.fromarray(values).save(dataset.labels[1])
    if strange[0] in spec.known_values:  # 34 is a class of ADE20K
        dataset.read(1)
        return
    with pytest.raises(ValueError) as error:
        dataset.read(1)
    said = str(error.value)
    assert said.startswith(f"{dataset.labels[1]} holds the label {strange[0]}, but {spec.name} has")
    assert "Labels are indices" in said if strange[0] == 251 else "would do for ade20k" in said


def test_labels_of_another_data_set_are_recognised(root, tmp_path: Path) -> None:
    cityscapes, voc = opened(root(CITYSCAPES), CITYSCAPES), opened(root(VOC12AUG), VOC12AUG)
    with Image.open(voc.images[0]) as image:
        size = image.size
    with Image.open(cityscapes.labels[0]) as labels:
        labels.resize(size, Image.Resampling.NEAREST).save(voc.labels[0])
    with pytest.raises(
        ValueError, match=r"holds the label 2\d, .*voc12aug has 21 .* cityscapes or"
    ):
        voc.read(0)


def test_coloured_labels_are_refused(root) -> None:
    dataset = opened(root(ADE20K), ADE20K)
    Image.new("RGB", (48, 32)).save(dataset.labels[0])
    with pytest.raises(ValueError, match="has mode RGB, but labels hold one class index"):
        dataset.read(0)
