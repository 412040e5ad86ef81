"""An assignment of a teacher's own, outside of the package, is released and graded like ours."""

import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from in_process import AS_USER, ROOT

from annlib.cli.assignments import OWN, New, Release, named
from annlib.grader.release import load_own, make_own
from annlib.grader.sandbox import why_not

missing = why_not(AS_USER)


def test_the_skeleton_can_be_released_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    New("A4").run()
    assert "annlib grade A4 submissions/" in capsys.readouterr().out
    Release("A4", tmp_path).run()
    with zipfile.ZipFile(tmp_path / "A4.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {f"A4/{one}" for one in ("A4.ipynb", "not_yet.py", "a4_checks.py")} | {
        "A4/README.txt"
    }
    everything = "".join(texts.values())
    assert "features.mean((2, 3), keepdim=True)" not in everything and "Rubric" not in everything
    assert "A0" not in everything and "a0" not in everything


def test_the_skeleton_is_as_clean_as_our_own_code(tmp_path: Path) -> None:
    folder = make_own("A4", tmp_path)
    config = ("--config", str(ROOT / "pyproject.toml"), "--ignore", "I001", str(folder))
    done = subprocess.run([sys.executable, "-m", "ruff", "check", *config], capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"no sandbox here: {missing}")
def test_the_test_of_the_skeleton_passes(tmp_path: Path) -> None:
    """It grades the solution and two wrong answers in the sandbox."""
    test = runpy.run_path(str(make_own("A4", tmp_path) / "test_a4.py"))
    test["test_points_of_the_solution_and_of_wrong_answers"](tmp_path)


def test_what_is_not_an_assignment_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither A1, A2, A3 nor a folder.*annlib assign new"):
        named("A9")
    (tmp_path / "assignment.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="no ASSIGNMENT"):
        load_own(tmp_path, OWN)


@pytest.mark.parametrize("name", ["../A4", "4", "", "A 4", "Ä4"])
def test_a_name_that_no_module_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="letters and digits"):
        make_own(name, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    make_own("A4", tmp_path)
    with pytest.raises(ValueError, match="overwritten"):
        make_own("A4", tmp_path)
