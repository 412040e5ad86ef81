"""The feedback page of one student: points and advice; no tests, no answers, no other students."""

from html import escape

from annlib.grader.by_hand import Sheet
from annlib.grader.judge import NOT_STARTED, Assignment, Result, shown
from annlib.grader.reports import page, share_kept, table


def feedback(assignment: Assignment, result: Result, given: Sheet, days: float = 0) -> str:
    """The page of one student; of what is given, only this student's is shown.  days: late"""
    out_of, kept = sum(task.points for task in assignment.tasks), share_kept(days)
    read = [given.get((result.student, question.name)) for question in assignment.questions]
    late = f" {days:g} days late: {100 * kept:g} % of all points are kept." if days > 0 else ""
    if None not in read:
        total = (result.points + sum(one.points for one in read)) * kept
        late += f" In all, with what a person read: {total:g} of {assignment.points:g} points."
    body = (
        f"<h1>{escape(assignment.name)}: {escape(assignment.title)}</h1><p>"
        f"{escape(result.student)}: {result.points:g} of {out_of:g} points by tests.{late}</p>"
    )
    title = f"{assignment.name}, {result.student}"
    if result.problem:
        body += f"<p>Nothing could be graded. {escape(result.problem)}</p>"
        return page(title, body)
    if result.ended != "finished":
        body += f"<p>Your notebook was stopped: {escape(result.ended)}.</p>"
    for task in assignment.tasks:  # points of each check, then each misconception once
        marks = [mark for mark in result.marks if mark.task == task.name]
        points, most = sum(m.points for m in marks), sum(m.out_of for m in marks)
        rows = [(m.check, f"{m.points:g} of {m.out_of:g}", m.misconception or "✓") for m in marks]
        slips = {m.misconception: m.explanation for m in marks if m.misconception}
        if set(slips) == {NOT_STARTED}:
            rows = [("all", f"0 of {most:g}", NOT_STARTED)]
        advice = "".join(f"<li><b>{escape(a)}</b>: {escape(b)}</li>" for a, b in slips.items())
        body += (
            f"<h2>{escape(task.title)} (<code>{escape(task.name)}</code>): "
            f"{points:g} of {most:g}</h2>"
            f"{table(('what was looked at', 'points', 'found'), rows)}<ul>{advice}</ul>"
        )
    if result.failures:  # by number and class of error: messages could hold what was asked
        rows = [(failure["cell"], shown(failure["type"])) for failure in result.failures]
        body += (
            "<h2>Cells that failed</h2><p>Your notebook was run from top to bottom, in a fresh "
            "Python; at most ten cells are listed. Restart your kernel and run all cells to see "
            f"the same.</p>{table(('code cell', 'error'), rows)}"
        )
    for question, one in zip(assignment.questions, read, strict=True):
        text = result.open_answers.get(question.name, "(no cell with the answer was found)")
        points = f"{one.points:g} of {question.points:g}" if one else f"{question.points:g} points"
        remark = f"<p>{escape(one.remark)}</p>" if one and one.remark else ""
        body += (
            f"<h2>{escape(question.title)}: {points}, read by a person</h2>{remark}"
            f"<p>Looked at: {escape('; '.join(question.rubric))}.</p><pre>{escape(text)}</pre>"
        )
    return page(title, body)
