"""Points that a person gives for open questions: one sheet, next to a page with the answers.

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

from annlib.grader.judge import Assignment, Result
from annlib.grader.reports import csv_text, page, safe_cell

SHEET = "by_hand.csv"
HEADS = ["student", "question", "points", "remark", "answer", "note"]
FILLED_IN = 4  # cells of a line; the others are written here
PRINT = re.compile(r"x[0-9a-f]{32}|")  # digits alone would be a number to a spreadsheet
TEMPLATE = "*Your answer*"
CHANGED = (
    "The answer has changed since. Read it again, then empty the cell to the left of this one."
)


class Given(NamedTuple):
    """The points of a person for one answer; the student reads points and remark.

    answer: fingerprint of what was read, "" if it is what is there now.
    """

    points: float
    remark: str
    answer: str = ""


Sheet = Mapping[tuple[str, str], Given]  # by student and question; answers not read are left out


def fingerprint(result: Result, question: str) -> str:
    """Of one answer: another answer has another one."""
    text = result.open_answers.get(question, "")
    return f"x{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def read_sheet(path: Path, assignment: Assignment, students: Collection[str]) -> Sheet:
    """What is filled in, {} if there is no sheet yet.

    Takes commas or semicolons, as spreadsheets of different countries save them. Raises ValueError
    for a line that would count for somebody else, or for nobody.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8, so names would be damaged: save it again as CSV UTF-8."
        ) from error
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
                f"{path}, line {number}: {mark.join(line)!r} is not an answer of one student who "
                f"handed in, so points would be lost. Lines are {mark.join(HEADS)}, names as in "
                f"grades.csv; questions: {', '.join(most)}. Take out what is no longer needed."
            )
        _, question, points, remark = line[:FILLED_IN]
        if points.strip() or remark.strip():
            try:
                value = float(points.replace(",", "."))
            except ValueError:
                value = float("nan")
            if not 0 <= value <= most[question]:
                raise ValueError(
                    f"{path}, line {number}: {points!r} is not a number of points from 0 to "
                    f"{most[question]:g}, and a remark alone gives none; write 1 or 1.5."
                )
            given[found[0], question] = Given(value, remark, "".join(line[4:5]))
    return given


def counts(one: Given, result: Result, question: str) -> bool:
    """Whether points are for the answer that is there now."""
    return one.answer in ("", fingerprint(result, question))


def standing(given: Sheet, results: Sequence[Result]) -> Sheet:
    """What still counts: the points for answers that are as they were read."""
    by_student = {result.student: result for result in results}
    return {
        (student, question): one
        for (student, question), one in given.items()
        if student in by_student and counts(one, by_student[student], question)
    }


def sheet_csv(assignment: Assignment, results: Sequence[Result], given: Sheet) -> str:
    """A line for each answer; those that were read keep their points and remarks."""
    rows: list[Sequence[str]] = [HEADS]
    for question in assignment.questions:
        for result in sorted(results):
            one = given.get((result.student, question.name))
            now = fingerprint(result, question.name)
            filled = (f"{one.points:g}", one.remark, one.answer or now) if one else ("", "", "")
            note = "" if one is None or counts(one, result, question.name) else CHANGED
            if result.open_answers.get(question.name) == TEMPLATE:
                note = "The template is unchanged."
            rows.append((result.student, question.name, *filled, note))
    return csv_text(rows)


def answers_page(assignment: Assignment, results: Sequence[Result]) -> str:
    """All answers to each question below one another, for the person who reads them."""
    body = f"<h1>{escape(assignment.name)}: answers to the open questions</h1>"
    for question in assignment.questions:
        rubric = "".join(f"<li>{escape(c)}: {p:g}</li>" for c, p in question.rubric.items())
        body += f"<h2>{escape(question.title)} ({question.points:g})</h2><ul>{rubric}</ul>"
        for result in sorted(results):
            text = result.open_answers.get(question.name, "(no cell with the answer was found)")
            unchanged = "<p>The template is unchanged.</p>" if text == TEMPLATE else ""
            note = f"<p>{escape(result.note)}</p>" if result.note else ""
            body += f"<h3>{escape(result.student)}</h3>{note}{unchanged}<pre>{escape(text)}</pre>"
    return page(f"{assignment.name}, answers", body)
