"""annlib grade and its array job: shares are all that there is, words arrive as they should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tyro
from in_process import ROOT

from annlib import __main__
from annlib.commands.assignments import Grade, share_of
from annlib.course.grading import batch, sandbox

SCRIPT = ROOT / "data/cluster/grade.sbatch"


@pytest.mark.parametrize(("count", "shares"), [(10, 3), (2, 5), (1, 1)])
def test_shares_together_are_all_and_none_twice(count: int, shares: int) -> None:
    found = list(range(count))
    parts = [share_of(found, (number, shares), 7) for number in range(1, shares + 1)]
    assert sorted(one for part in parts for one in part) == found


@pytest.mark.parametrize(
    ("share", "seed"), [((0, 3), 7), ((4, 3), 7), ((1, 3), None)], ids=["0 of 3", "4 of 3", "seed"]
)
def test_a_share_that_would_lose_work_is_refused(share: tuple[int, int], seed: int | None) -> None:
    with pytest.raises(ValueError, match="--share"):
        share_of([1, 2, 3], share, seed)


def test_array_job_calls_the_command_with_its_share(tmp_path: Path) -> None:
    """A dry run: the script itself, with a scheduler's variables and a command that only tells."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/activate").write_text(f"PATH={tmp_path}/bin:$PATH\n")
    command = tmp_path / "bin/annlib"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    variables = {"VENV": str(tmp_path), "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "10"}
    done = subprocess.run(
        ("bash", str(SCRIPT), "A1", "my class", "42"),
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    given = tyro.cli(__main__.Command, args=done.stdout.splitlines(), config=__main__.CONFIG)
    assert isinstance(given, Grade)
    assert (given.share, given.seed, given.resume) == ((2, 10), 42, True)
    assert given.submissions == Path("my class")


def test_without_a_sandbox_the_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/anna.ipynb").write_text("{")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    words = ["annlib", "grade", "A1", str(tmp_path / "class"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="apt install bubblewrap"):
        __main__.main()


def test_unsafe_grading_is_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/anna.ipynb").write_text("{")  # nothing to run: no worker is needed
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    Grade("A1", tmp_path / "class", out=tmp_path / "out", unsafe=True).run()
    shown = capsys.readouterr()
    assert "NOT ISOLATED" in shown.err
    assert "damaged" in (tmp_path / "out/grades.csv").read_text(encoding="utf-8")
    assert batch.result_path(tmp_path / "out", "anna").exists()
