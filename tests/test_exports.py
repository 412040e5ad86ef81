"""Predictions as the pictures that the benchmarks' servers and people take."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from annlib.data.classes import ADE20K, BALLOON_TOWN, CAMVID, CITYSCAPES, VOC12AUG, DatasetSpec
from annlib.data.io import read_image, read_labels
from annlib.engine import predictor
from annlib.engine.predictor import colour, save_prediction

SPECS = (CITYSCAPES, ADE20K, VOC12AUG, CAMVID, BALLOON_TOWN)
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def random_labels(spec: DatasetSpec) -> torch.Tensor:
    return torch.randint(spec.num_classes, (13, 29), dtype=torch.uint8)


@every_spec
def test_saved_labels_are_read_back_as_the_prediction(spec: DatasetSpec, tmp_path: Path) -> None:
    labels = random_labels(spec)
    save_prediction(labels, spec, tmp_path, "a")
    values = read_labels(tmp_path / "labels/a.png")  # as if it were a label file of the data set
    assert torch.equal(spec.label_table()[values.int()], labels)


@every_spec
def test_saved_colours_are_those_of_the_classes(spec: DatasetSpec, tmp_path: Path) -> None:
    labels = random_labels(spec)
    save_prediction(labels, spec, tmp_path, "a")
    colours = read_image(tmp_path / "colours/a.png").permute(1, 2, 0)
    for row, column in np.ndindex(*labels.shape):
        assert tuple(colours[row, column].tolist()) == spec.palette[labels[row, column]]


def values_in(path: Path) -> tuple[str, list[list[int]]]:
    with Image.open(path) as image:
        return image.mode, np.array(image).tolist()


def test_cityscapes_gets_label_ids_not_train_ids(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[0, 10, 18]], dtype=torch.uint8), CITYSCAPES, tmp_path, "a")
    assert values_in(tmp_path / "labels/a.png") == ("L", [[7, 23, 33]])  # road, sky, bicycle


def test_ade20k_counts_from_one(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[0, 149]], dtype=torch.uint8), ADE20K, tmp_path, "a")
    assert values_in(tmp_path / "labels/a.png") == ("L", [[1, 150]])


def test_voc_gets_indices_that_look_like_their_colours(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[0, 15, 20]], dtype=torch.uint8), VOC12AUG, tmp_path, "a")
    assert values_in(tmp_path / "labels/a.png") == ("P", [[0, 15, 20]])
    seen = read_image(tmp_path / "labels/a.png").permute(1, 2, 0)[0].tolist()
    assert seen == [[0, 0, 0], [192, 128, 128], [0, 64, 128]]  # background, person, tv monitor


def test_pixels_without_a_class_are_black() -> None:
    assert colour(torch.tensor([[255]], dtype=torch.uint8), VOC12AUG).tolist() == [[[0, 0, 0]]]


def test_picture_that_cannot_be_written_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predictor, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        save_prediction(random_labels(CAMVID), CAMVID, tmp_path, "a")
    assert list(tmp_path.rglob("*.png")) == []
