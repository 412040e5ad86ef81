"""Grades and feedback in the forms that Moodle and Canvas import."""

import io
import zipfile
from collections.abc import Mapping

from annlib.grader.gradebook import Gradebook, Total
from annlib.grader.judge import Assignment
from annlib.grader.reports import number
from annlib.grader.roster import Student, plain
from annlib.grader.tables import csv_text, safe_cell

# Headings of Moodle's grading worksheet, English and German; it finds students by the first.
WORKSHEET = ("Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)")
GRADE = ("grade", "bewertung")
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")


def moodle_csv(assignment: Assignment, totals: Mapping[str, Total], book: Gradebook) -> str:
    """The grading worksheet with the sums that are whole, in the columns that the roster has."""
    students = [*book.roster.values()]
    head = next((one for one in (students[0].row if students else ()) if plain(one) in GRADE), None)

    def line(one: Student) -> dict[str, str]:
        grade = number(totals[one.id].whole) if one.id in totals else ""
        if head:
            return {**one.row, head: grade or one.row[head]}
        cells = (f"Participant {one.id}", one.name, grade, f"{assignment.points:g}", "-")
        return dict(zip(WORKSHEET, cells, strict=True))

    rows = [line(one) for one in students]
    heads = list(rows[0]) if rows else list(WORKSHEET)
    return csv_text([heads, *([*map(safe_cell, row.values())] for row in rows)])


def canvas_csv(assignment: Assignment, totals: Mapping[str, Total], book: Gradebook) -> str:
    """What Canvas' gradebook imports: the sums that are whole, in a column of the roster's name."""
    students = [*book.roster.values()]
    known = [head for head in students[0].row if head.startswith(f"{assignment.name} (")]
    rows = [[*CANVAS, *(known[:1] or [assignment.name])]]
    rows.append(["    Points Possible", "", "", "", "", f"{assignment.points:g}"])
    for one in students:
        grade = number(totals[one.id].whole) if one.id in totals else ""
        cells = (one.name, one.id, one.number, one.row.get("SIS Login ID", ""), one.group, grade)
        rows.append([*map(safe_cell, cells)])
    return csv_text(rows)


def feedback_zip(pages: Mapping[str, str], book: Gradebook) -> bytes:
    """Pages by student, in folders named as Moodle wants: it splits names at underscores."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for student in book.roster.keys() & pages.keys():
            name = "".join(c if c not in '_/\\:*?"<>|' else " " for c in book.roster[student].name)
            folder = f"{name.strip('. ')}_{student}_assignsubmission_file_"
            archive.writestr(zipfile.ZipInfo(f"{folder}/feedback.html"), pages[student])
    return file.getvalue()
