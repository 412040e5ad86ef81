"""Writes what comes out of grading: one table, one report, and a page for each student."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from annlib.course.grading.assignment import Assignment
from annlib.course.grading.batch import keep, result_path
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
    out: Path,
) -> list[Path]:
    """Returns the files that a teacher opens first."""
    table, report, changes = out / "grades.csv", out / "report.html", out / "changes.txt"
    keep(table, grades_csv(assignment, results, days))
    keep(report, class_report(assignment, results))
    keep(changes, "".join(f"{line}\n" for line in changed))
    for result in results:
        keep(out / "feedback" / page_name(out, result.student), feedback(assignment, result))
    return [table, report, *([changes] if changed else [])]
