"""Points that a person gives for open questions: one sheet, filled in beside the answers.

Grading adds the students to the sheet and keeps all that is written in it.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from annlib.course.grading.assignment import Assignment
from annlib.course.grading.marking import Result
from annlib.course.grading.tables import page, safe_cell

SHEET = "by_hand.csv"
HEADS = ["student", "question", "points", "remark"]


class Given(NamedTuple):
    """What a person says of one answer; the student reads both."""

    points: float
    remark: str


Sheet = Mapping[tuple[str, str], Given]  # by student and question; answers not read are left out


def read_sheet(path: Path, assignment: Assignment, students: Collection[str]) -> dict:
    """What is filled in, {} if there is no sheet yet.  -> a Sheet

    Takes commas or semicolons, as spreadsheets of different countries save them. Raises ValueError
    for a line that would count wrongly, or for nobody.
    """
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8-sig")
    mark = ";" if ";" in text.partition("\n")[0] else ","
    names = {safe_cell(student): student for student in students}
    most = {question.name: question.points for question in assignment.questions}
    given = {}
    for number, line in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=mark), 1):
        if line == HEADS or not any(line):
            continue
        if len(line) != 4 or line[0] not in names or line[1] not in most:
            raise ValueError(
                f"{path}, line {number}: {mark.join(line)!r} is no answer of a student who handed "
                f"in, so points would be lost. Lines are {mark.join(HEADS)}, names as in "
                f"grades.csv; questions: {', '.join(most)}. Take out what is no longer needed."
            )
        student, question, points, remark = line
        if points.strip() or remark.strip():
            place = f"{path}, line {number}"
            given[names[student], question] = Given(
                points_in(points, most[question], place), remark
            )
    return given


def points_in(text: str, most: float, place: str) -> float:
    try:
        points = float(text.replace(",", "."))
    except ValueError:
        points = float("nan")
    if not 0 <= points <= most:
        raise ValueError(
            f"{place}: {text!r} is no number of points from 0 to {most:g}, and a remark alone "
            "gives none; write 1 or 1.5."
        )
    return points


def sheet_csv(assignment: Assignment, results: Sequence[Result], given: Sheet) -> str:
    """A line for each answer; those that were read keep their points and remarks."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(HEADS)
    for question in assignment.questions:
        for result in sorted(results):
            one = given.get((result.student, question.name))
            said = (f"{one.points:g}", one.remark) if one else ("", "")
            writer.writerow(map(safe_cell, (result.student, question.name, *said)))
    return "\ufeff" + file.getvalue()


def answers_page(assignment: Assignment, results: Sequence[Result]) -> str:
    """All answers to each question below one another, for the person who reads them."""
    parts = [f"<h1>{escape(assignment.name)}: answers to the open questions</h1>"]
    for question in assignment.questions:
        rubric = "".join(
            f"<li>{escape(criterion)}: {points:g}</li>"
            for criterion, points in question.rubric.items()
        )
        parts.append(f"<h2>{escape(question.title)} ({question.points:g})</h2><ul>{rubric}</ul>")
        for result in sorted(results):
            text = result.open_answers.get(question.name, "(no cell with the answer was found)")
            parts.append(f"<h3>{escape(result.student)}</h3><pre>{escape(text)}</pre>")
    return page(f"{assignment.name}, answers", "".join(parts))
