"""The facts of an experiment: unchangeable, and the same after a trip through JSON."""

import json
from dataclasses import FrozenInstanceError, asdict, fields

import pytest

from annlib.config import Experiment, ModelConfig, experiment_from
from annlib.experiments import LAPTOP
from annlib.zoo import ROWS

ALL = [*LAPTOP.values(), *(row.experiment for row in ROWS)]


def test_published_pyramid_has_110_anchors() -> None:
    assert ModelConfig(50, 19).num_anchors == 1 * 1 + 3 * 3 + 6 * 6 + 8 * 8 == 110


@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_experiment_survives_a_trip_through_json(experiment: Experiment) -> None:
    assert experiment_from(json.loads(json.dumps(asdict(experiment)))) == experiment


@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_experiment_is_hashable_after_a_trip_through_json(experiment: Experiment) -> None:
    assert hash(experiment_from(json.loads(json.dumps(asdict(experiment))))) == hash(experiment)


def test_nothing_can_be_changed() -> None:
    experiment = ALL[0]
    for part in (experiment, experiment.model, experiment.data, experiment.train, experiment.test):
        for field in fields(part):
            with pytest.raises(FrozenInstanceError):
                setattr(part, field.name, None)


def test_sizes_are_height_then_width() -> None:
    town = LAPTOP["balloon_ann"]
    height, width = town.test.base_size
    assert (height, width) == (128, 192)


@pytest.mark.parametrize(
    ("part", "key", "told"), [("train", "turbo", "'turbo'"), ("model", "depth", "'depth'")]
)
def test_settings_of_another_version_are_told(part: str, key: str, told: str) -> None:
    values = asdict(LAPTOP["balloon_ann"])
    values[part] = {k: v for k, v in values[part].items() if k != key} | (
        {} if key in values[part] else {key: 1}
    )
    message = f"balloon_ann was written by another version of annlib .*{told}.* start a new run"
    with pytest.raises(ValueError, match=message):
        experiment_from(values)


def test_missing_part_of_the_settings_is_told() -> None:
    values = {"name": "balloon_ann"}
    with pytest.raises(ValueError, match=r"another version of annlib \('model'\)"):
        experiment_from(values)
