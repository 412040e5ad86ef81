"""Imitations of the benchmarks: like the real ones on disk, and there is something to learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from annlib.config import IGNORE_INDEX
from annlib.data.classes import BENCHMARKS, CITYSCAPES, VOC12AUG, DatasetSpec
from annlib.data.datasets import SegmentationFolder
from annlib.data.io import read_labels
from annlib.data.synthetic import MARK, SIZES, mimic
from annlib.data.transforms import to_tensors

SMALL = (96, 144)
each = pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small imitation of each benchmark."""
    folder = tmp_path_factory.mktemp("mimic")
    for spec in BENCHMARKS:
        mimic(spec.name, folder / spec.name, size=SMALL)
    return {spec.name: folder / spec.name for spec in BENCHMARKS}


def opened(root: Path, spec: DatasetSpec, split: str) -> SegmentationFolder:
    return SegmentationFolder(root, spec, split, to_tensors)


def all_files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@each
def test_both_halves_are_read_as_the_real_ones(roots: dict[str, Path], spec: DatasetSpec) -> None:
    for split, count in (("train", 8), ("val", 4)):
        dataset = opened(roots[spec.name], spec, split)
        assert len(dataset) == count
        for index in range(count):
            image, labels = dataset.read(index)
            assert image.shape == (3, *labels.shape)


@each
def test_at_least_ten_classes_appear(roots: dict[str, Path], spec: DatasetSpec) -> None:
    dataset = opened(roots[spec.name], spec, "train")
    seen = {int(v) for i in range(8) for v in torch.unique(dataset.read(i)[1])}
    assert len(seen - {IGNORE_INDEX}) >= 10
    assert IGNORE_INDEX in seen


@each
def test_same_seed_makes_the_same_files_and_another_seed_others(
    tmp_path: Path, spec: DatasetSpec
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        mimic(spec.name, tmp_path / name, 2, 1, SMALL, seed)
    first, same, other = (all_files(tmp_path / name) for name in "abc")
    assert first == same
    assert first.keys() == other.keys()
    labels = [name for name in first if name.endswith(".png")]
    assert all(first[name] != other[name] for name in labels)


@each
def test_no_two_pictures_are_the_same(roots: dict[str, Path], spec: DatasetSpec) -> None:
    datasets = [opened(roots[spec.name], spec, split) for split in ("train", "val")]
    assert len({path.read_bytes() for d in datasets for path in d.labels}) == 12


def around(image: Tensor) -> Tensor:
    """The mean of 9 x 9 pixels around every fourth one.  (C, H, W) -> (N, C)"""
    return avg_pool2d(image, 9, 1, 4, count_include_pad=False)[:, ::4, ::4].flatten(1).T


def features(dataset: SegmentationFolder) -> tuple[Tensor, Tensor]:
    """Colour, and changes to the right and below (N, 5), with the class (N,); none ignored."""
    looks, classes = [], []
    for index in range(len(dataset)):
        image, labels = dataset.read(index)
        grey = image.float().mean(0, keepdim=True)
        right = grey.diff(dim=2, append=grey[:, :, -1:]).abs()
        below = grey.diff(dim=1, append=grey[:, -1:]).abs()
        looks.append(around(torch.cat([image.float(), 4 * right, 4 * below])))
        classes.append(labels[::4, ::4].flatten())
    looks, classes = torch.cat(looks), torch.cat(classes)
    return looks[classes != IGNORE_INDEX], classes[classes != IGNORE_INDEX].long()


@each
def test_classes_can_be_learned_from_how_they_look(
    roots: dict[str, Path], spec: DatasetSpec
) -> None:
    """What looks most alike in training is of the same class, for most pixels of validation."""
    root = roots[spec.name]
    looks, classes = features(opened(root, spec, "train"))
    new_looks, new_classes = features(opened(root, spec, "val"))
    seen = torch.isin(new_classes, classes)  # ADE20K has 150: some are met in validation only
    guesses = classes[torch.cdist(new_looks[seen], looks).argmin(1)]
    right = (guesses == new_classes[seen]).float().mean()
    assert seen.float().mean() > 0.75
    assert right > 0.7


def test_sizes_are_the_real_ones_if_none_is_given(tmp_path: Path) -> None:
    for name, sizes in SIZES.items():
        mimic(name, tmp_path / name, 1, 1)
        (path, *_) = sorted((tmp_path / name).rglob("*_leftImg8bit.png")) or sorted(
            (tmp_path / name).rglob("*.jpg")
        )
        with Image.open(path) as image:
            assert image.size[::-1] in sizes
    assert SIZES["cityscapes"] == ((1024, 2048),)


def test_cityscapes_holds_raw_ids_and_ignored_ones(roots: dict[str, Path]) -> None:
    dataset = opened(roots["cityscapes"], CITYSCAPES, "train")
    values = {v for path in dataset.labels for v in np.unique(np.array(Image.open(path))).tolist()}
    assert values <= set(range(34))
    assert values & set(CITYSCAPES.ignored)
    assert max(values) > 18


def test_voc_labels_are_palette_pictures_in_vocs_colours(roots: dict[str, Path]) -> None:
    dataset = opened(roots["voc12aug"], VOC12AUG, "val")
    with Image.open(dataset.labels[0]) as labels:
        assert labels.mode == "P"
        values = np.array(labels)
        colours = np.array(labels.convert("RGB"))
    for value in np.unique(values).tolist():
        expected = VOC12AUG.palette[value] if value < 21 else (224, 224, 192)
        assert (colours[values == value] == expected).all()


def test_originals_are_those_of_voc_and_sbd(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    mimic("voc12aug", tmp_path / "a", 5, 3, SMALL, originals=True)
    mimic("voc12aug", tmp_path / "b", 5, 3, SMALL)
    originals, ready = (opened(tmp_path / name, VOC12AUG, "train") for name in "ab")
    added = [path for path in originals.labels if path.suffix == ".mat"]
    assert len(added) == 2
    assert all(int(read_labels(path).max()) <= 20 for path in added)
    assert not list((tmp_path / "a").rglob("SegmentationClassAug"))
    for index in range(5):
        ours, theirs = originals.read(index)[1], ready.read(index)[1]
        counted = theirs != IGNORE_INDEX  # SBD has no borders
        assert torch.equal(ours[counted], theirs[counted])


def test_imitation_says_that_it_is_one(roots: dict[str, Path]) -> None:
    for name, root in roots.items():
        assert f"annlib data mimic {name}" in (root / MARK).read_text()


@pytest.mark.parametrize(
    "options", [{"train": 0}, {"val": 0}, {"size": (15, 40)}, {"originals": True}]
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ValueError, match="at least one|one layout"):
        mimic("ade20k", tmp_path / "a", **options)
    assert list(tmp_path.iterdir()) == []


def test_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="not an empty folder"):
        mimic("cityscapes", tmp_path, 1, 1, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
