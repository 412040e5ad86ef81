"""Kept checkpoints are whole, are the right ones, and stay so when the run is killed."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from math import nan
from pathlib import Path

import pytest
from some_runs import save_checkpoint, some_scores

from annlib.engine.runs import record_validation
from annlib.engine.trainer import best, keep, numbered
from annlib.model.checkpoint import load, read_header


def take(folder: Path, step: int, miou: float | None = None, most: int = 0) -> None:
    """What a training does at a checkpoint."""
    keep(folder, save_checkpoint(folder, step), step, miou, most)


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
    keep(tmp_path, tmp_path / "last.safetensors", 200, 0.5, 2)
    assert names(tmp_path) == before


def test_missing_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"last\.safetensors"):
        keep(tmp_path, tmp_path / "last.safetensors", 200, None, 1)


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
    keep(folder, folder / "last.safetensors", 600, some_scores(70).miou, 2)


@pytest.mark.parametrize("linking", [True, False], ids=["links", "copies"])
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
        assert numbered(folder) == [400, 600] and best(folder).step == 600
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
