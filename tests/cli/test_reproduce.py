"""A published row measured again, from the command line to its table."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_rules import filled_model, mmseg_state_dict
from tiny import wake
from tiny_zoo import CITYSCAPES, SHRINK, tiny_row

from annlib import __main__, published_experiments
from annlib.cli import reproduce
from annlib.cli.reproduce import MULTI, SINGLE, reproduced_table
from annlib.course import profiler, row_costs
from annlib.course.profiler import Timing
from annlib.course.row_costs import Cost, RowCost, shrunk
from annlib.data import classes
from annlib.data.datasets import labelled
from annlib.data.synthetic import MARK, mimic
from annlib.engine.inference import MULTI_SCALE, make_predictor
from annlib.engine.metrics import Scores, evaluate
from annlib.model.ann import ANN
from annlib.model.checkpoint import save
from annlib.model.hub import load_published
from annlib.published_experiments import Published, published

CPU = torch.device("cpu")
ROW = published(CITYSCAPES)  # 77.40, 78.57, 6.0 GB, 3.71 frames/s
RESULT = Path(f"data/results/reproduce/{CITYSCAPES}.json")


def small(row: Published) -> Published:
    return replace(row, experiment=shrunk(row.experiment, SHRINK))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imitation of Cityscapes with three validation pictures."""
    root = tmp_path_factory.mktemp("data") / "cityscapes"
    mimic("cityscapes", root, train=1, val=3, size=(64, 128))
    return root


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Published:
    """The only row: in small, with the smallest network; and a folder of our own."""
    row = small(tiny_row())
    monkeypatch.setattr(published_experiments, "NAMES", {row.name: row})
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(row_costs, "image_size", lambda experiment, factor: (64, 128))
    monkeypatch.setenv("ANNLIB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return row


@pytest.fixture
def weights(row: Published, tmp_path: Path) -> Path:
    """Stand-ins for released weights."""
    path = tmp_path / "mine.safetensors"
    save(path, wake(ANN(row.experiment.model)))
    return path


@pytest.fixture
def annlib(annlib: Callable[..., str]) -> Callable[..., str]:
    return lambda *words: annlib("reproduce", *words, "--device", "cpu", "--repeat", 1)


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def scores_of(miou: float) -> Scores:
    return Scores(torch.tensor([miou]), torch.tensor([miou]), miou)


def test_table_has_published_here_and_the_difference() -> None:
    cost = RowCost(
        ROW,
        Cost(1, (1024, 2048), Timing(100.0, 90.0, 120.0), 2.0),
        Cost(2, (512, 1024), Timing(900.0, 890.0, 910.0), 4.5),
    )
    scores = {SINGLE: scores_of(0.78), MULTI: scores_of(0.78)}
    text = reproduced_table(ROW, scores, cost, (), "fp32", CPU)
    assert cells(text) == [
        ["", "mIoU %", "ms+flip %", "memory GB", "frames/s"],
        ["published", "77.40", "78.57", "6.00", "3.71"],
        ["here", "78.00", "78.00", "4.50", "10.00"],
        ["difference", "+0.60", "-0.57", "-1.50", "+6.29"],
    ]


def test_what_was_not_measured_differs_by_nothing() -> None:
    scores = {SINGLE: scores_of(0.78)}
    text = reproduced_table(ROW, scores, None, ("Only three.",), "fp32", CPU)
    assert cells(text)[2:] == [["here", "78.00", "-", "-", "-"], ["difference", "+0.60", *"---"]]
    assert "**Only three.**" in text


def direct_miou(row: Published, weights: Path, data: Path, multi_scale: bool) -> float:
    """Scored without the command, its folder, and its network of a word."""
    test = row.experiment.test
    if multi_scale:
        test = replace(test, scales=MULTI_SCALE, flip=True)
    model = load_published(row.name, weights)
    samples = (
        (image[None], labels[None]) for image, labels in labelled(classes.CITYSCAPES, data, "val")
    )
    return 100 * evaluate(make_predictor(model, test), samples, 19).scores().miou


@pytest.mark.slow
def test_row_is_scored_measured_printed_and_kept(annlib, row, weights: Path, data: Path) -> None:
    printed = annlib(CITYSCAPES, "--data", data, "--weights", weights)
    values = json.loads(RESULT.read_text())
    assert values["here"]["miou"] == pytest.approx(direct_miou(row, weights, data, False))
    assert values["here"]["miou_multiscale"] == pytest.approx(direct_miou(row, weights, data, True))
    assert values["here"]["memory_gb"] > 0 and values["here"]["frames_per_second"] > 0
    assert values["difference"]["miou"] == pytest.approx(values["here"]["miou"] - row.miou)
    assert set(values["scores"][SINGLE]["classes"]) == set(classes.CITYSCAPES.class_names)
    assert cells(printed)[1] == ["published", "77.40", "78.57", "6.00", "3.71"]
    assert RESULT.with_suffix(".md").read_text() in printed


def test_imitation_and_weights_of_ones_own_are_said(annlib, row, weights, data: Path) -> None:
    printed = annlib(CITYSCAPES, "--data", data, "--weights", weights, "--no-benchmark")
    assert f"**cityscapes is a synthetic imitation here ({MARK})" in printed
    assert "**Weights from mine.safetensors.**" in printed


def test_limit_is_said_and_takes_pictures_from_all_over(annlib, row, weights, data: Path) -> None:
    words = (CITYSCAPES, "--data", data, "--weights", weights, "--no-benchmark", "--limit", 2)
    printed = annlib(*words, "--no-multi-scale")
    assert "**Scored on only 2 of 3 images.**" in printed
    folder = Path(f"runs/reproduce/{CITYSCAPES}-limit2/single-scale")
    lines = (folder / "images.jsonl").read_text().splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert names == ["spiegelau_000000_000019_leftImg8bit", "spiegelau_000001_000019_leftImg8bit"]
    assert "--limit 2" in printed and "--no-multi-scale" in printed


def test_number_of_pictures_other_than_published_is_said(row, data: Path, tmp_path: Path) -> None:
    (data / MARK).rename(tmp_path / MARK)
    try:
        network = reproduce.network_of_row(row, None)
        _, caveats = reproduce.validation_split(network, row, data, None)
    finally:
        (tmp_path / MARK).rename(data / MARK)
    assert caveats == ("3 images in the validation split, 500 were published.",)


def test_scores_that_are_there_are_not_made_again(
    annlib, row, weights: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (CITYSCAPES, "--data", data, "--weights", weights, "--no-benchmark")
    annlib(*words)
    before = json.loads(RESULT.read_text())["here"]
    monkeypatch.setattr("annlib.engine.evaluate.Evaluation.step", None)  # nothing to call
    annlib(*words)
    assert json.loads(RESULT.read_text())["here"] == before


def test_damaged_picture_ends_with_a_way_on(annlib, row, weights: Path, tmp_path: Path) -> None:
    mimic("cityscapes", tmp_path / "city", train=1, val=2, size=(64, 128))
    image = next((tmp_path / "city").glob("leftImg8bit/val/*/*000001*.png"))
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    words = (CITYSCAPES, "--data", "city", "--weights", weights, "--no-benchmark")
    with pytest.raises(SystemExit, match="keeps what is done .*: the same command goes on"):
        annlib(*words)
    image.write_bytes(whole)
    assert "here" in annlib(*words)


def test_missing_data_is_told_before_weights_are_fetched(annlib, row) -> None:
    with pytest.raises(SystemExit, match="no folder nowhere"):
        annlib(CITYSCAPES, "--data", "nowhere")


def test_offline_it_says_what_to_do(
    annlib, row, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(SystemExit, match=r"(?s)Connection refused.*annlib weights import"):
        annlib(CITYSCAPES, "--data", data, "--no-benchmark")


def test_weights_of_another_network_are_refused(annlib, row, data: Path, tmp_path: Path) -> None:
    other = replace(row.experiment.model, key_channels=9)
    save(tmp_path / "other.safetensors", ANN(other))
    with pytest.raises(SystemExit, match="key_channels 9 there"):
        annlib(CITYSCAPES, "--data", data, "--weights", "other.safetensors")


@pytest.mark.parametrize("option", ["--limit", "--repeat"])
def test_nothing_to_count_is_refused(row, monkeypatch, data: Path, option: str) -> None:
    words = ["annlib", "reproduce", CITYSCAPES, "--data", str(data), option, "0"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=f"{option} is 0"):
        __main__.main()


@pytest.mark.slow
def test_released_file_is_reproduced_from_end_to_end(
    annlib: Callable[..., str], monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> None:
    """A file in the released layout, with weights that follow the rule, and the whole R-50."""
    row = small(ROW)
    monkeypatch.setattr(published_experiments, "NAMES", {row.name: row})
    monkeypatch.chdir(tmp_path)
    torch.save({"meta": {}, "state_dict": mmseg_state_dict(50, 19)}, "weights.pth")
    words = ("--weights", "weights.pth", "--no-benchmark", "--no-multi-scale", "--limit", 1)
    annlib(CITYSCAPES, "--data", data, *words)
    image, labels = labelled(classes.CITYSCAPES, data, "val")[0]
    predict = make_predictor(filled_model(50, 19), row.experiment.test)
    expected = evaluate(predict, [(image[None], labels[None])], 19).scores()
    values = json.loads(RESULT.read_text())
    assert values["here"]["miou"] == pytest.approx(100 * expected.miou)
