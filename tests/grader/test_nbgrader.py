"""The export for nbgrader: its own program makes the student version, and grades with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from in_process import ROOT

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3
from annlib.grader.intake import parsed
from annlib.grader.judge import Assignment
from annlib.grader.release import export, source_notebook

MADE = Path(sys.prefix, "nbgrader/bin/nbgrader")  # by make test
NBGRADER = os.environ.get("NBGRADER") or shutil.which("nbgrader") or shutil.which(MADE)


def known() -> dict[str, dict]:
    notebook = nbformat.reads(source_notebook(ROOT, A1), as_version=4)
    cells = [cell.metadata.get("nbgrader") for cell in notebook.cells]
    return {cell["grade_id"]: cell for cell in cells if cell}


@pytest.mark.parametrize("assignment", (A1, A2, A3), ids=lambda one: one.name)
def test_every_assignment_is_exported_with_all_its_points(assignment: Assignment) -> None:
    notebook = nbformat.reads(source_notebook(ROOT, assignment), as_version=4)
    nbformat.validate(notebook)
    given = [cell.metadata.get("nbgrader", {}).get("points", 0) for cell in notebook.cells]
    assert sum(given) == assignment.points


def test_points_are_those_of_the_assignment() -> None:
    points = {name: cell["points"] for name, cell in known().items() if cell["grade"]}
    assert points == {
        "check-weights": 6,
        "check-block": 6,
        "check-operations": 3,
        "open-measured-ratio": 5,
    }


def test_solutions_stand_between_the_markers() -> None:
    notebook = nbformat.reads(source_notebook(ROOT, A1), as_version=4)
    (block,) = (cell.source for cell in notebook.cells if "class NonlocalBlock" in cell.source)
    assert block.count("### BEGIN SOLUTION") == block.count("### END SOLUTION") == 2
    assert block.index("nn.init.zeros_") < block.index("### END") < block.index("def forward")
    compile(block, "cell", "exec")


def test_answers_handed_in_through_nbgrader_are_found() -> None:
    notebook = json.loads(source_notebook(ROOT, A1))
    for cell in notebook["cells"]:
        cell["metadata"].pop("tags", None)
    assert parsed(json.dumps(notebook).encode(), "A1.ipynb", A1)[1] == {
        "measured-ratio": "*Your answer*"
    }


API = """
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

api = NbGraderAPI(config=Config({"CourseDirectory": {"course_id": "x"}}))
def done(result):
    assert result["success"], result
"""
MAKE = "done(api.generate_assignment('A1'))"
GRADE = """
for student in ("right", "blank"):
    done(api.autograde("A1", student))
with api.gradebook as book:
    for found in book.assignment_submissions("A1"):
        print(found.student.id, found.score, found.max_score)
"""


@pytest.mark.slow
def test_nbgrader_makes_the_student_version_and_grades_it(tmp_path: Path) -> None:
    if not NBGRADER:  # on a CI machine that is a failure, like a missing browser
        missing = "nbgrader is not installed, and NBGRADER names none: run make test"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)

    def nbgrader(code: str) -> str:
        command = (Path(NBGRADER).resolve().with_name("python"), "-c", API + code)
        done = subprocess.run(
            command, cwd=tmp_path, env=found, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    found = os.environ | {
        "PATH": f"{Path(NBGRADER).parent}:{os.environ['PATH']}"
    }  # it calls alembic
    source = export(ROOT, A1, tmp_path / "source")
    nbgrader(MAKE)
    student = (tmp_path / "release/A1/A1.ipynb").read_text(encoding="utf-8")
    assert "raise NotImplementedError" in student and "valid[:, None]" not in student
    for name, folder in {"right": source, "blank": tmp_path / "release/A1"}.items():
        shutil.copytree(folder, tmp_path / f"submitted/{name}/A1")
    rows = map(str.split, nbgrader(GRADE).splitlines())
    points = {name: (float(score), float(most)) for name, score, most in rows}
    assert points == {"right": (15, A1.points), "blank": (0, A1.points)}
