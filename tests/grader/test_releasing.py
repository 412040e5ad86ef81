"""What students get: no solution, no hidden test, and points that grading gives."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
from in_process import ROOT, solutions

from annlib import __main__
from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3
from annlib.course.authoring import hidden_lines, read
from annlib.grader.judge import Assignment, Task
from annlib.grader.release import edition, release, source_of


def test_zip_holds_notebook_checks_and_words_only(tmp_path: Path) -> None:
    with zipfile.ZipFile(release(ROOT, A1, tmp_path)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) == {*("A1/A1.ipynb", "A1/not_yet.py", "A1/a1_checks.py", "A1/README.txt")}
    everything = "".join(texts.values())
    assert "masked by a zero score" in A1.misconceptions and "zero score" not in everything
    assert "Rubric" not in everything and "# solution" not in everything
    for cell in read(source_of(ROOT, A1)).with_role("answer").values():
        for line in hidden_lines(cell.text):
            assert len(line) < 25 or json.dumps(line)[1:-1] not in texts["A1/A1.ipynb"]


def test_release_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = (release(ROOT, A1, tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_points_that_the_text_does_not_promise_are_refused() -> None:
    short = A1._replace(tasks=A1.tasks[:2])
    with pytest.raises(ValueError, match="promises .6.0, 6.0, 3.0, 5.0. points"):
        edition(ROOT, short, "learner")


def test_every_task_asks_for_what_the_reference_defines() -> None:
    code = "\n".join(solutions(A1).values())
    assert all(isinstance(task, Task) and f" {task.name}" in code for task in A1.tasks)


def test_command_writes_the_zip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", f"annlib assign release A1 --out {tmp_path}".split())
    __main__.main()
    assert capsys.readouterr().out.strip() == str(tmp_path / "A1.zip")


@pytest.mark.parametrize("assignment", (A1, A2, A3), ids=lambda one: one.name)
def test_students_read_the_limits_that_grading_has(assignment: Assignment, tmp_path: Path) -> None:
    with zipfile.ZipFile(release(ROOT, assignment, tmp_path)) as archive:
        name = assignment.name
        texts = [
            archive.read(f"{name}/{file}").decode() for file in (f"{name}.ipynb", "README.txt")
        ]
    for text in texts:
        plain = " ".join(text.replace("\\n", " ").replace('", "', "").split())
        assert str(assignment.limits.call_seconds) in plain and "processor" in plain
        assert f"after {assignment.limits.cells_seconds}" in plain
