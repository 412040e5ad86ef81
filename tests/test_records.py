"""What a run writes down can be read back, and goes on as if the run had not been stopped."""

import json
from dataclasses import asdict
from math import isnan
from pathlib import Path

import pytest
import torch
from some_runs import some_scores, start_line

from annlib.config import RuntimeConfig
from annlib.engine.runs import (
    HISTORY,
    STARTS,
    VALIDATION,
    append_line,
    forget_after,
    read_history,
    read_starts,
    read_validations,
    record_start,
    record_validation,
)


def test_start_says_where_and_how(tmp_path: Path) -> None:
    compute = RuntimeConfig("bf16", accumulate=4)
    record_start(tmp_path, 40, torch.device("cpu"), compute)
    (line,) = read_starts(tmp_path)
    assert (line["step"], line["device"], line["processes"]) == (40, "cpu", 1)
    assert line["compute"] == asdict(compute)
    assert {"started", "command", "versions", "hardware"} <= line.keys()


def test_every_session_has_its_start(tmp_path: Path) -> None:
    for step in (0, 40, 80):
        record_start(tmp_path, step, torch.device("cpu"), RuntimeConfig())
    assert [line["step"] for line in read_starts(tmp_path)] == [0, 40, 80]


def test_scores_are_read_back_with_nan_for_absent_classes(tmp_path: Path) -> None:
    scores = some_scores(80)
    record_validation(tmp_path, 40, scores)
    (line,) = read_validations(tmp_path)
    assert (line["step"], line["miou"]) == (40, scores.miou)
    assert (line["mean_accuracy"], line["pixel_accuracy"]) == (scores.mean_accuracy, 0.8)
    assert torch.equal(torch.tensor(line["iou"], dtype=torch.float64).isnan(), scores.iou.isnan())
    assert line["iou"][:2] == scores.iou[:2].tolist()


def test_scores_are_json_to_every_reader(tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    record_validation(tmp_path, 40, some_scores(80))
    line = json.loads((tmp_path / VALIDATION).read_text(), parse_constant=refuse)
    assert line["iou"][2:] == [None, None, None]


def test_scores_without_a_labelled_pixel_are_nan(tmp_path: Path) -> None:
    nothing = torch.full((2,), torch.nan, dtype=torch.float64)
    record_validation(tmp_path, 40, type(some_scores(1))(nothing, nothing, float("nan")))
    (line,) = read_validations(tmp_path)
    assert isnan(line["miou"]) and isnan(line["pixel_accuracy"])


def test_step_that_is_scored_again_has_one_line(tmp_path: Path) -> None:
    for step, right in ((20, 50), (40, 60), (40, 70)):
        record_validation(tmp_path, step, some_scores(right))
    lines = read_validations(tmp_path)
    assert [line["step"] for line in lines] == [20, 40]
    assert lines[1]["pixel_accuracy"] == 0.7


def test_what_came_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    for step in (20, 40, 60):
        append_line(tmp_path / HISTORY, {"step": step, "loss": 1.0, "lr": 0.1})
        record_validation(tmp_path, step, some_scores(50))
        append_line(tmp_path / STARTS, start_line("2026-11-23T09:00:00Z", step))
    forget_after(tmp_path, 40)
    assert [line["step"] for line in read_history(tmp_path)] == [20, 40]
    assert [line["step"] for line in read_validations(tmp_path)] == [20, 40]
    assert len(read_starts(tmp_path)) == 3  # they happened, whatever came of them


@pytest.mark.parametrize(
    ("file", "read", "missing"),
    [
        (HISTORY, read_history, "loss, lr"),
        (VALIDATION, read_validations, "iou, mean_accuracy, miou, pixel_accuracy"),
        (STARTS, read_starts, "compute, device, hardware, processes, started, versions"),
    ],
)
def test_line_that_lacks_something_is_told(tmp_path: Path, file, read, missing) -> None:
    append_line(tmp_path / file, {"step": 20})
    with pytest.raises(ValueError, match=f"{file} is damaged, .* a line lacks {missing}"):
        read(tmp_path)
