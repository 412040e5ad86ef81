"""The records of a run, and the checkpoints that are kept."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import count
from math import isnan, nan
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from some_runs import save_checkpoint, some_scores, start_line

from annlib.config import RuntimeConfig
from annlib.course.runs import read_starts
from annlib.engine.runs import (
    HISTORY,
    STARTS,
    VALIDATION,
    append_line,
    best,
    forget_after,
    keep_checkpoint,
    numbered,
    open_event_log,
    read_history,
    read_lines,
    read_validations,
    record_start,
    record_validation,
)
from annlib.model.checkpoint import load, read_header


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


LINES = [{"step": step, "loss": 1.5, "note": "Häuser\n"} for step in (20, 40, 60)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for line in LINES:
        append_line(tmp_path / "a.jsonl", line)
    return tmp_path / "a.jsonl"


def test_lines_come_back_as_they_were_written(path: Path) -> None:
    assert read_lines(path) == LINES
    assert [json.loads(text) for text in path.read_text().splitlines()] == LINES


def test_file_that_is_missing_or_empty_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "a.jsonl") == []
    (tmp_path / "a.jsonl").touch()
    assert read_lines(tmp_path / "a.jsonl") == []


@given(st.data())
def test_file_cut_at_any_byte_keeps_all_whole_lines_and_goes_on(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    for line in LINES:
        append_line(path, line)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    kept = [line for line, end in zip(LINES, ends, strict=True) if cut >= end]
    assert read_lines(path) == kept
    append_line(path, {"step": 80})
    assert read_lines(path) == [*kept, {"step": 80}]
    assert path.read_bytes().count(b"\n") == len(kept) + 1


def test_end_that_a_power_failure_left_as_zeros_is_left_out(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 50)
    assert read_lines(path) == LINES
    append_line(path, {"step": 80})
    assert read_lines(path) == [*LINES, {"step": 80}]


@pytest.mark.parametrize("garbage", [b'{"step": 40, "lo', b"\xff\xfe", b"", b"40", b"[1]"])
def test_damage_in_the_middle_is_told_with_its_line(path: Path, garbage: bytes) -> None:
    first, _, third, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, garbage, third, b""]))
    with pytest.raises(ValueError, match=r"a\.jsonl is damaged: its line 2 is not a JSON object"):
        read_lines(path)


def test_forgetting_in_an_empty_folder_makes_no_file(tmp_path: Path) -> None:
    forget_after(tmp_path, 40)
    assert list(tmp_path.iterdir()) == []


def curve(folder: Path, name: str) -> dict[int, float]:
    """step -> value, as TensorBoard itself reads the folder."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reading.EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


@pytest.fixture
def needs_tensorboard() -> None:
    pytest.importorskip("tensorboard")


def test_scalars_are_read_back(tmp_path: Path, needs_tensorboard: None) -> None:
    log = open_event_log(tmp_path)
    for step in (20, 40):
        log.add_scalar("loss", 1 / step, step)
    log.close()
    assert curve(tmp_path, "loss") == pytest.approx({20: 0.05, 40: 0.025})


def test_steps_after_the_checkpoint_are_those_of_the_resumed_run(
    tmp_path: Path, needs_tensorboard: None
) -> None:
    first = open_event_log(tmp_path)
    for step in (20, 40, 60, 80):
        first.add_scalar("loss", 1.0, step)
    first.flush()  # and killed
    time.sleep(1.1)  # TensorBoard takes files in the order of their names: seconds, then a count
    second = open_event_log(tmp_path, step=40)
    second.add_scalar("loss", 2.0, 60)
    second.close()
    first.close()
    assert curve(tmp_path, "loss") == {20: 1.0, 40: 1.0, 60: 2.0}


def test_run_that_starts_again_leaves_nothing_of_the_old_one(
    tmp_path: Path, needs_tensorboard: None
) -> None:
    for value in (1.0, 2.0):
        log = open_event_log(tmp_path)
        log.add_scalar("loss", value, 20 * int(value))
        log.close()
    assert curve(tmp_path, "loss") == {40: 2.0}


def test_without_tensorboard_nothing_is_written(tmp_path: Path, monkeypatch) -> None:
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert open_event_log(tmp_path, step=20) is None
    assert list(tmp_path.iterdir()) == []


def take(folder: Path, step: int, miou: float | None = None, most: int = 0) -> None:
    """What a training does at a checkpoint."""
    keep_checkpoint(save_checkpoint(folder, step), step, miou, most)


def refuse(*arguments: object) -> None:
    """os.link on a disk that knows none."""
    raise PermissionError(1, "Operation not permitted")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_latest_checkpoints_are_kept_by_their_numbers(tmp_path: Path) -> None:
    for step in (200, 400, 600, 800, 1_000_000):
        take(tmp_path, step, most=3)
    assert numbered(tmp_path) == [600, 800, 1_000_000]
    for step in numbered(tmp_path):
        assert load(tmp_path / f"step-{step:06}.safetensors").step == step


def test_best_is_that_of_the_highest_miou(tmp_path: Path) -> None:
    for step, miou in ((200, 0.3), (400, 0.7), (600, 0.5), (800, 0.7)):
        take(tmp_path, step, miou)
    assert best(tmp_path) == (400, 0.7)
    assert load(tmp_path / "best.safetensors").step == 400
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 400, "miou": 0.7}
    assert load(tmp_path / "last.safetensors").step == 800


def test_best_and_last_outlive_the_numbered_ones(tmp_path: Path) -> None:
    for step, miou in ((200, 0.9), (400, 0.1), (600, 0.2)):
        take(tmp_path, step, miou, most=1)
    expected = {"best.json", "best.safetensors", "last.safetensors", "step-000600.safetensors"}
    assert names(tmp_path) == expected
    assert load(tmp_path / "best.safetensors").step == 200


@pytest.mark.parametrize("miou", [None, nan])
def test_step_without_a_score_is_never_the_best(tmp_path: Path, miou: float | None) -> None:
    take(tmp_path, 200, miou)
    assert best(tmp_path) is None and names(tmp_path) == {"last.safetensors"}
    take(tmp_path, 400, 0.2)
    take(tmp_path, 600, miou)
    assert best(tmp_path) == (400, 0.2)


def test_keeping_none_deletes_none(tmp_path: Path) -> None:
    take(tmp_path, 200, most=2)
    take(tmp_path, 400, most=0)
    assert numbered(tmp_path) == [200]


def test_run_that_went_back_deletes_what_is_older_than_itself_only(tmp_path: Path) -> None:
    for step in (400, 600):
        take(tmp_path, step, most=2)
    take(tmp_path, 250, most=2)
    assert numbered(tmp_path) == [250, 400, 600]
    take(tmp_path, 500, most=2)
    assert numbered(tmp_path) == [400, 500, 600]


@pytest.mark.parametrize("left_over", [False, True], ids=["clean", "after a kill"])
def test_keeping_copies_no_bytes_where_links_are_known(tmp_path: Path, left_over: bool) -> None:
    if left_over:
        (tmp_path / ".kept.part").touch()
    take(tmp_path, 200, 0.5, most=1)
    kept = ("best.safetensors", "last.safetensors", "step-000200.safetensors")
    assert len({(tmp_path / name).stat().st_ino for name in kept}) == 1


def test_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse)
    take(tmp_path, 200, 0.5, most=1)
    take(tmp_path, 400, 0.4, most=1)
    assert load(tmp_path / "best.safetensors").step == 200
    assert load(tmp_path / "step-000400.safetensors").step == 400


def test_keeping_the_same_checkpoint_again_changes_nothing(tmp_path: Path) -> None:
    take(tmp_path, 200, 0.5, most=2)
    before = names(tmp_path)
    keep_checkpoint(tmp_path / "last.safetensors", 200, 0.5, 2)
    assert names(tmp_path) == before


def test_missing_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"last\.safetensors"):
        keep_checkpoint(tmp_path / "last.safetensors", 200, None, 1)


def test_damaged_best_gives_way_to_the_next(tmp_path: Path) -> None:
    take(tmp_path, 200, 0.9)
    (tmp_path / "best.safetensors").unlink()
    (tmp_path / "best.safetensors").write_bytes(b"\x40")
    take(tmp_path, 400, 0.1)
    assert best(tmp_path) == (400, 0.1)


class Killed(BaseException):
    """As by SIGKILL: nothing that follows changes the disk, clean-up neither."""


@contextmanager
def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Ends the process, as it were, at its change of the disk with that number.

    Yields whether it came to that.
    """
    changes = count()
    dead: list[bool] = []

    def mortal(change: Callable) -> Callable:
        def attempt(*arguments: object, **others: object) -> object:
            if dead or next(changes) == number:
                dead.append(True)
                raise Killed
            return change(*arguments, **others)

        return attempt

    with monkeypatch.context() as patch:
        for name in ("link", "replace", "unlink", "fsync"):
            patch.setattr(os, name, mortal(getattr(os, name)))
        with suppress(Killed):
            yield lambda: bool(dead)


def folder_at_600(folder: Path) -> Path:
    """Kept: 200 (the best so far) and 400. Step 600 is saved and scored, but not yet kept."""
    for step, right in ((200, 50), (400, 30)):
        record_validation(folder, step, some_scores(right))
        take(folder, step, some_scores(right).miou, most=2)
    record_validation(folder, 600, some_scores(70))
    save_checkpoint(folder, 600)
    return folder


def keep_600(folder: Path) -> None:
    keep_checkpoint(folder / "last.safetensors", 600, some_scores(70).miou, 2)


@pytest.mark.fault("kill at each call of the system while a checkpoint is kept")
@pytest.mark.parametrize(
    "linking",
    [pytest.param(True, id="links"), pytest.param(False, marks=pytest.mark.all, id="copies")],
)
def test_kill_at_any_moment_leaves_whole_checkpoints(tmp_path, monkeypatch, linking: bool) -> None:
    if not linking:
        monkeypatch.setattr(os, "link", refuse)
    for number in count():
        folder = folder_at_600(tmp_path / str(number))
        with killed_at(number, monkeypatch) as was_killed:
            keep_600(folder)
        for path in folder.glob("*.safetensors"):
            load(path)
        assert best(folder) in ((200, some_scores(50).miou), (600, some_scores(70).miou))
        assert {200, 400} <= set(numbered(folder)) or {400, 600} <= set(numbered(folder))
        keep_600(folder)  # the run was resumed
        assert numbered(folder) == [400, 600] and best(folder)[0] == 600
        assert not list(folder.glob(".kept*"))
        if not was_killed():
            break
    assert number > 5


def test_kill_between_best_and_its_facts_loses_no_facts(tmp_path, monkeypatch) -> None:
    folder, replace = folder_at_600(tmp_path), os.replace

    def mortal(source: Path, target: Path) -> None:
        if Path(target).name == "best.json":
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", mortal)
        keep_600(folder)
    assert json.loads((folder / "best.json").read_text())["step"] == 200
    assert best(folder) == (600, some_scores(70).miou)
    take(folder, 800, some_scores(60).miou)  # better than 200, worse than 600
    assert read_header(folder / "best.safetensors").step == 600


def test_step_that_is_no_number_is_told_with_its_file(tmp_path: Path) -> None:
    append_line(tmp_path / HISTORY, {"step": "20", "loss": 1.0, "lr": 0.1})
    with pytest.raises(ValueError, match=f"{HISTORY} is damaged, .* lacks step, or"):
        forget_after(tmp_path, 40)
