"""Marks code as a worker would, but in this process: for answers that are known to be harmless."""

from contextlib import nullcontext
from pathlib import Path

from annlib.course.authoring.source import read
from annlib.course.authoring.stubs import finished
from annlib.course.grading.assignment import Assignment
from annlib.course.grading.cells import run_cells
from annlib.course.grading.confine import Limits
from annlib.course.grading.frames import Message
from annlib.course.grading.marking import Mark, marks_of
from annlib.course.grading.questions import decoded, encoded
from annlib.course.grading.releasing import source_of
from annlib.course.grading.worker import described, put_questions

ROOT = Path(__file__).parents[2]


def solutions(assignment: Assignment) -> dict[str, str]:
    """{"weights": code}: the reference answers, from the one source of the assignment."""
    lesson = read(source_of(ROOT, assignment))
    return {name: finished(cell.text) for name, cell in lesson.with_role("answer").items()}


def marks_for(code: str, assignment: Assignment, seeds: tuple[int, ...] = (1, 2)) -> list[Mark]:
    names: dict[str, object] = {"__name__": "__main__"}
    failures = run_cells(assignment.prelude, [code], names, nullcontext, described)
    assert failures == [], "the code of a gallery must run"
    drawn = [(task, [task.checks(seed) for seed in seeds]) for task in assignment.tasks]
    calls = [c for _, sets in drawn for checks in sets for check in checks for c in check.calls]
    request, sent = encoded(calls), []
    put_questions(Message(request.facts, request.arrays), Limits(), names, sent.append)
    answers = iter([decoded(message) for message in sent])
    return [mark for task, sets in drawn for mark in marks_of(task, sets, answers)]


def lost(marks: list[Mark], task: str) -> dict[str, str]:
    """{check: misconception} of what a task has lost."""
    return {m.check: m.misconception for m in marks if m.task == task and m.misconception}
