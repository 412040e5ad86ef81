"""Costs of rows next to the published ones: tables and command."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_zoo import ADE20K, CITYSCAPES, SHRINK, tiny_row

from annlib import published_experiments
from annlib.config import RuntimeConfig
from annlib.course import row_costs as row_costs_module
from annlib.course.profiler import Timing
from annlib.course.row_costs import Cost, Measuring, RowCost, row_cost
from annlib.published_experiments import ROWS, Published, published
from benchmarks import published_rows
from benchmarks.published_rows import cost_tables, file_name, measure_rows, write_costs

pytestmark = pytest.mark.all

# Costs of rows beside what was published.


FULL = Measuring(torch.device("cpu"))
ROW = published(CITYSCAPES)  # published: 3.71 frames/s, 6.0 GB
INFERENCE = Cost(1, (1024, 2048), Timing(100.0, 90.0, 120.0), peak_gib=2.0)
TRAINING = Cost(2, (512, 1024), Timing(900.0, 890.0, 910.0), peak_gib=4.5)
COST = RowCost(ROW, INFERENCE, TRAINING)


def cells(text: str, number: int) -> list[list[str]]:
    """The rows of the table of that number, without its header."""
    _, _, *lines = text.split("\n\n")[number].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_inference_stands_beside_what_was_published() -> None:
    expected = ["1024 x 2048", "100.0 (90.0 to 120.0)", "10.00", "3.71", "2.70", "2.00"]
    assert cells(cost_tables([COST], FULL), 0) == [[ROW.name, *expected]]


def test_training_stands_beside_what_was_published() -> None:
    expected = ["2 x 512 x 1024", "900.0 (890.0 to 910.0)", "4.50", "6", "0.75", "40.0"]
    assert cells(cost_tables([COST], FULL), 1) == [[ROW.name, *expected]]


def test_row_without_published_cost_is_compared_with_nothing() -> None:
    row = published("ann_r50-d8_512x1024_80k_cityscapes")
    text = cost_tables([replace(COST, row=row)], FULL)
    assert cells(text, 0)[0][4:6] == cells(text, 1)[0][4:6] == ["-", "-"]
    assert cells(text, 1)[0][6] == "80.0"  # twice the steps


def test_smaller_pictures_are_compared_with_nothing() -> None:
    small = replace(COST, training=replace(TRAINING, size=(64, 128)))
    text = cost_tables([small], replace(FULL, shrink=8))
    assert cells(text, 0)[0][4:6] == cells(text, 1)[0][4:6] == ["-", "-"]
    assert cells(text, 1)[0][6] == "-" and small.hours is None
    assert "All sides divided by 8" in text


def test_what_was_not_measured_has_no_table() -> None:
    text = cost_tables([replace(COST, training=None)], FULL)
    assert "frames/s" in text and "ms a step" not in text
    assert "frames/s" not in cost_tables([replace(COST, inference=None)], FULL).split("\n\n")[0]


def test_numbers_are_written_with_machine_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.md"
    text = write_costs([COST], path, FULL, "the command")
    assert path.read_text() == text and "Remake: `the command`" in text
    values = json.loads(path.with_suffix(".json").read_text())
    (row,) = values["rows"]
    assert row["inference"]["timing"]["median"] == 100.0
    assert row["training"]["peak_gib"] == 4.5
    assert row["published"]["frames_per_second"] == 3.71
    assert values["settings"]["precision"] == "fp32"
    assert values["made"]["versions"]["torch"] == torch.__version__


def test_rows_that_differ_in_steps_only_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def fake(row: Published, how: Measuring, inference: bool, training: bool) -> RowCost:
        measured.append(row.name)
        return replace(COST, row=row)

    monkeypatch.setattr(row_costs_module, "row_cost", fake)
    costs = list(measure_rows(ROWS, FULL, True, True))
    assert [cost.row for cost in costs] == list(ROWS)
    assert measured == [row.name for row in ROWS if row.memory_gb is not None]


def test_full_memory_is_noted_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(row: Published, how: Measuring) -> Cost:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(row_costs_module, "inference_cost", lambda row, how: INFERENCE)
    monkeypatch.setattr(row_costs_module, "training_cost", too_large)
    found = row_cost(ROW, FULL, True, True)
    assert found.inference == INFERENCE and found.training is None
    (note,) = found.notes
    assert note.startswith(f"{ROW.name}: no memory for training. Try --precision bf16")
    assert note in cost_tables([found], FULL)


def test_other_errors_are_not_taken_for_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(row: Published, how: Measuring) -> Cost:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(row_costs_module, "inference_cost", broken)
    with pytest.raises(RuntimeError, match="sizes differ"):
        row_cost(ROW, FULL, True, False)


def test_only_what_is_wanted_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_costs_module, "inference_cost", lambda row, how: INFERENCE)
    monkeypatch.setattr(row_costs_module, "training_cost", lambda row, how: TRAINING)
    assert row_cost(ROW, FULL, True, False) == RowCost(ROW, INFERENCE, None)
    assert row_cost(ROW, FULL, False, True) == RowCost(ROW, None, TRAINING)


def test_every_setting_has_a_file_of_its_own() -> None:
    hows = [
        FULL,
        replace(FULL, shrink=4),
        *(
            replace(FULL, compute=compute)
            for compute in (
                RuntimeConfig("bf16"),
                RuntimeConfig(compile=True),
                RuntimeConfig(channels_last=False),
            )
        ),
    ]
    names = [file_name("all", how) for how in hows]
    assert len(set(names)) == len(hows)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for name in names)


# The command: what it measures, writes and refuses.


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows, with the smallest network, and a folder of our own."""
    rows = tuple(tiny_row(name) for name in (CITYSCAPES, ADE20K))
    monkeypatch.setattr(published_rows, "ROWS", rows)
    monkeypatch.setattr(published_experiments, "NAMES", {row.name: row for row in rows})


@pytest.fixture
def run(benchmark, tiny: None):
    """Runs a benchmark on the tiny rows.  -> what it printed"""
    small = ("--shrink", SHRINK, "--repeat", 1, "--device", "cpu")
    return lambda *words: benchmark(*words, *small)


def results() -> list[dict]:
    (path,) = Path("data/results/benchmark").glob("*.json")
    return json.loads(path.read_text())["rows"]


def test_row_is_measured_printed_and_kept(run) -> None:
    printed = run("published_rows", CITYSCAPES)
    (row,) = results()
    assert row["name"] == CITYSCAPES
    assert row["inference"]["size"] == [64, 128] and row["training"]["size"] == [32, 64]
    (table,) = Path("data/results/benchmark").glob("*.md")
    assert table.read_text() in printed and f"Saved {table}" in printed


def test_all_rows_are_measured(run) -> None:
    run("published_rows", "--all", "--no-training")
    assert [row["name"] for row in results()] == [CITYSCAPES, ADE20K]
    assert all(row["inference"] and not row["training"] for row in results())


def test_parts_are_shown(run) -> None:
    printed = run("network", "parts", CITYSCAPES)
    assert "| afnb " in printed and "| all " in printed
    assert not Path("data").exists()


def test_command_to_remake_is_the_command(run) -> None:
    words = (
        "published_rows",
        CITYSCAPES,
        "--no-inference",
        "--precision",
        "bf16",
        "--no-channels-last",
    )
    (line,) = (line for line in run(*words).splitlines() if "Remake" in line)
    told = shlex.split(line.split("`")[1])
    small = ["--shrink", str(SHRINK), "--repeat", "1", "--device", "cpu"]
    assert sorted(told) == sorted(["python", "-m", "benchmarks.published_rows", *words[1:], *small])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("published_rows",), "Name one published row"),
        (("network", "parts"), "Name one published row"),
        (("published_rows", CITYSCAPES, "--all"), "Name one published row"),
        (("published_rows", "ann_r50"), "No published row 'ann_r50'. Nearest: "),
        (
            ("published_rows", "--all", "--no-inference", "--no-training"),
            "leave nothing to measure",
        ),
    ],
)
def test_what_cannot_be_measured_is_told(run, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run(*words)


@pytest.mark.parametrize("command", [("published_rows",), ("network", "parts")])
@pytest.mark.parametrize("option", ["--repeat", "--shrink"])
def test_impossible_numbers_are_told(benchmark, tiny: None, command: tuple, option: str) -> None:
    with pytest.raises(SystemExit, match=option):
        benchmark(*command, CITYSCAPES, option, 0)
