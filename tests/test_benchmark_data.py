"""annlib benchmark data: what it measures, writes and refuses."""

import json
import sys
from pathlib import Path

import pytest
from tiny_zoo import ADE20K, CITYSCAPES, SHRINK, tiny_row

from annlib import __main__, zoo
from annlib.data.synthetic import MARK, mimic
from annlib.engine import profiler
from benchmarks import dataloading, mmseg_reference


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command line, without the reference.  -> what it printed"""
    monkeypatch.setattr(zoo, "NAMES", {name: tiny_row(name) for name in (CITYSCAPES, ADE20K)})
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(mmseg_reference, "installed", lambda: False)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> str:
        small = {"--shrink": SHRINK, "--repeat": 1, "--device": "cpu", "--pictures": 2}
        line = [*words, *(x for item in small.items() if item[0] not in words for x in item)]
        monkeypatch.setattr(sys, "argv", ["annlib", "benchmark", "data", *map(str, line)])
        __main__.main()
        return capsys.readouterr().out

    return run


def results() -> dict:
    (path,) = Path("data/results/benchmark").glob("data_*.json")
    return json.loads(path.read_text())


def test_pipeline_and_needs_are_measured_printed_and_kept(annlib) -> None:
    printed = annlib("--images-per-second", 1000)
    found = results()
    assert "reference is not installed" in printed
    assert list(found["milliseconds"]) == ["ours"] and found["pictures"] == 2
    assert found["images_per_second_of_one_worker"] > 0
    who = [need["who"] for need in found["needs"]]
    assert who[:2] == ["a published GPU (estimated)", "elsewhere (as given)"] and len(who) == 3
    assert found["needs"][1]["images_per_second"] == 1000
    assert all(0 <= need["waiting"] <= 1 for need in found["needs"])
    (table,) = Path("data/results/benchmark").glob("data_*.md")
    assert table.read_text() in printed and "| resize and crop" in printed


def test_own_pictures_are_read_and_left_alone(annlib, tmp_path: Path) -> None:
    mimic("ade20k", tmp_path / "ade", train=1, val=1, size=(32, 40))
    before = sorted(tmp_path.rglob("*"))
    annlib("--row", ADE20K, "--data", tmp_path / "ade", "--no-training")
    assert results()["pictures"] == 1  # there is no second
    made = {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - set(before)}
    assert made == {"data"} and (tmp_path / "ade" / MARK).exists()


def test_reference_comes_first_where_it_is_installed(
    annlib, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmseg_reference, "installed", lambda: True)
    monkeypatch.setattr(
        dataloading,
        "reference_stages",
        lambda row, data: dict.fromkeys(
            ("decode", "resize and crop", "flip", "colours", "normalise and pad"), lambda x: x
        ),
    )
    printed = annlib("--no-training")
    assert list(results()["milliseconds"]) == ["reference", "ours"]
    assert "times faster" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--row", "ann_r50"), "No published row 'ann_r50'. Nearest: "),
        (("--pictures", 0), "--pictures is 0: at least one is needed"),
        (("--shrink", 99), "Sides are to be divided by 99"),
        (("--images-per-second", 0), "--images-per-second is 0: no training is that fast"),
        (("--images-per-second", "nan"), "--images-per-second is nan"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused(annlib, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        annlib(*words)
    assert message in str(stopped.value)
    assert not Path("data").exists()
