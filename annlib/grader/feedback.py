"""The feedback page of one student: points and advice; no tests, no answers, no other students."""

from collections.abc import Sequence
from html import escape

from annlib.course.assignments.base import NOT_STARTED, Assignment, OpenQuestion, shown
from annlib.grader.by_hand import Given, Sheet
from annlib.grader.marking import Mark, Result
from annlib.grader.reports import page, share_kept, table


def of_task(name: str, title: str, marks: Sequence[Mark]) -> str:
    """Points of each check, then each misconception once."""
    points, out_of = sum(m.points for m in marks), sum(m.out_of for m in marks)
    rows = [(m.check, f"{m.points:g} of {m.out_of:g}", m.misconception or "right") for m in marks]
    slips = {m.misconception: m.explanation for m in marks if m.misconception}
    if set(slips) == {NOT_STARTED.name}:
        rows = [("all", f"0 of {out_of:g}", NOT_STARTED.name)]
    told = "".join(
        f"<li><b>{escape(slip)}</b>: {escape(text)}</li>" for slip, text in slips.items()
    )
    return (
        f"<h2>{escape(title)} (<code>{escape(name)}</code>): {points:g} of {out_of:g}</h2>"
        f"{table(('what was looked at', 'points', 'found'), rows)}<ul>{told}</ul>"
    )


def of_cells(result: Result) -> str:
    """Which cells failed, by number and class of error: messages could hold what was asked."""
    if not result.failures:
        return ""
    rows = [(failure["cell"], shown(failure["type"])) for failure in result.failures[:20]]
    return (
        "<h2>Cells that failed</h2><p>Your notebook was run from top to bottom, in a fresh Python. "
        "Restart your kernel and run all cells to see the same.</p>"
        f"{table(('code cell', 'error'), rows)}"
    )


def of_question(question: OpenQuestion, result: Result, given: Given | None) -> str:
    text = result.open_answers.get(question.name, "(no cell with the answer was found)")
    points = f"{given.points:g} of {question.points:g}" if given else f"{question.points:g} points"
    remark = f"<p>{escape(given.remark)}</p>" if given and given.remark else ""
    return (
        f"<h2>{escape(question.title)}: {points}, read by a person</h2>{remark}"
        f"<p>Looked at: {escape('; '.join(question.rubric))}.</p><pre>{escape(text)}</pre>"
    )


def of_all(assignment: Assignment, result: Result, days: float) -> str:
    """What tests gave in all, and what lateness left of it."""
    out_of = sum(task.points for task in assignment.tasks)
    kept = share_kept(days)
    late = f" {days:g} days late: {100 * kept:g} % of all points are kept." if days > 0 else ""
    return (
        f"<h1>{escape(assignment.name)}: {escape(assignment.title)}</h1><p>"
        f"{escape(result.student)}: {result.points:g} of {out_of:g} points by tests.{late}</p>"
    )


def feedback(assignment: Assignment, result: Result, given: Sheet, days: float = 0) -> str:
    """The page of one student; of what is given, only this student's is told.  days: late"""
    head = of_all(assignment, result, days)
    if result.problem:
        body = f"<p>Nothing could be graded. {escape(result.problem)}</p>"
        return page(f"{assignment.name}, {result.student}", head + body)
    if result.ended != "finished":
        head += f"<p>Your notebook was stopped: {escape(result.ended)}.</p>"
    tasks = "".join(
        of_task(task.name, task.title, [m for m in result.marks if m.task == task.name])
        for task in assignment.tasks
    )
    questions = "".join(
        of_question(one, result, given.get((result.student, one.name)))
        for one in assignment.questions
    )
    return page(f"{assignment.name}, {result.student}", head + tasks + of_cells(result) + questions)
