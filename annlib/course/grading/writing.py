"""Writes what comes out of grading: one table, one report, and a page for each student."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from annlib.course.grading.assignment import Assignment
from annlib.course.grading.batch import keep, result_path
from annlib.course.grading.by_hand import SHEET, Sheet, answers_page, sheet_csv, standing
from annlib.course.grading.feedback import feedback
from annlib.course.grading.marking import Result
from annlib.course.grading.tables import class_report, grades_csv


def page_name(out: Path, student: str) -> str:
    """A file name that any system takes: letters of the name, and what tells it apart."""
    letters = "".join(c if c.isalnum() and c.isascii() else "_" for c in student)[:40]
    return f"{letters}-{result_path(out, student).stem[:8]}.html"


def write_all(
    assignment: Assignment,
    results: Sequence[Result],
    changed: Sequence[str],
    days: Mapping[str, float],
    given: Sheet,
    out: Path,
) -> list[Path]:
    """Returns the files that a teacher opens first.

    given: all that a person has filled in, also for answers that have changed since.
    """
    counting = standing(given, results)
    changed = [
        *changed,
        *(
            f"{s}: {q} has changed since it was read"
            for s, q in sorted(given)
            if (s, q) not in counting
        ),
    ]
    table, report, changes = out / "grades.csv", out / "report.html", out / "changes.txt"
    sheet, answers = out / SHEET, out / "answers.html"
    by_hand = {answer: one.points for answer, one in counting.items()}
    keep(table, grades_csv(assignment, results, days, by_hand))
    keep(sheet, sheet_csv(assignment, results, given))
    keep(answers, answers_page(assignment, results))
    keep(report, class_report(assignment, results))
    keep(changes, "".join(f"{line}\n" for line in changed))
    for result in results:
        told = feedback(assignment, result, counting, days.get(result.student, 0))
        keep(out / "feedback" / page_name(out, result.student), told)
    unread = len(counting) < len(results) * len(assignment.questions)
    return [table, report, *([changes] if changed else []), *([answers, sheet] if unread else [])]
