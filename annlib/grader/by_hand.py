"""Points that a person gives for open questions: one sheet, beside the answers.

Grading adds the students to the sheet and keeps all that is written in it.
"""

import csv
import hashlib
import io
import re
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from annlib.course.assignments.base import Assignment
from annlib.grader.marking import Result
from annlib.grader.reports import page, safe_cell

SHEET = "by_hand.csv"
HEADS = ["student", "question", "points", "remark", "answer", "note"]
FILLED_IN = 4  # cells of a line; the others are written here
PRINT = re.compile(r"x[0-9a-f]{8}|")  # digits alone would be a number to a spreadsheet
CHANGED = (
    "The answer has changed since. Read it again, then empty the cell to the left of this one."
)


class Given(NamedTuple):
    """What a person says of one answer; the student reads points and remark.

    answer: fingerprint of what was read, "" if it is what is there now.
    """

    points: float
    remark: str
    answer: str = ""


Sheet = Mapping[tuple[str, str], Given]  # by student and question; answers not read are left out


def fingerprint(result: Result, question: str) -> str:
    """Tells one answer from another."""
    text = result.open_answers.get(question, "")
    return f"x{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read_sheet(path: Path, assignment: Assignment, students: Collection[str]) -> dict:
    """What is filled in, {} if there is no sheet yet.  -> a Sheet

    Takes commas or semicolons, as spreadsheets of different countries save them. Raises ValueError
    for a line that would count wrongly, or for nobody.
    """
    if not path.exists():
        return {}
    text = text_of(path)
    mark = ";" if ";" in text.partition("\n")[0] else ","
    most = {question.name: question.points for question in assignment.questions}
    given = {}
    for number, line in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=mark), 1):
        if line[:FILLED_IN] == HEADS[:FILLED_IN] or not any(line):
            continue
        found = [student for student in students if safe_cell(student) == line[0]]
        whole = FILLED_IN <= len(line) <= len(HEADS) and PRINT.fullmatch("".join(line[4:5]))
        if not whole or len(found) != 1 or line[1] not in most:
            raise ValueError(
                f"{path}, line {number}: {mark.join(line)!r} is no answer of one student who "
                f"handed in, so points would be lost. Lines are {mark.join(HEADS)}, names as in "
                f"grades.csv; questions: {', '.join(most)}. Take out what is no longer needed."
            )
        _, question, points, remark = line[:FILLED_IN]
        if points.strip() or remark.strip():
            number_of = points_in(points, most[question], f"{path}, line {number}")
            given[found[0], question] = Given(number_of, remark, "".join(line[4:5]))
    return given


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no UTF-8, so names would be read wrongly: save it again as CSV UTF-8."
        ) from error


def counts(one: Given, result: Result, question: str) -> bool:
    """Whether points are for the answer that is there now."""
    return one.answer in ("", fingerprint(result, question))


def standing(given: Sheet, results: Sequence[Result]) -> dict:
    """What still counts: the points for answers that are as they were read.  -> a Sheet"""
    by_student = {result.student: result for result in results}
    return {
        (student, question): one
        for (student, question), one in given.items()
        if student in by_student and counts(one, by_student[student], question)
    }


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
            now = fingerprint(result, question.name)
            said = (f"{one.points:g}", one.remark, one.answer or now) if one else ("", "", "")
            note = "" if one is None or counts(one, result, question.name) else CHANGED
            writer.writerow(map(safe_cell, (result.student, question.name, *said, note)))
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
            note = f"<p>{escape(result.note)}</p>" if result.note else ""
            parts.append(f"<h3>{escape(result.student)}</h3>{note}<pre>{escape(text)}</pre>")
    return page(f"{assignment.name}, answers", "".join(parts))
