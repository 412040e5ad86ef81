"""annlib benchmark: what it measures, writes and refuses."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from tiny_zoo import ADE20K, CITYSCAPES, SHRINK, tiny_row

from annlib import __main__, zoo
from annlib.engine import profiler


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two rows, with the smallest network, and a folder of our own."""
    rows = tuple(tiny_row(name) for name in (CITYSCAPES, ADE20K))
    monkeypatch.setattr(zoo, "ROWS", rows)
    monkeypatch.setattr(zoo, "NAMES", {row.name: row for row in rows})
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line.  -> what it printed"""

    def run(*words: object) -> str:
        small = ("--shrink", SHRINK, "--repeat", 1, "--device", "cpu")
        monkeypatch.setattr(sys, "argv", ["annlib", "benchmark", *map(str, (*words, *small))])
        __main__.main()
        return capsys.readouterr().out

    return run


def results() -> list[dict]:
    (path,) = Path("data/results/benchmark").glob("*.json")
    return json.loads(path.read_text())["rows"]


def test_row_is_measured_printed_and_kept(annlib) -> None:
    printed = annlib("rows", CITYSCAPES)
    (row,) = results()
    assert row["name"] == CITYSCAPES
    assert row["inference"]["size"] == [64, 128] and row["training"]["size"] == [32, 64]
    (table,) = Path("data/results/benchmark").glob("*.md")
    assert table.read_text() in printed and f"Saved {table}" in printed


def test_all_rows_are_measured(annlib) -> None:
    annlib("rows", "--all", "--no-training")
    assert [row["name"] for row in results()] == [CITYSCAPES, ADE20K]
    assert all(row["inference"] and not row["training"] for row in results())


def test_parts_are_shown(annlib) -> None:
    printed = annlib("parts", CITYSCAPES)
    assert "| afnb " in printed and "| all " in printed
    assert not Path("data").exists()


def test_command_to_remake_is_the_command(annlib) -> None:
    words = ("rows", CITYSCAPES, "--no-inference", "--precision", "bf16", "--no-channels-last")
    (line,) = (line for line in annlib(*words).splitlines() if "Remake" in line)
    told = shlex.split(line.split("`")[1])
    small = ["--shrink", str(SHRINK), "--repeat", "1", "--device", "cpu"]
    assert sorted(told) == sorted(["annlib", "benchmark", *words, *small])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rows",), "Name one published row"),
        (("parts",), "Name one published row"),
        (("rows", CITYSCAPES, "--all"), "Name one published row"),
        (("rows", "ann_r50"), "No published row 'ann_r50'. Nearest: "),
        (("rows", "--all", "--no-inference", "--no-training"), "leave nothing to measure"),
    ],
)
def test_what_cannot_be_measured_is_told(annlib, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        annlib(*words)


@pytest.mark.parametrize(("option", "value"), [("--repeat", 0), ("--shrink", 0)])
@pytest.mark.parametrize("command", ["rows", "parts"])
def test_impossible_numbers_are_told(
    annlib, monkeypatch: pytest.MonkeyPatch, command: str, option: str, value: int
) -> None:
    words = ["annlib", "benchmark", command, CITYSCAPES, option, str(value)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=option):
        __main__.main()
