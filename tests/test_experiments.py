"""Experiments by name."""

from dataclasses import replace

import pytest

from annlib.config import Experiment
from annlib.experiments import FULL_SIZE, HEADS, LAPTOP, PPM_SCALES, find_experiment
from annlib.model.build import build_model
from annlib.zoo import ROWS, ZOO

each = pytest.mark.parametrize("experiment", LAPTOP.values(), ids=list(LAPTOP))


def test_every_head_has_a_town_and_a_photo_experiment() -> None:
    assert set(LAPTOP) == {f"{data}_{head}" for data in ("balloon", "photos") for head in HEADS}


@pytest.mark.parametrize("name", [*LAPTOP, *ZOO])
def test_experiment_is_found_under_its_name(name: str) -> None:
    assert find_experiment(name).name == name


@each
def test_experiments_differ_in_the_head_alone(experiment: Experiment) -> None:
    other = LAPTOP[experiment.name.partition("_")[0] + "_ann"]
    model = replace(other.model, head=experiment.model.head)
    if experiment.model.head == "ppm":
        model = replace(model, pool_scales=PPM_SCALES)
    assert experiment == replace(other, name=experiment.name, model=model)


@each
def test_laptop_network_is_small(experiment: Experiment) -> None:
    size = sum(parameter.numel() for parameter in build_model(experiment.model).parameters())
    assert size < 1_500_000


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
def test_full_size_experiments_are_the_published_network_and_recipe(
    experiment: Experiment,
) -> None:
    row = ROWS[0].experiment
    classes = experiment.model.num_classes
    assert experiment.model == replace(row.model, num_classes=classes)
    assert experiment.train == replace(row.train, iterations=experiment.train.iterations)
    assert find_experiment(experiment.name) is experiment
