"""A checkpoint file or a published name -> a network with its classes and its way of testing."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import small_town
import torch
from tiny import TINY

from annlib.config import TestConfig
from annlib.data.classes import ADE20K, BALLOON_TOWN, CITYSCAPES, VOC12AUG
from annlib.engine import predictor
from annlib.engine.predictor import (
    Network,
    check_folder_classes,
    classes_of,
    find_network,
    load_in_turn,
)
from annlib.engine.trainer import Training
from annlib.model.ann import ANN
from annlib.model.checkpoint import Checkpoint, load, save
from annlib.zoo import ROWS

CPU = torch.device("cpu")
TOWN = small_town.LAPTOP["balloon_ann"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Untrained, but with every trait of a trained one."""
    run = Training(TOWN, BALLOON_TOWN, tmp_path_factory.mktemp("run"), CPU)
    run.save()
    return load(run.checkpoint)


def test_file_brings_its_classes_and_its_way_of_testing(checkpoint: Checkpoint) -> None:
    network = find_network(str(checkpoint.path))
    assert (network.spec, network.test) == (BALLOON_TOWN, TOWN.test)


def test_network_of_a_file_has_its_weights(checkpoint: Checkpoint) -> None:
    weights = find_network(str(checkpoint.path)).load().state_dict()
    assert weights.keys() == checkpoint.model.keys()
    assert all(torch.equal(weights[key], checkpoint.model[key]) for key in weights)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.experiment.name)
def test_published_name_brings_classes_and_test_of_its_row(
    row, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    monkeypatch.setattr(predictor, "load_published", lambda name: fetched.append(name))
    network = find_network(row.experiment.name)
    specs = {"cityscapes": CITYSCAPES, "ade20k": ADE20K, "voc12aug": VOC12AUG}
    assert network.spec == specs[row.experiment.data.dataset]
    assert network.spec.num_classes == row.experiment.model.num_classes
    assert network.test == row.experiment.test
    assert fetched == []  # not before it is needed
    network.load()
    assert fetched == [row.experiment.name]


@pytest.mark.parametrize(("process", "order"), [("0", "load wait"), ("1", "wait load")])
def test_first_process_of_a_machine_fetches_for_the_others(
    process: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setenv("LOCAL_RANK", process)
    monkeypatch.setattr(predictor, "wait_for_all", lambda: events.append("wait"))
    model = ANN(TINY)
    network = Network("tiny", BALLOON_TOWN, TOWN.test, lambda: events.append("load") or model)
    assert load_in_turn(network) is model
    assert " ".join(events) == order


@pytest.mark.parametrize("what", ["missing.safetensors", "runs/missing", ".", "a.pth"])
def test_missing_file_is_told_as_a_file(what: str) -> None:
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        find_network(what)


def test_misspelt_name_is_told_with_the_nearest() -> None:
    name = ROWS[0].experiment.name
    with pytest.raises(KeyError, match=name):
        find_network(name.replace("cityscapes", "cityscape"))


@pytest.mark.parametrize("spec", [CITYSCAPES, ADE20K, VOC12AUG, BALLOON_TOWN])
def test_class_list_survives_being_written_as_json(checkpoint: Checkpoint, spec) -> None:
    config = replace(TINY, num_classes=spec.num_classes)
    notes = json.loads(json.dumps({"classes": asdict(spec)}))
    assert classes_of(checkpoint._replace(config=config, notes=notes)) == spec


def test_bare_checkpoint_tests_pictures_as_they_are(checkpoint: Checkpoint) -> None:
    assert predictor.test_config(checkpoint._replace(notes={})) == TestConfig()


def test_checkpoint_without_class_names_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", ANN(replace(TINY, num_classes=3)))
    with pytest.raises(ValueError, match=r"a\.safetensors does not say what its 3 classes are"):
        find_network(str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("row", (ROWS[0], ROWS[8], ROWS[-1]), ids=lambda row: row.stamp)
def test_fetched_weights_have_the_classes_of_their_row(checkpoint: Checkpoint, row) -> None:
    notes = json.loads(json.dumps({"experiment": asdict(row.experiment)}))
    fetched = checkpoint._replace(config=row.experiment.model, notes=notes)
    assert classes_of(fetched).name == row.experiment.data.dataset
    assert predictor.test_config(fetched) == row.experiment.test


def test_checkpoint_with_another_number_of_names_than_classes_is_refused(
    checkpoint: Checkpoint,
) -> None:
    other = checkpoint._replace(config=replace(checkpoint.config, num_classes=11))
    with pytest.raises(ValueError, match="11 classes apart, but names 10 of balloon_town"):
        classes_of(other)


def write_classes(folder: Path, names: list[str]) -> Path:
    (folder / "classes.txt").write_text("\n".join(names))
    return folder


def test_folder_with_the_classes_of_the_network_is_accepted(tmp_path: Path) -> None:
    check_folder_classes(BALLOON_TOWN, write_classes(tmp_path, list(BALLOON_TOWN.class_names)))
    (tmp_path / "classes.txt").unlink()
    check_folder_classes(BALLOON_TOWN, tmp_path)
    check_folder_classes(BALLOON_TOWN, None)


def test_exchanged_classes_of_a_folder_are_named(tmp_path: Path) -> None:
    first, second, *others = BALLOON_TOWN.class_names
    with pytest.raises(ValueError, match=f"0: {first} / {second}, 1: {second} / {first} "):
        check_folder_classes(BALLOON_TOWN, write_classes(tmp_path, [second, first, *others]))


def test_missing_and_additional_classes_of_a_folder_are_named(tmp_path: Path) -> None:
    names = list(BALLOON_TOWN.class_names)
    with pytest.raises(ValueError, match=f"names 9. They differ at 9: {names[-1]} / none "):
        check_folder_classes(BALLOON_TOWN, write_classes(tmp_path, names[:-1]))
    with pytest.raises(ValueError, match="names 11. They differ at 10: none / moon "):
        check_folder_classes(BALLOON_TOWN, write_classes(tmp_path, [*names, "moon"]))
    with pytest.raises(ValueError, match="names 2. They differ at 0: .* and further on "):
        check_folder_classes(BALLOON_TOWN, write_classes(tmp_path, ["moon", "star"]))
