"""Runs are read from their folders, however damaged these are."""

import json
import os
from pathlib import Path

import pytest
from some_runs import make_run, save_checkpoint, some_scores, start_line

from annlib.course.runs import find_runs, read_run
from annlib.engine.runs import STARTS, append_line, record_validation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "a", seed=3)


def test_run_says_what_lies_in_its_folder(folder: Path) -> None:
    run = read_run(folder)
    assert (run.name, run.seed, run.step, run.iterations) == ("balloon_ann", 3, 40, 60)
    assert run.loss == pytest.approx(10 / 40 + 3)
    assert run.scores["miou"] == run.best_miou == some_scores(80).miou
    assert (run.started, run.seconds) == ("2026-11-23T09:00:00Z", 75.0)
    assert (run.device, run.troubles) == ("cpu, fp32", ())


def test_best_score_need_not_be_the_newest(folder: Path) -> None:
    record_validation(folder, 50, some_scores(30))
    run = read_run(folder)
    assert run.best_miou == some_scores(80).miou
    assert (run.scores["step"], run.scores["miou"]) == (50, some_scores(30).miou)


@pytest.mark.parametrize(
    ("step", "state"), [(40, "unfinished"), (59, "unfinished"), (60, "finished")]
)
def test_run_is_finished_once_its_checkpoint_has_all_steps(tmp_path, step, state) -> None:
    assert read_run(make_run(tmp_path / "a", step=step)).state == state


def test_score_of_the_checkpoint_counts_where_no_validation_was_recorded(folder: Path) -> None:
    (folder / "validation.jsonl").unlink()
    save_checkpoint(folder, 60, scores={"miou": 0.25, "iou": [0.25, float("nan")]})
    run = read_run(folder)
    assert run.scores["miou"] == run.best_miou == 0.25
    assert run.scores["step"] == 60


def test_resumed_run_began_at_its_first_start_and_computes_where_the_last_was(folder) -> None:
    late = start_line("2026-11-24T10:00:00Z", step=40, device="cuda", processes=2)
    append_line(folder / STARTS, late)
    run = read_run(folder)
    assert (run.started, run.device) == ("2026-11-23T09:00:00Z", "2 x NVIDIA Dream, fp32")


def test_run_that_was_begun_anew_began_then(folder: Path) -> None:
    append_line(folder / STARTS, start_line("2026-11-24T10:00:00Z"))
    assert read_run(folder).started == "2026-11-24T10:00:00Z"


def test_run_before_its_first_checkpoint_is_at_step_0(folder: Path) -> None:
    (folder / "last.safetensors").unlink()
    run = read_run(folder)
    assert (run.step, run.state, run.seconds, run.troubles) == (0, "unfinished", None, ())


def test_runs_are_found_in_depth_and_the_newest_comes_last(tmp_path: Path) -> None:
    for name, hour in (("z", 8), ("b/c", 11), ("a", 10)):
        make_run(tmp_path / name, hour=hour)
    (tmp_path / "b/notes.txt").touch()
    found = [str(run.folder.relative_to(tmp_path)) for run in find_runs(tmp_path)]
    assert found == ["z", "a", "b/c"]


def test_run_that_does_not_say_when_it_began_is_dated_by_its_folder(tmp_path: Path) -> None:
    for name, day in (("new", 25), ("old", 21)):
        folder = make_run(tmp_path / name)
        (folder / STARTS).unlink()
        os.utime(folder, (1795564800 + (day - 25) * 86400,) * 2)  # noon of 2026-11-25
    make_run(tmp_path / "between")
    assert [run.folder.name for run in find_runs(tmp_path)] == ["old", "between", "new"]


def test_folder_without_runs_has_none_and_no_folder_is_told(tmp_path: Path) -> None:
    assert find_runs(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        find_runs(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="There is no run in"):
        read_run(tmp_path)


DAMAGE = {
    "experiment.json": (b'{"name": "x", ', "experiment.json is damaged"),
    "last.safetensors": (b"\x40\0\0", "last.safetensors is damaged"),
    "history.jsonl": (b"{\n{}\n", "history.jsonl is damaged: its line 1"),
    "validation.jsonl": (b'{"step": 20}\n', "validation.jsonl is damaged, or of another version"),
    "starts.jsonl": (b'{"step": 0}\n', "starts.jsonl is damaged, or of another version"),
}


@pytest.mark.parametrize("file", DAMAGE)
def test_damaged_file_is_told_and_the_rest_is_read(folder: Path, file: str) -> None:
    content, message = DAMAGE[file]
    whole = read_run(folder)
    (folder / file).write_bytes(content)
    (run,) = find_runs(folder.parent)
    assert len(run.troubles) == 1 and message in run.troubles[0]
    parts = {"settings", "saved", "starts", "history", "validations"}
    assert sum(getattr(run, part) == getattr(whole, part) for part in parts) >= 4
    for shown in ("name", "seed", "step", "state", "loss", "best_miou", "started", "device"):
        getattr(run, shown)


@pytest.mark.parametrize("settings", [[], {}, {"name": "x"}, {"name": "x", "train": 3}])
def test_settings_of_something_else_are_damage(folder: Path, settings: object) -> None:
    (folder / "experiment.json").write_text(json.dumps(settings))
    assert "does not hold the settings" in read_run(folder).troubles[0]


def test_missing_settings_are_told(folder: Path) -> None:
    (folder / "experiment.json").unlink()
    (run,) = find_runs(folder.parent)
    assert run.name == "?" and run.troubles[0].endswith("No such file or directory")


def test_all_files_damaged_at_once_are_all_told(folder: Path) -> None:
    for file, (content, _) in DAMAGE.items():
        (folder / file).write_bytes(content)
    assert len(read_run(folder).troubles) == len(DAMAGE)


def test_folder_that_may_not_be_opened_is_listed(folder: Path, monkeypatch) -> None:
    closed, scandir = folder.parent / "closed", os.scandir
    closed.mkdir()

    def guarded(path: object) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    runs = {run.folder.name: run.troubles for run in find_runs(folder.parent)}
    assert runs == {"a": (), "closed": (f"{closed}: Permission denied",)}
