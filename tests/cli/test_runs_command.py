"""Tables of training runs, and the command that prints them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from failing import failure
from PIL import Image
from some_runs import make_run, save_checkpoint, some_scores, start_line

from annlib.cli.runs import classes_table, flat, labels, runs_table, scores_table, settings_table
from annlib.course.runs import Run, read_run
from annlib.engine.runs import STARTS, write_lines


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


@pytest.fixture
def annlib(annlib):
    """Runs a command line in a folder with two runs.  -> what it printed"""
    make_run(Path("runs/a"), seed=1, head="fcn", right=70)
    make_run(Path("runs/b"), seed=2, step=60, hour=10)
    return lambda *words: annlib("runs", *words)


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("matplotlib", "seaborn") or name.startswith("annlib.course."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def colours(path: Path) -> int:
    """How many different ones a picture has: a blank one has one."""
    with Image.open(path) as image:
        return len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0))


def test_runs_are_listed_the_newest_last(annlib) -> None:
    header, rule, *rows = annlib().splitlines()
    assert [row.split()[1] for row in rows] == ["a", "b"]


def test_runs_of_another_folder_are_listed(annlib) -> None:
    make_run(Path("elsewhere/c"))
    rows = annlib("elsewhere").splitlines()[2:]
    assert [row.split()[1] for row in rows] == ["c"]


def test_damaged_run_is_listed_with_what_is_wrong(annlib) -> None:
    Path("runs/a/last.safetensors").write_bytes(b"\x40")
    printed = annlib()
    assert "unfinished, damaged" in printed
    assert "Damaged: runs/a/last.safetensors is damaged" in printed


def test_no_runs_are_told(annlib) -> None:
    Path("empty").mkdir()
    assert annlib("empty") == "No runs in empty yet. `annlib train` makes some.\n"
    assert "There is no folder nowhere" in failure(annlib, "nowhere")


@pytest.mark.parametrize("names", [("runs/a", "runs/b"), ("a", "b")])
def test_comparison_shows_settings_scores_classes_and_curves(annlib, names) -> None:
    printed = annlib("compare", *names, "--out", "both.png")
    for expected in ("| model.head ", "| newest scores ", "| IoU % ", "both.png: Learning curves."):
        assert expected in printed
    assert colours(Path("both.png")) > 10


def test_comparison_in_another_folder_finds_its_runs_there(annlib) -> None:
    make_run(Path("elsewhere/c"))
    assert "| newest scores " in annlib("elsewhere", "compare", "c", "runs/a")


def test_one_run_is_no_comparison(annlib) -> None:
    assert "Name two or more runs" in failure(annlib, "compare", "runs/a")


def test_folder_that_is_no_run_is_told(annlib) -> None:
    assert "There is no run in runs/c" in failure(annlib, "compare", "a", "c")
    Path("c").mkdir()
    assert "There is no run in c" in failure(annlib, "curve", "c")


def test_curve_is_drawn_into_the_folder_of_the_run(annlib) -> None:
    printed = annlib("curve", "runs/b")
    assert printed.startswith("runs/b/curve.png: Learning curve of b. From step 5 to 60 the loss")
    assert colours(Path("runs/b/curve.png")) > 10


def test_run_without_history_has_no_curve(annlib) -> None:
    Path("runs/a/history.jsonl").unlink()
    assert "runs/a has no curve yet" in failure(annlib, "curve", "a")
    assert not Path("runs/a/curve.png").exists()


def test_without_matplotlib_the_tables_stand_and_what_is_missing_is_told(
    annlib, no_matplotlib, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "| b " in annlib()
    message = failure(annlib, "compare", "a", "b")
    assert message.startswith("annlib: matplotlib is not installed, but needed here: pip install")
    assert "| IoU % " in capsys.readouterr().out
    assert "matplotlib is not installed" in failure(annlib, "curve", "a")


def test_runs_on_other_data_or_from_other_weights_differ(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in "ab"]
    for folder, files in zip(folders, ("c0ffee", "decade"), strict=True):
        (folder / "run.json").write_text(f'{{"files": "{files}", "init": null, "classes": null}}')
    shown = cells(settings_table([read_run(folder) for folder in folders]))
    assert shown == {"differs": ["a", "b"], "run.files": ["c0ffee", "decade"]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("experiment.json", '"iterations": 60', '"iterations": "60"'),
        ("experiment.json", '"name": "balloon_ann"', '"name": 3'),
        ("starts.jsonl", '"hardware": {', '"hardware": 3, "more": {'),
        ("validation.jsonl", '"step": 20', '"step": "20"'),
        ("validation.jsonl", '"iou": [', '"iou": 3, "more": ['),
        ("history.jsonl", '"step": 5,', '"step": "5",'),
        ("history.jsonl", '"step": 5,', '"step": 5, "step": 6,'),
        ("history.jsonl", '"loss": ', '"loss": NaN, "more": '),
        ("history.jsonl", '"lr": ', f'"lr": {10**400}, "more": '),
        ("validation.jsonl", '"miou": ', '"miou": "high", "more": '),
        ("validation.jsonl", '"iou": [', '"iou": ["high", '),
        ("starts.jsonl", '"started": ', '"started": 5, "more": '),
        ("starts.jsonl", '"started": ', '"started": {"a": 1}, "more": '),
    ],
)
def test_one_changed_file_leaves_the_list_of_the_others(annlib, file, old, new) -> None:
    for name in "ab":
        make_run(Path("runs", name))
    text = Path("runs/b", file).read_text()
    assert old in text
    Path("runs/b", file).write_text(text.replace(old, new))
    listed = annlib()
    assert f"Damaged: runs/b/{file}" in listed
    assert cells(listed)["a"][-1] == "unfinished" and cells(listed)["b"][-1].endswith("damaged")


@pytest.mark.parametrize("file", ["experiment.json", "starts.jsonl", "history.jsonl"])
@pytest.mark.parametrize("content", [b"[" * 100_000 + b"\n\n", bytes(range(256)), b"5\n\n", None])
def test_a_comparison_shows_the_tables_beside_a_damaged_file(
    annlib, file: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    annlib()
    path = Path("runs/b", file)
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    if file == "history.jsonl":
        told = failure(annlib, "compare", "a", "b")
        assert f"no curve yet: {path}" in told
        printed = capsys.readouterr().out
    else:
        printed = annlib("compare", "a", "b")
    assert f"Damaged: {path}" in printed and "| newest scores " in printed


@pytest.mark.parametrize("git", [None, "c0ffee", {}, {"dirty": 3}, []])
def test_a_start_whose_source_was_changed_is_compared(tmp_path: Path, git: object) -> None:
    folders = [make_run(tmp_path / name) for name in "ab"]
    write_lines(folders[1] / STARTS, [start_line("2026-11-23T09:00:00Z", git=git)])
    settings_table([read_run(folder) for folder in folders])


def test_a_run_behind_a_link_is_listed_once(annlib) -> None:
    make_run(Path("own/a"))
    make_run(Path("large disk/b"))
    Path("own/b").symlink_to(Path("large disk/b").resolve())
    Path("own/up").symlink_to(Path("own").resolve())
    assert {*cells(annlib("own"))} - {"run"} == {"a", "b"}
