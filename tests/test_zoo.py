"""The 16 published rows against the stored facts."""

import json
from dataclasses import astuple
from pathlib import Path

import pytest
import torch

from annlib.config import experiment_from
from annlib.experiments import find_experiment
from annlib.model.build import build_model
from annlib.zoo import ROWS, ZOO, Published, published

FACTS = json.loads((Path(__file__).parent / "golden" / "zoo.json").read_text())
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
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.experiment.name)
each_fact = pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])


def test_the_rows_are_the_published_ones_in_their_order() -> None:
    assert list(ZOO) == [fact["name"] for fact in FACTS]
    assert len(ROWS) == 16


@each_fact
def test_row_is_found_under_the_names_of_both_releases(fact: dict) -> None:
    row = ZOO[fact["name"]]
    assert (row.name, row.name_1x) == (fact["name"], fact["name_1x"])
    for name in (row.name, row.name_1x):
        assert published(name) is published(f"{name}.py") is row
        assert find_experiment(name) is find_experiment(f"{name}.py") is row.experiment


@each_fact
def test_numbers_and_addresses_are_the_published_ones(fact: dict) -> None:
    row = published(fact["name"])
    assert (row.weights_url, row.log_url) == (fact["weights"], fact["log"])
    assert [getattr(row, name) for name in SCORES] == [fact[name] for name in SCORES]


@each_fact
def test_hash_is_that_of_the_address(fact: dict) -> None:
    assert fact["weights"].endswith(f"-{published(fact['name']).weights_sha256_start}.pth")


@each_fact
def test_recipe_is_the_published_one(fact: dict) -> None:
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


@each_fact
def test_way_of_testing_is_the_published_one(fact: dict) -> None:
    test = published(fact["name"]).experiment.test
    window, stride = (tuple(fact[key]) if fact[key] else None for key in ("window", "stride"))
    assert (test.mode, test.window, test.stride) == (fact["mode"], window, stride)
    assert test.base_size == tuple(fact["base"])


@each_row
def test_batch_is_shared_by_the_gpus(row: Published) -> None:
    assert row.num_gpus * row.batch_per_gpu == row.experiment.data.batch_size
    assert row.batch_per_gpu == (2 if row.experiment.data.dataset == "cityscapes" else 4)


@each_row
def test_facts_survive_a_trip_through_json(row: Published) -> None:
    facts = json.loads(json.dumps(row.facts()))
    assert published(facts["name_1x"]) is row
    assert experiment_from(facts["experiment"]) == row.experiment
    assert facts["backbone"] in (
        f"R-{depth}-D8" for depth in (50, 101) if f"_r{depth}-" in row.name
    )
    assert [facts[name] for name in SCORES] == [getattr(row, name) for name in SCORES]


@each_row
def test_row_builds_its_network(row: Published) -> None:
    config = row.experiment.model
    with torch.device("meta"):
        model = build_model(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS[config.depth, config.num_classes]


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
