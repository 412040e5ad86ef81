"""Points and remarks that a person gives, for open questions and for any other task: one sheet.

Grading adds lines to the sheet and keeps what is written in it, character by character.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from annlib.grader.judge import Assignment, Result
from annlib.grader.roster import Find, read_tasks
from annlib.grader.tables import csv_text, safe_cell

SHEET = "by_hand.csv"
HEADS = ["student", "task", "points", "remark", "answer", "note"]
FILLED_IN = 4  # cells of a line; the others are written here
PRINT = re.compile(r"x[0-9a-f]{32}|")  # digits alone would be a number to a spreadsheet
TEMPLATE = "*Your answer*"
CHANGED = "The answer has changed since. Read it again, then empty the cell to the left of this."


class Given(NamedTuple):
    """What a person wrote about one task; the student reads points and remark.
    points: None for a remark alone. cells: of the line, as they were written. answer: fingerprint
    of what was read, "" if it is what is there now. parts: points of each criterion, if given."""

    points: float | None
    remark: str
    answer: str = ""
    parts: tuple[float, ...] = ()
    cells: tuple[str, ...] = ()


Sheet = Mapping[tuple[str, str], Given]  # by student and task; lines without text are left out


def fingerprint(result: Result, task: str) -> str:
    """Of one answer, or of what tests found in a task: another one has another."""
    text = result.open_answers.get(task, "")
    found = [(m.check, m.points > 0, m.misconception) for m in result.marks if m.task == task]
    text = repr(found) if found else text
    return f"x{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def read_sheet(path: Path, assignment: Assignment, find: Find) -> tuple[str, Sheet]:
    """The separator, and what is filled in; {} if there is no sheet yet.
    Takes commas or semicolons, as spreadsheets of different countries save them. Raises ValueError
    for a line that would count for somebody else, or for nobody."""
    mark, lines = read_tasks(path, find, assignment)
    most = {part.name: part.points for part in (*assignment.tasks, *assignment.questions)}
    rubrics = {question.name: len(question.rubric) for question in assignment.questions}
    given: dict[tuple[str, str], Given] = {}
    for (student, task), line in lines.items():
        cells = (*line.cells, *[""] * (FILLED_IN - len(line.cells)))
        *_, points, remark, answer = (*cells, "")[: FILLED_IN + 1]
        if len(line.cells) < 3 or any(cells[len(HEADS) :]) or not PRINT.fullmatch(answer):
            raise ValueError(
                f"{line.place}: {mark.join(cells)!r} has too few or too many cells, so points "
                f"would be lost. Lines are {mark.join(HEADS)}; put a remark with {mark} in quotes."
            )
        if not points.strip() and not remark.strip():
            continue
        try:
            written = points.split("+") if points.strip() else []
            parts = [float(one.replace(",", ".")) for one in written]
        except ValueError:
            parts = [float("nan")]
        many = len(parts) > 1 and len(parts) != rubrics.get(task)
        if many or not 0 <= sum(parts) <= most[task] or any(part < 0 for part in parts):
            raise ValueError(
                f"{line.place}: {points!r} is not a number of points from 0 to {most[task]:g}; "
                "write 1 or 1.5, or for an open question a number for each criterion, like 1+0.5+2."
            )
        value = sum(parts) if parts else None
        each = tuple(parts) if len(parts) > 1 else ()
        given[student, task] = Given(value, remark, answer, each, cells[:FILLED_IN])
    return mark, given


def counts(one: Given, result: Result, task: str) -> bool:
    """Whether points are for the answer that is there now."""
    return one.answer in ("", fingerprint(result, task))


def sheet_csv(
    assignment: Assignment,
    results: Sequence[Result],
    given: Sheet,
    requests: Mapping[tuple[str, str], str],
    cell_of: Callable[[str], str],
    mark: str = ",",
) -> str:
    """A line for each open question, each task with a request, and all that is filled in."""
    by_student = {result.student: result for result in results}
    questions = [question.name for question in assignment.questions]
    asked = [(student, name) for name in questions for student in sorted(by_student, key=cell_of)]
    rows: list[Sequence[str]] = [HEADS]
    for student, task in dict.fromkeys((*asked, *sorted(requests), *given)):
        result, one = by_student.get(student), given.get((student, task))
        cells = one.cells if one else (cell_of(student), task, "", "")
        now = fingerprint(result, task) if result else ""
        why = requests.get((student, task))
        notes = [] if why is None else [f"Asked to look again: {why}"]
        if one and result and not counts(one, result, task):
            notes.append(CHANGED)
        if result and result.open_answers.get(task) == TEMPLATE:
            notes.append("The template is unchanged.")
        rows.append((*cells, (one.answer or now) if one else "", safe_cell(" ".join(notes))))
    return csv_text(rows, mark)
