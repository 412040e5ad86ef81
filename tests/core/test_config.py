"""Experiments: unchangeable, found by name, and the same after a trip through JSON."""

import json
import re
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path

import pytest
import torch

from annlib.config import (
    DataConfig,
    Experiment,
    ModelConfig,
    RuntimeConfig,
    TestConfig,
    TrainConfig,
    experiment_from,
    with_settings,
)
from annlib.experiments import (
    FULL_SIZE,
    HEADS,
    LAPTOP,
    PPM_SCALES,
    find_experiment,
    read_experiment_file,
)
from annlib.model.build import build_model
from annlib.published_experiments import ROWS, ZOO

ALL = [*LAPTOP.values(), *(row.experiment for row in ROWS)]


def test_published_pyramid_has_110_anchors() -> None:
    assert (
        sum(n * n for n in ModelConfig(50, 19).pool_scales) == 1 * 1 + 3 * 3 + 6 * 6 + 8 * 8 == 110
    )


def test_experiments_survive_a_trip_through_json_and_stay_hashable() -> None:
    for experiment in ALL:
        found = experiment_from(json.loads(json.dumps(asdict(experiment))))
        assert found == experiment and hash(found) == hash(experiment)


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


def test_every_head_has_an_experiment_on_the_town_photos_and_streets() -> None:
    data = ("balloon", "photos", "streets")
    assert set(LAPTOP) == {f"{name}_{head}" for name in data for head in HEADS}


def test_experiments_are_found_under_their_names() -> None:
    for name in (*LAPTOP, *ZOO):
        assert find_experiment(name).name == name


def test_experiments_differ_in_the_head_alone() -> None:
    for experiment in LAPTOP.values():
        other = LAPTOP[experiment.name.partition("_")[0] + "_ann"]
        model = replace(other.model, head=experiment.model.head)
        if experiment.model.head == "ppm":
            model = replace(model, pool_scales=PPM_SCALES)
        assert experiment == replace(other, name=experiment.name, model=model)


def test_laptop_networks_are_small() -> None:
    for experiment in LAPTOP.values():
        with torch.device("meta"):
            parameters = [*build_model(experiment.model).parameters()]
        assert sum(parameter.numel() for parameter in parameters) < 2_000_000


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("balloon_an", "balloon_ann"),
        ("photos_apbn", "photos_apnb"),
        ("ann_r50-d8_512x512_80k_ade", "ann_r50-d8_512x512_80k_ade20k"),
        ("?", "balloon_ann"),
    ],
)
def test_unknown_name_gets_the_nearest_ones(wrong: str, near: str) -> None:
    with pytest.raises(KeyError, match=f"No experiment .* Nearest: .*{near}"):
        find_experiment(wrong)


@pytest.mark.parametrize("experiment", FULL_SIZE.values(), ids=lambda experiment: experiment.name)
def test_full_size_experiments_are_the_published_network_and_recipe(experiment: Experiment) -> None:
    row = ROWS[0].experiment
    classes = experiment.model.num_classes
    assert experiment.model == replace(row.model, num_classes=classes)
    assert experiment.train == replace(row.train, iterations=experiment.train.iterations)
    assert find_experiment(experiment.name) is experiment


def test_settings_have_the_type_of_their_field() -> None:
    words = "train.base_lr=1 data.crop_size=256,128 model.pool_scales=6 train.clip_norm=none"
    words += " train.optimizer=sgd data.color_jitter=true train.class_weights=1,2.5"
    found = with_settings(LAPTOP["photos_ann"], words.split())
    recipe, data = found.train, found.data
    assert recipe.base_lr == 1.0 and isinstance(recipe.base_lr, float)
    assert data.crop_size == (256, 128) and found.model.pool_scales == (6,)
    assert (recipe.clip_norm, recipe.optimizer, data.color_jitter) == (None, "sgd", True)
    assert recipe.class_weights == (1.0, 2.5) and not data.balance_classes
    assert replace(found, model=ALL[0].model, train=ALL[0].train, data=ALL[0].data) == replace(
        LAPTOP["photos_ann"], model=ALL[0].model, train=ALL[0].train, data=ALL[0].data
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.lr=0.1", "there is no train.lr. train has iterations, base_lr"),
        ("recipe.base_lr=0.1", "'recipe' is not model, data, train or test"),
        ("train.base_lr=fast", "'fast', but has to be float"),
        ("train.base_lr=-1", "-1, but has to be float and not negative"),
        ("train.base_lr=nan", "has to be float"),
        ("train.iterations=1.5", "has to be int"),
        ("train.iterations=0", "give 1 or more"),
        ("train.optimizer=adam", "'sgd', 'adamw'"),
        ("data.crop_size=256", "has to be tuple"),
        ("data.color_jitter=1", "has to be bool"),
        ("model.num_classes=3", "comes from the class list"),
        ("train.base_lr", "has to be float"),
    ],
)
def test_settings_without_effect_or_sense_are_refused(setting: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        with_settings(LAPTOP["photos_ann"], [setting])


@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [
        (ModelConfig, {"depth": 9, "num_classes": -1}, "num_classes is -1: give 1 or more"),
        (ModelConfig, {"depth": 9, "num_classes": 2**63}, "give less than 2"),
        (ModelConfig, {"depth": 9, "num_classes": 2, "dropout": 1.0}, "give less than 1"),
        (ModelConfig, {"depth": 9, "num_classes": 2, "hidden_channels": 0}, "give 1 or more"),
        (TrainConfig, {"iterations": 9, "base_lr": float("nan")}, "base_lr is nan: give 0 or more"),
        (TrainConfig, {"iterations": 9, "class_weights": (1, -1.0)}, "class_weights is (1, -1.0)"),
        (TrainConfig, {"iterations": 9, "clip_norm": 0}, "give more than 0, or none"),
        (TestConfig, {"base_size": (0, 9)}, "base_size is (0, 9): give 1 or more, or none"),
        (RuntimeConfig, {"accumulate": 0}, "accumulate is 0: give 1 or more"),
        (DataConfig, {"dataset": "folder", "crop_size": [9, -9]}, "crop_size is [9, -9]"),
    ],
)
def test_numbers_that_no_setting_can_have_are_refused_in_python_too(kind, values, told) -> None:
    if kind is DataConfig:
        values |= {"base_size": None, "batch_size": 1}
    with pytest.raises(ValueError, match=re.escape(told)):
        kind(**values)


def test_experiment_file_changes_a_known_experiment(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "photos_ppm"\n[train]\nbase_lr = 0.5\n[test]\nscales = [0.5, 1]\n')
    found, base = read_experiment_file(path), LAPTOP["photos_ppm"]
    assert found.name == "mine" and found.test.scales == (0.5, 1.0)
    assert found.train == replace(base.train, base_lr=0.5) and found.model == base.model
    path.write_text("[train]\nbase_lr = 0.5\n")
    with pytest.raises(ValueError, match='base = "photos_ann"'):
        read_experiment_file(path)
    path.write_text("base =")
    with pytest.raises(ValueError, match="is not TOML"):
        read_experiment_file(path)
