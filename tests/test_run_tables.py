"""Tables of runs: every number is the run's own, and what cannot be compared is said."""

from pathlib import Path

import pytest
from some_runs import make_run, save_checkpoint, some_scores, start_line

from annlib.cli.runs import classes_table, flat, labels, runs_table, scores_table, settings_table
from annlib.engine.runs import STARTS, Run, read_run, write_lines


def cells(text: str) -> dict[str, list[str]]:
    """The first cell of each line -> the others."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line[:2] == "| "]
    rows = [[cell.strip() for cell in line] for line in lines]
    return {first: others for first, *others in rows}


@pytest.fixture
def two(tmp_path: Path) -> list[Run]:
    """Of another head, seed and length; the second finds 10 pixels more of 100."""
    first = make_run(tmp_path / "a", seed=1, head="fcn", right=70)
    second = make_run(tmp_path / "b", seed=2, step=60, right=80)
    return [read_run(first), read_run(second)]


def test_a_line_says_how_far_a_run_is_and_what_it_reached(tmp_path: Path, two: list[Run]) -> None:
    miou = f"{100 * some_scores(70).miou:.2f}"
    assert cells(runs_table(two, tmp_path))["a"] == [
        *("balloon_fcn", "1", "40/60", "1.250", miou, miou),
        *("2026-11-23 09:00", "0:01:15", "cpu, fp32", "unfinished"),
    ]


def test_a_run_without_records_has_dashes_and_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/experiment.json").touch()
    row = cells(runs_table([read_run(tmp_path / "a")], tmp_path))["a"]
    assert row == ["?", "-", "0/-", "-", "-", "-", "-", "-", "-", "unfinished, damaged"]


def test_only_settings_that_differ_are_shown(two: list[Run]) -> None:
    shown = cells(settings_table(two))
    assert shown.pop("differs") == ["a", "b"]
    assert shown == {
        "name": ["balloon_fcn", "balloon_ann"],
        "model.head": ["fcn", "ann"],
        "train.seed": ["1", "2"],
    }


def test_versions_hardware_and_source_belong_to_what_differs(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in "ab"]
    states = [{"commit": "c0ffee", "dirty": dirty, "diff": ["x"] * 99} for dirty in (True, False)]
    for folder, device, state in zip(folders, ("cpu", "cuda"), states, strict=True):
        line = start_line("2026-11-23T09:00:00Z", device=device, git=state)
        write_lines(folder / STARTS, [line])
    shown = cells(settings_table([read_run(folder) for folder in folders]))
    assert shown["device"] == ["cpu", "cuda"]
    assert shown["git.dirty"] == ["True", "False"]
    assert set(shown) == {"differs", "device", "hardware.gpus", "git.dirty"}


def test_runs_of_the_same_settings_are_said_to_be(tmp_path: Path) -> None:
    runs = [read_run(make_run(tmp_path / name)) for name in "ab"]
    assert settings_table(runs) == "The runs have the same settings, versions and hardware."


def test_scores_stand_side_by_side(two: list[Run]) -> None:
    shown = cells(scores_table(two))
    assert shown["newest scores"] == ["a", "b"]
    assert shown["steps"] == ["40/60", "60/60"]
    assert shown["scored after step"] == ["40", "60"]
    assert shown["pixel %"] == ["70.00", "80.00"]
    assert shown["mIoU %"] == [f"{100 * some_scores(right).miou:.2f}" for right in (70, 80)]


def test_classes_are_compared_in_points(two: list[Run]) -> None:
    shown = cells(classes_table(two))
    assert shown["IoU %"] == ["a", "b", "difference"]
    before, after = (100 * float(some_scores(right).iou[0]) for right in (70, 80))
    assert shown["sky"] == [f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"]
    assert shown["house"] == ["-", "-", "-"]


def test_three_runs_are_compared_with_the_first(tmp_path: Path, two: list[Run]) -> None:
    third = read_run(make_run(tmp_path / "c", right=60))
    shown = cells(classes_table([*two, third]))
    assert shown["IoU %"] == ["a", "b", "difference", "c", "difference"]
    assert float(shown["sky"][4]) < 0 < float(shown["sky"][2])


def test_runs_of_other_classes_are_not_compared_by_class(tmp_path: Path, two: list[Run]) -> None:
    save_checkpoint(two[1].folder, 60, classes={"class_names": list("abcde")})
    changed = read_run(two[1].folder)
    assert "do not name the same classes" in classes_table([two[0], changed])


def test_run_that_was_not_scored_is_named(two: list[Run]) -> None:
    (two[1].folder / "validation.jsonl").unlink()
    unscored = read_run(two[1].folder)
    assert classes_table([two[0], unscored]) == "No IoU of single classes yet: b."
    assert cells(scores_table([two[0], unscored]))["mIoU %"][1] == "-"


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / parent / "a") for parent in ("x", "y")]
    assert labels([read_run(folder) for folder in folders]) == [str(path) for path in folders]


def test_settings_are_flattened() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": []}, "e": None}) == {"a.b.c": 1, "a.d": [], "e": None}
