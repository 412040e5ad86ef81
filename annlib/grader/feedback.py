"""The feedback page of one student: points and advice; no tests, no answers, no other students."""

from html import escape

from annlib.grader.answers import rendered
from annlib.grader.by_hand import Given, counts
from annlib.grader.gradebook import Gradebook, Total
from annlib.grader.judge import NOT_STARTED, Assignment, OpenQuestion, Result, shown
from annlib.grader.reports import page, table


def feedback(assignment: Assignment, result: Result, total: Total, book: Gradebook) -> str:
    """The page of one student; of the book, only what is about this one is shown."""
    student = result.student
    late = ""
    if total.days > 0:
        late = f" {total.days:g} days late: {100 * total.kept:g} % of all points are kept."
    if total.whole is not None:
        late += (
            f" In all, with what a person read: {total.whole:g} of {assignment.points:g} points."
        )
    out_of = sum(task.points for task in assignment.tasks)
    body = (
        f"<h1>{escape(assignment.name)}: {escape(assignment.title)}</h1><p>"
        f"{escape(book.name(student))}: {result.points:g} of {out_of:g} points by tests.{late}</p>"
    )
    title = f"{assignment.name}, {book.name(student)}"
    if result.problem:
        body += f"<p>Nothing could be graded. {escape(result.problem)}</p>"
    elif result.ended != "finished":
        body += f"<p>Your notebook was stopped: {escape(result.ended)}.</p>"

    def said(task: str) -> str:
        """What a person wrote about a task, and what it answers."""
        given, why = book.given.get((student, task)), book.requests.get((student, task))
        text = f"<p>You asked to look again: {escape(why)}</p>" if why else ""
        if given and given.remark and counts(given, result, task):
            text += f"<p><b>Remark</b>: {escape(given.remark)}</p>"
        return text

    for task in assignment.tasks:  # points of each check, then each misconception once
        marks = [mark for mark in result.marks if mark.task == task.name]
        points, most = total.parts[task.name], sum(m.out_of for m in marks)
        decided = task.name in total.decided
        if result.problem and not decided and not said(task.name):
            continue
        rows = [(m.check, f"{m.points:g} of {m.out_of:g}", m.misconception or "✓") for m in marks]
        slips = {m.misconception: m.explanation for m in marks if m.misconception}
        if set(slips) == {NOT_STARTED}:
            rows = [("all", f"0 of {most:g}", NOT_STARTED)]
        advice = "".join(f"<li><b>{escape(a)}</b>: {escape(b)}</li>" for a, b in slips.items())
        body += (
            f"<h2>{escape(task.title)} (<code>{escape(task.name)}</code>): "
            f"{points:g} of {most:g}{', decided by a person' if decided else ''}</h2>"
            f"{said(task.name)}{table(('what was looked at', 'points', 'found'), rows)}"
            + (f"<ul>{advice}</ul>" if advice else "")
        )
    if result.failures:  # by number and class of error: messages could hold what was asked
        rows = [(failure["cell"], shown(failure["type"])) for failure in result.failures]
        body += (
            "<h2>Cells that failed</h2><p>Your notebook was run from top to bottom, in a fresh "
            "Python; at most ten cells are listed. Restart your kernel and run all cells to see "
            f"the same.</p>{table(('code cell', 'error'), rows)}"
        )
    for question in assignment.questions:
        given = book.given.get((student, question.name))
        if given and not counts(given, result, question.name):
            given = None
        text = result.open_answers.get(question.name, "(no cell with the answer was found)")
        read = total.parts[question.name]
        points = (
            f"{question.points:g} points" if read is None else f"{read:g} of {question.points:g}"
        )
        body += (
            f"<h2>{escape(question.title)}: {points}, read by a person</h2>{said(question.name)}"
            f"{criteria(question, given)}<article>{rendered(text, result.images)}</article>"
        )
    return page(title, body)


def criteria(question: OpenQuestion, given: Given | None) -> str:
    """The rubric, with the points of each criterion if a person gave them one by one."""
    each = given.parts if given and given.parts else ["-"] * len(question.rubric)
    rows = [
        (text, n if isinstance(n, str) else f"{n:g}", f"{most:g}")
        for (text, most), n in zip(question.rubric.items(), each, strict=True)
    ]
    return table(("criterion", "points", "of"), rows)
