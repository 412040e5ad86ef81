"""The three benchmarks: what the numbers in their label files mean, by other sources than ours."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from golden_rules import golden
from torchvision.datasets import Cityscapes
from torchvision.models.segmentation import FCN_ResNet50_Weights

from annlib.config import IGNORE_INDEX, ModelConfig
from annlib.data.classes import (
    ADE20K,
    BENCHMARKS,
    CITYSCAPES,
    CITYSCAPES_TRAIN_IDS,
    PUBLISHED_PICTURES,
    VOC12AUG,
    DatasetSpec,
)
from annlib.engine.predictor import classes_of
from annlib.model.checkpoint import Checkpoint
from annlib.zoo import ROWS

every = pytest.mark.parametrize(
    "spec",
    [*BENCHMARKS, CITYSCAPES_TRAIN_IDS],
    ids=lambda spec: f"{spec.name}{spec.label_values[:1]}",
)
KNOWN_IDS = [label for label in Cityscapes.classes if label.id >= 0]  # -1: licence plates, no file


def test_cityscapes_ids_become_the_train_ids_that_torchvision_knows() -> None:
    table = CITYSCAPES.label_table().tolist()
    assert [table[label.id] for label in KNOWN_IDS] == [label.train_id for label in KNOWN_IDS]
    assert CITYSCAPES.known_values == {*(label.id for label in KNOWN_IDS), IGNORE_INDEX}


def test_cityscapes_names_and_colours_are_those_that_torchvision_knows() -> None:
    theirs = {label.train_id: label for label in Cityscapes.classes if 0 <= label.train_id < 255}
    assert CITYSCAPES.class_names == tuple(theirs[i].name for i in range(19))
    assert CITYSCAPES.palette == tuple(theirs[i].color for i in range(19))


def test_ready_made_train_ids_stay_as_they_are() -> None:
    table = CITYSCAPES_TRAIN_IDS.label_table().tolist()
    assert table[:19] == list(range(19))
    assert CITYSCAPES_TRAIN_IDS.known_values == {*range(19), IGNORE_INDEX}


def test_ade20k_labels_are_reduced_as_the_reference_does() -> None:
    case = golden()["transforms"]["reduce_zero_label"]
    table = ADE20K.label_table().tolist()
    pairs = [p for p in zip(case["inp"], case["out"], strict=True) if p[0] in ADE20K.known_values]
    assert len(pairs) > 5
    assert [table[value] for value, _ in pairs] == [index for _, index in pairs]


def test_ade20k_begins_and_ends_with_its_classes() -> None:
    names = ADE20K.class_names
    assert (names[0], names[12], names[44], names[149]) == (
        *("wall", "person", "chest of drawers"),
        "flag",
    )
    assert (ADE20K.palette[0], ADE20K.palette[149]) == ((120, 120, 120), (92, 0, 255))


def test_voc_classes_are_those_that_torchvision_knows() -> None:
    theirs = FCN_ResNet50_Weights.DEFAULT.meta["categories"]
    ours = [name.replace(" ", "") for name in VOC12AUG.class_names]
    assert ours == [name.strip("_") for name in theirs]
    assert VOC12AUG.label_table().tolist() == [*range(21), *[IGNORE_INDEX] * 235]


@every
def test_predictions_survive_the_way_to_the_server_and_back(spec: DatasetSpec) -> None:
    classes = torch.arange(spec.num_classes)
    values = spec.value_table()[classes]
    assert torch.equal(spec.label_table()[values.int()], classes.byte())
    assert int(spec.label_table()[int(spec.value_table()[IGNORE_INDEX])]) == IGNORE_INDEX


def test_servers_get_ids_numbers_from_one_and_indices() -> None:
    assert CITYSCAPES.value_table()[[0, 18]].tolist() == [7, 33]
    assert ADE20K.value_table()[[0, 149]].tolist() == [1, 150]
    assert VOC12AUG.value_table()[[0, 20]].tolist() == [0, 20]


@every
def test_every_class_has_a_name_of_its_own_and_a_colour(spec: DatasetSpec) -> None:
    assert len(set(spec.class_names)) == len(spec.palette) == spec.num_classes
    assert all(len(rgb) == 3 and max(rgb) < 256 for rgb in spec.palette)


def test_published_rows_have_the_classes_of_their_data_set() -> None:
    known = {spec.name: spec for spec in BENCHMARKS}
    for row in ROWS:
        assert row.experiment.model.num_classes == known[row.experiment.data.dataset].num_classes
        assert set(PUBLISHED_PICTURES[row.experiment.data.dataset]) == {"train", "val"}


def in_a_checkpoint(classes: dict) -> Checkpoint:
    """With these notes, as they come back from a file."""
    config = ModelConfig(50, num_classes=len(classes["class_names"]))
    notes = {"classes": json.loads(json.dumps(classes))}
    return Checkpoint(Path("a.safetensors"), config, 0, notes, {}, None)


@every
def test_classes_come_back_from_a_checkpoint(spec: DatasetSpec) -> None:
    assert classes_of(in_a_checkpoint(asdict(spec))) == spec


def test_checkpoints_from_before_there_were_layouts_are_read() -> None:
    spec = replace(VOC12AUG, layout="folder")
    old = {key: asdict(spec)[key] for key in ("name", "class_names", "palette", "ignored")}
    assert classes_of(in_a_checkpoint(old)) == spec
