"""annlib benchmark model, train, evaluate: what they measure, say, write and refuse."""

import json
import sys
from pathlib import Path

import pytest
import torch
from tiny_zoo import CITYSCAPES, SHRINK, narrow_row, tiny_row

from annlib import __main__, zoo
from annlib.engine import profiler
from benchmarks import common, mmseg_reference, network
from benchmarks.common import Resident
from benchmarks.mmseg_reference import installed

FOLDER = Path("data/results/benchmark")
REFERENCE = ["reference"] * installed()
MODEL = ("model", "--size", 32, 48)
TRAIN = ("train", "--crop", 32, 40, "--batch", 2)
EVALUATE = ("evaluate", "--shrink", SHRINK)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small network, small matrices, no processes, and a folder of our own."""
    row = narrow_row() if installed() else tiny_row()
    monkeypatch.setattr(zoo, "ROWS", (row,))
    monkeypatch.setattr(zoo, "NAMES", {row.name: row})
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(common, "SIDE", {"cpu": 16})
    monkeypatch.setattr(common, "COPIED_MIB", {"cpu": 1})
    monkeypatch.setattr(network, "resident", lambda prepare: Resident(10.0, 20.0))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line.  -> what it printed"""

    def run(*words: object) -> str:
        line = ["annlib", "benchmark", *map(str, words), "--device", "cpu", "--repeat", "1"]
        monkeypatch.setattr(sys, "argv", line)
        __main__.main()
        return capsys.readouterr().out

    return run


def results() -> dict:
    (path,) = FOLDER.glob("*.json")
    return json.loads(path.read_text())


def contestants_of(entries: list[dict]) -> list[str]:
    return [entry["name"] for entry in entries]


@pytest.mark.parametrize(
    ("words", "title", "ours"),
    [
        (
            MODEL,
            "One picture of 32 x 48 to logits of its size",
            ["as written", "folded, channels last", "frozen, channels last"],
        ),
        (
            TRAIN,
            "A step of training on 2 x 32 x 40 (its result: the loss)",
            ["as written", "folded, channels last"],
        ),
    ],
)
def test_race_is_run_printed_and_kept(annlib, words: tuple, title: str, ours: list) -> None:
    printed = annlib(*words)
    ((name, entries),) = results()["contests"].items()
    assert name == title and contestants_of(entries) == REFERENCE + ours
    assert max(entry["difference"] for entry in entries) < 1e-3
    (table,) = FOLDER.glob("*.md")
    assert table.read_text() in printed and title in printed
    assert "process MiB" in printed and entries[0]["resident"] == {"before": 10.0, "peak": 20.0}


def test_evaluation_is_raced_whole_and_in_parts(annlib) -> None:
    annlib(*EVALUATE)
    contests = results()["contests"]
    ours = ["as written", "folded, channels last", "frozen, channels last"]
    assert {title: contestants_of(entries) for title, entries in contests.items()} == {
        "Picture to counts, 64 x 128": REFERENCE + ours,
        "From logits to counts, 64 x 128": [*REFERENCE, "whole map", "piece by piece"],
        "Counting, 64 x 128": ["bincount", *REFERENCE, "ours"],
    }


def test_parts_alone_take_another_file(annlib) -> None:
    annlib(*EVALUATE, "--no-network", "--no-processes")
    assert len(results()["contests"]) == 2
    annlib(*EVALUATE, "--no-processes")
    assert len(list(FOLDER.glob("evaluate_*.json"))) == 2


def test_best_of_ours_takes_part_in_half_precision(annlib) -> None:
    annlib(*MODEL, "--precision", "bf16", "--no-processes")
    found = results()
    ((entries),) = found["contests"].values()
    assert entries[-1]["name"] == "frozen, channels last, bf16"
    assert found["device_peak"]["gflops"].keys() == {"fp32", "bf16"}
    assert not any(entry["resident"] for entry in entries)


def test_other_settings_take_other_files(annlib) -> None:
    for words in (MODEL, ("model", "--size", 32, 32), (*MODEL, "--precision", "bf16")):
        annlib(*words, "--no-processes")
    assert len(list(FOLDER.glob("*.json"))) == 3


def test_race_goes_on_without_a_compiler(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: object) -> object:
        raise RuntimeError("No working C++ compiler.")

    monkeypatch.setattr(torch, "compile", fail)
    printed = annlib(*MODEL, "--compile", "--no-processes")
    assert "nothing is compiled. No working C++ compiler." in printed
    ((entries),) = results()["contests"].values()
    assert not any("compiled" in name for name in contestants_of(entries))


def test_race_goes_on_without_the_reference(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mmseg_reference, network):
        monkeypatch.setattr(module, "installed", lambda: False)
    assert "pip install -e '.[reference]'" in annlib(*MODEL, "--no-processes")
    ((entries),) = results()["contests"].values()
    assert entries[0]["name"] == "as written" and entries[0]["times_faster"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model", "--row", "ann_r50"), "No published row 'ann_r50'"),
        (("model", "--size", 0, 5), "--size is 0"),
        (("train", "--crop", 32, -1), "--crop is -1"),
        (("train", "--batch", 0), "--batch is 0"),
        (("evaluate", "--shrink", 0), "--shrink"),
        (("evaluate", "--row", CITYSCAPES, "--shrink", 17), "17.*--shrink"),
    ],
)
def test_what_cannot_be_measured_is_told(annlib, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        annlib(*words)
    assert not FOLDER.exists()
