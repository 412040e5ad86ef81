"""Assignment A1: each wrong answer loses the points of the checks that name it, and no others."""

import a1_answers as answers
import pytest
from a1_answers import BLOCK, COST, WEIGHTS, Wrong
from in_process import ROOT, lost, marks_for, solutions

from annlib.course.assignments.a1 import A1
from annlib.course.grading.questions import NOT_STARTED
from annlib.course.grading.releasing import edition, public_checks

REFERENCE = solutions(A1)
WHOLE = "\n".join(REFERENCE.values())
CELLS = {WEIGHTS: "weights", BLOCK: "block", COST: "operations"}
RIGHT = [
    pytest.param(task, code, id=f"{task}-{name}")
    for task, gallery in {
        WEIGHTS: answers.RIGHT_WEIGHTS,
        BLOCK: answers.RIGHT_BLOCK,
        COST: answers.RIGHT_COST,
    }.items()
    for name, code in gallery.items()
]
GALLERIES = {
    WEIGHTS: answers.WRONG_WEIGHTS,
    BLOCK: answers.WRONG_BLOCK,
    COST: answers.WRONG_COST,
}
WRONG = [
    pytest.param(task, wrong, id=f"{task}-{name}")
    for task, gallery in GALLERIES.items()
    for name, wrong in gallery.items()
]


def test_reference_gets_full_marks() -> None:
    marks = marks_for(WHOLE)
    assert sum(mark.points for mark in marks) == sum(task.points for task in A1.tasks) == 15


@pytest.mark.parametrize(("task", "code"), RIGHT)
def test_answer_written_differently_gets_full_marks(task: str, code: str) -> None:
    assert lost(marks_for(f"{WHOLE}\n{code}"), task) == {}


@pytest.mark.parametrize(("task", "wrong"), WRONG)
def test_wrong_answer_loses_the_checks_that_name_it(task: str, wrong: Wrong) -> None:
    before = REFERENCE[CELLS[task]]
    mistaken = before.replace(wrong.old, wrong.new)
    assert mistaken != before, "the reference has changed: mend the gallery"
    marks = marks_for(WHOLE.replace(before, mistaken))
    found = lost(marks, task)
    checks = {mark.check: mark.out_of for mark in marks if mark.task == task}
    kept = sum(mark.points for mark in marks if mark.task == task)
    assert found == wrong.loses
    assert kept == sum(points for check, points in checks.items() if check not in found)


@pytest.mark.parametrize("task", GALLERIES)
def test_galleries_are_large_enough(task: str) -> None:
    assert len(GALLERIES[task]) >= 8
    assert sum(param.values[0] == task for param in RIGHT) >= 3


def test_blank_notebook_has_not_started() -> None:
    from annlib.course.grading.intake import parsed

    cells, _ = parsed(edition(ROOT, A1, "learner").encode(), "A1.ipynb")
    code = "\n".join(cell for cell in cells if "checks" not in cell)
    marks = marks_for(code)
    assert {mark.misconception for mark in marks} == {NOT_STARTED.name}
    assert sum(mark.points for mark in marks) == 0


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_marks_do_not_depend_on_the_numbers_drawn(seed: int) -> None:
    assert sum(mark.points for mark in marks_for(WHOLE, seeds=(seed, seed + 100))) == 15


def test_public_checks_accept_the_reference_and_import_nothing_of_annlib() -> None:
    names: dict[str, object] = {}
    exec(compile(public_checks(A1), "a1_checks", "exec"), names)
    solution: dict[str, object] = {}
    exec(A1.prelude + WHOLE, solution)
    names["attention_weights"](solution["attention_weights"])
    names["nonlocal_block"](solution["NonlocalBlock"])
    names["block_operations"](solution["block_operations"])
    assert "annlib" not in public_checks(A1)
