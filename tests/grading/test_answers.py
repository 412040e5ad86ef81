"""Each wrong answer loses the points of the checks that name it, and no others; right ones none."""

import a1_answers
import a2_answers
import pytest
from in_process import ROOT, lost, marks_for, solutions
from known import Gallery, Wrong, mistaken

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.grading.assignment import Assignment
from annlib.course.grading.assignments import ASSIGNMENTS
from annlib.course.grading.intake import parsed
from annlib.course.grading.questions import NOT_STARTED
from annlib.course.grading.releasing import edition, public_checks

KNOWN = ((A1, a1_answers.GALLERIES), (A2, a2_answers.GALLERIES))
REFERENCES = {assignment.name: solutions(assignment) for assignment, _ in KNOWN}
ALL = [
    pytest.param(assignment, gallery, id=f"{assignment.name}-{gallery.task}")
    for assignment, galleries in KNOWN
    for gallery in galleries
]
RIGHT = [
    pytest.param(assignment, gallery.task, code, id=f"{assignment.name}-{gallery.task}-{name}")
    for assignment, galleries in KNOWN
    for gallery in galleries
    for name, code in gallery.right.items()
]
WRONG = [
    pytest.param(assignment, gallery, wrong, id=f"{assignment.name}-{gallery.task}-{name}")
    for assignment, galleries in KNOWN
    for gallery in galleries
    for name, wrong in gallery.wrong.items()
]
EACH = pytest.mark.parametrize("assignment", [one for one, _ in KNOWN], ids=lambda one: one.name)


def whole(assignment: Assignment) -> str:
    return "\n".join(REFERENCES[assignment.name].values())


def test_every_assignment_has_its_galleries() -> None:
    assert [one for one, _ in KNOWN] == list(ASSIGNMENTS.values())
    for assignment, galleries in KNOWN:
        assert [one.task for one in galleries] == [task.name for task in assignment.tasks]


@EACH
def test_reference_gets_full_marks(assignment: Assignment) -> None:
    marks = marks_for(whole(assignment), assignment)
    assert sum(mark.points for mark in marks) == sum(task.points for task in assignment.tasks) == 15


@pytest.mark.parametrize(("assignment", "task", "code"), RIGHT)
def test_answer_written_differently_gets_full_marks(
    assignment: Assignment, task: str, code: str
) -> None:
    assert lost(marks_for(f"{whole(assignment)}\n{code}", assignment), task) == {}


@pytest.mark.parametrize(("assignment", "gallery", "wrong"), WRONG)
def test_wrong_answer_loses_the_checks_that_name_it(
    assignment: Assignment, gallery: Gallery, wrong: Wrong
) -> None:
    code = mistaken(REFERENCES[assignment.name], gallery.cell, wrong)
    marks = marks_for(code, assignment)
    found = lost(marks, gallery.task)
    checks = {mark.check: mark.out_of for mark in marks if mark.task == gallery.task}
    kept = sum(mark.points for mark in marks if mark.task == gallery.task)
    assert found == wrong.loses
    assert kept == sum(points for check, points in checks.items() if check not in found)


@pytest.mark.parametrize(("assignment", "gallery"), ALL)
def test_galleries_are_large_enough(assignment: Assignment, gallery: Gallery) -> None:
    assert len(gallery.wrong) >= 8
    assert len(gallery.right) >= 3


@EACH
def test_blank_notebook_has_not_started(assignment: Assignment) -> None:
    blank = edition(ROOT, assignment, "learner").encode()
    cells, _ = parsed(blank, f"{assignment.name}.ipynb")
    code = "\n".join(cell for cell in cells if "checks" not in cell)
    marks = marks_for(code, assignment)
    assert {mark.misconception for mark in marks} == {NOT_STARTED.name}
    assert sum(mark.points for mark in marks) == 0


@EACH
@pytest.mark.parametrize("seed", range(3, 9))
def test_marks_do_not_depend_on_the_numbers_drawn(assignment: Assignment, seed: int) -> None:
    marks = marks_for(whole(assignment), assignment, seeds=(seed, seed + 100))
    assert sum(mark.points for mark in marks) == 15


@EACH
def test_public_checks_accept_the_reference_and_import_nothing_of_annlib(
    assignment: Assignment, capsys: pytest.CaptureFixture[str]
) -> None:
    checks: dict[str, object] = {}
    exec(compile(public_checks(assignment), assignment.public, "exec"), checks)
    solution: dict[str, object] = {"checks": type("checks", (), {})}
    exec(assignment.prelude + whole(assignment), solution)
    lines = edition(ROOT, assignment, "learner")
    for task in assignment.tasks:
        called = lines.split(f"({task.name})")[0].rpartition("checks.")[2]
        checks[called](solution[task.name])
    assert capsys.readouterr().out.count("Right") == len(assignment.tasks)
    assert "annlib" not in public_checks(assignment)
