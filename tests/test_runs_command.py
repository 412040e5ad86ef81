"""annlib runs: a table, a comparison and curves, with or without matplotlib."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from some_runs import make_run

from annlib import __main__


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command line in a folder with two runs.  -> what it printed"""
    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/a"), seed=1, head="fcn", right=70)
    make_run(Path("runs/b"), seed=2, step=60, hour=10)

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["annlib", "runs", *map(str, words)])
        __main__.main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("matplotlib", "seaborn") or name.startswith("annlib.course."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def failure(run, *words: object) -> str:
    with pytest.raises(SystemExit) as stop:
        run(*words)
    return str(stop.value.code)


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
