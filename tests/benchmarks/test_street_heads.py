"""Heads on streets: finished runs are kept, the study's statistics, and the file of weights."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_pictures import SPEC, write_pictures
from tiny import TINY
from torch import nn

from annlib.config import DataConfig, Experiment, Head, TestConfig, TrainConfig
from annlib.course.profiler import Pace
from annlib.data.datasets import open_data
from annlib.engine.evaluate import Evaluation
from annlib.engine.predictor import find_network, segmenter
from annlib.model.checkpoint import load
from benchmarks import street_heads
from benchmarks.street_heads import (
    Streets,
    StreetWeights,
    correct_by_size,
    seeds_needed,
    without_class_weights,
)

pytestmark = pytest.mark.slow


def tiny_streets(head: Head, seed: int, depth: int, iterations: int) -> Experiment:
    model = replace(TINY, head=head, depth=depth)
    data = DataConfig("folder", (16, 16), (24, 32), batch_size=2)
    recipe = TrainConfig(iterations, seed=seed, optimizer="adamw")
    return Experiment(f"streets_{head}", model, data, recipe, TestConfig(base_size=(24, 32)))


@pytest.fixture
def streets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for split in ("train", "val"):
        write_pictures(tmp_path / split)
    (tmp_path / "classes.txt").write_text("\n".join(SPEC.class_names), encoding="utf-8")
    monkeypatch.setattr(street_heads, "experiment_of", tiny_streets)
    return tmp_path


def study(root: Path, **options: object) -> str:
    options = {"seeds": 2, "iterations": 2, "precision": "fp32", "equal_time": False} | options
    Streets(data=root, runs=root / "runs", out=root / "streets.md", **options).run()
    return (root / "streets.md").read_text(encoding="utf-8")


def test_a_study_has_all_heads_and_finished_runs_are_read_again(
    streets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study(streets)
    rows = {
        line.split("|")[1].strip(): line.split("|") for line in first.splitlines() if "|" in line
    }
    assert [rows[head][3].strip() for head in ("fcn", "ann", "ppm", "apnb")] == ["2", "2", "1", "1"]
    assert {*SPEC.class_names, "0.5", "0.25", "small", "large"} <= rows.keys()
    monkeypatch.setattr(street_heads, "Trainer", None)  # nothing may be trained again
    assert study(streets) == first


def test_so_many_seeds_show_the_effect_in_four_of_five_studies() -> None:
    sd, effect = 0.02, 0.012
    count = seeds_needed(sd, effect)
    draws = np.random.default_rng(0).normal(effect, sd, (4000, count))
    from scipy.stats import ttest_1samp

    seen = (ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert seen == pytest.approx(0.8, abs=0.02)


def test_correct_pixels_are_counted_by_the_size_of_their_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = torch.zeros(100, 100, dtype=torch.int64)  # large
    labels[10:12, 10:12] = 1  # 4 of 10,000 pixels: small
    labels[50:57, 50:57] = 1  # 49: medium, although of the same class
    labels[90:] = 255
    predicted = labels.clone().byte()
    predicted[10, 10:12] = 0  # half of the small one is wrong
    predicted[0] = 1  # 100 of the large one
    monkeypatch.setattr(street_heads, "make_label_predictor", lambda *_: lambda _: predicted[None])
    trainer = SimpleNamespace(model=nn.Identity(), experiment=SimpleNamespace(test=None))
    found = correct_by_size(trainer, [(torch.zeros(3, 100, 100), labels)])
    large = 9000 - 4 - 49
    assert found == {"small": 0.5, "medium": 1.0, "large": pytest.approx((large - 100) / large)}


def test_scores_without_class_weights_are_those_of_the_true_frequencies() -> None:
    weights, frequent = (0.5, 1.0, 4.0), torch.tensor([0.6, 0.3, 0.1])
    weighted = frequent * torch.tensor(weights)  # what a weighted loss is smallest for
    model = nn.Module()
    model.classifier = nn.Conv2d(1, 3, 1)
    model.classifier.bias.data = (weighted / weighted.sum()).log()
    without_class_weights(model, weights)
    assert torch.allclose(model.classifier.bias.softmax(0), frequent)
    bias = model.classifier.bias.clone()
    without_class_weights(model, ())
    assert torch.equal(model.classifier.bias, bias)


def test_longer_runs_have_rows_and_scores_of_their_own(streets: Path) -> None:
    report = study(streets, seeds=1, other_seeds=0, longer=3)
    scores = json.loads((streets / "streets.json").read_text(encoding="utf-8"))
    assert [(r["head"], r["iterations"]) for own in scores.values() for r in own] == [
        ("fcn", 2),
        ("ann", 2),
        ("fcn", 3),
        ("ann", 3),
    ]
    (run,) = (streets / "runs").glob("streets_ann-depth*-3-seed0")
    kept = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert scores["ann, longer"] == [kept]
    (row,) = [line for line in report.splitlines() if line.startswith("| ann, longer")]
    assert f"{100 * kept['miou']:.1f}" in row and "--longer 3" in report


def test_the_ratio_of_times_is_measured_once_and_kept_with_the_runs(
    streets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([3.0, 2.5, 4.0, 2.0, 3.5, 2.2])  # ANN, FCN, ANN, ...: the fastest of each count
    monkeypatch.setattr(street_heads, "pace", lambda *_: Pace(next(times), 0.0))
    runs = streets / "runs"
    runs.mkdir()
    first = Streets(data=streets, runs=runs, precision="fp32").time_ratio()
    assert first == pytest.approx(3.0 / 2.0)
    assert Streets(data=streets, runs=runs, precision="fp32").time_ratio() == first
    assert not list(times)


def test_shipped_weights_are_half_as_large_and_say_their_own_score(streets: Path) -> None:
    study(streets, seeds=1)
    (run,) = (streets / "runs").glob("streets_ann-*")
    out = streets / "streets_ann.safetensors"
    StreetWeights(streets, run, out=out).run()
    checkpoint, network = load(out), find_network(str(out))
    kernels = {key: t.dtype for key, t in checkpoint.model.items() if t.ndim == 4}
    assert set(kernels.values()) == {torch.float16}
    assert "annlib train streets_ann" in checkpoint.notes["command"]
    assert "research" in checkpoint.notes["notice"]
    splits = open_data(DataConfig("folder", None, None, 1), streets)
    evaluation = Evaluation(segmenter(network, torch.device("cpu")), splits.val)
    for _ in evaluation.steps():
        pass
    assert evaluation.finish().miou == pytest.approx(checkpoint.notes["scores"]["miou"], abs=5e-3)
