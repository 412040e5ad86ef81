"""The 16 published rows against the stored facts."""

import json
from dataclasses import astuple
from pathlib import Path

import pytest
import torch

from annlib.config import experiment_from
from annlib.experiments import find_experiment
from annlib.model.build import build_model
from annlib.published_experiments import ROWS, ZOO, published

FACTS = json.loads((Path(__file__).parents[1] / "golden" / "zoo.json").read_text())
SCORES = ("miou", "miou_multiscale", "memory_gb", "frames_per_second")
PARAMETERS = {  # mmseg's, counted there
    (50, 19): 46_228_614,
    (50, 150): 46_329_484,
    (50, 21): 46_230_154,
    (101, 19): 65_220_742,
    (101, 150): 65_321_612,
    (101, 21): 65_222_282,
}
PARTS = ("name", "model", "data", "train", "test")


def test_the_rows_are_the_published_ones_in_their_order() -> None:
    assert list(ZOO) == [fact["name"] for fact in FACTS]
    assert len(ROWS) == 16


def test_row_is_found_under_the_names_of_both_releases() -> None:
    for fact in FACTS:
        row = ZOO[fact["name"]]
        assert (row.name, row.name_1x) == (fact["name"], fact["name_1x"])
        for name in (row.name, row.name_1x):
            assert published(name) is published(f"{name}.py") is row
            assert find_experiment(name) is find_experiment(f"{name}.py") is row.experiment


def test_numbers_and_addresses_are_the_published_ones() -> None:
    for fact in FACTS:
        row = published(fact["name"])
        assert (row.weights_url, row.log_url) == (fact["weights"], fact["log"])
        assert [getattr(row, name) for name in SCORES] == [fact[name] for name in SCORES]


def test_hash_is_that_of_the_address() -> None:
    for fact in FACTS:
        assert fact["weights"].endswith(f"-{published(fact['name']).weights_sha256_start}.pth")


def test_recipe_is_the_published_one() -> None:
    for fact in FACTS:
        _, model, data, train, _ = (getattr(published(fact["name"]).experiment, f) for f in PARTS)
        assert (model.num_classes, model.align_corners) == (fact["classes"], fact["align_corners"])
        assert astuple(data)[:4] == (
            fact["data"],
            tuple(fact["crop"]),
            tuple(fact["base"]),
            fact["batch"],
        )
        assert data.ratio_range == tuple(fact["ratio"])
        assert train.iterations == fact["iterations"]


def test_way_of_testing_is_the_published_one() -> None:
    for fact in FACTS:
        test = published(fact["name"]).experiment.test
        window, stride = (tuple(fact[key]) if fact[key] else None for key in ("window", "stride"))
        assert (test.mode, test.window, test.stride) == (fact["mode"], window, stride)
        assert test.base_size == tuple(fact["base"])


def test_batch_is_shared_by_the_gpus() -> None:
    for row in ROWS:
        assert row.num_gpus * row.batch_per_gpu == row.experiment.data.batch_size
        assert row.batch_per_gpu == (2 if row.experiment.data.dataset == "cityscapes" else 4)


def test_facts_survive_a_trip_through_json() -> None:
    for row in ROWS:
        facts = json.loads(json.dumps(row.facts()))
        assert published(facts["name_1x"]) is row
        assert experiment_from(facts["experiment"]) == row.experiment
        assert facts["backbone"] in (
            f"R-{depth}-D8" for depth in (50, 101) if f"_r{depth}-" in row.name
        )
        assert [facts[name] for name in SCORES] == [getattr(row, name) for name in SCORES]


@pytest.mark.slow
def test_rows_build_networks_with_as_many_parameters_as_the_reference() -> None:
    configs = {row.experiment.model for row in ROWS}
    assert len(configs) == 8
    for config in configs:
        with torch.device("meta"):
            parameters = [*build_model(config).parameters()]
        expected = PARAMETERS[config.depth, config.num_classes]
        assert sum(parameter.numel() for parameter in parameters) == expected


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("ann_r50_512x1024_40k_cityscapes", "ann_r50-d8_512x1024_40k_cityscapes"),
        ("ann_r101-d8_4xb4_20k_voc12aug-512x512", "ann_r101-d8_4xb4-20k_voc12aug-512x512"),
        ("ann_r101-d8_512x512_20k_voc12", "ann_r101-d8_512x512_20k_voc12aug"),
        ("xyz", "ann_r50-d8_512x1024_40k_cityscapes"),
    ],
)
def test_unknown_name_gets_the_nearest_ones(wrong: str, near: str) -> None:
    with pytest.raises(KeyError, match=near):
        published(wrong)
