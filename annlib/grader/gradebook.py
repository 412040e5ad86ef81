"""What a teacher decides, kept in the output folder, and the sum of points that follows from it."""

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple

from annlib.data.io import read_text
from annlib.grader.by_hand import SHEET, Sheet, counts, read_sheet
from annlib.grader.hidden_checks import Check
from annlib.grader.judge import Assignment, Files, Generator, Mark, Result, Task
from annlib.grader.roster import LatePolicy, Roster, finder, read_days, read_tasks
from annlib.model.checkpoint import write_atomically

FILES = ("roster.csv", "late.csv", "requests.csv", "points.toml")  # of the teacher's
SETTINGS = "settings.json"


class Gradebook(NamedTuple):
    """What is known besides the results. Each default is what nobody has said anything about.
    days: late, by student. given: all that is filled in by hand, also for answers that have
    changed. requests: (student, task) -> reason. unknown: what lists say of people not known.
    similar: lines on work that is nearly the same. mark: separator of the sheet. key: leads to the
    names of pages and to codes."""

    roster: Roster = {}
    days: Mapping[str, float] = {}
    late: LatePolicy = LatePolicy()
    given: Sheet = {}
    requests: Mapping[tuple[str, str], str] = {}
    anonymous: bool = False
    unknown: Sequence[str] = ()
    similar: Sequence[Sequence[object]] = ()
    mark: str = ","
    key: str = ""

    def name(self, student: str) -> str:
        """As people read it; with the id where two have the same."""
        if student not in self.roster:
            return student
        name = self.roster[student].name
        same = sum(one.name == name for one in self.roster.values())
        return name if same == 1 else f"{name} ({student})"

    def missing(self, results: Sequence[Result]) -> list[str]:
        """Who is on the roster and has not handed in."""
        return sorted(self.roster.keys() - {result.student for result in results})


class Total(NamedTuple):
    """Points of one student. parts: of tasks and questions, as they count; None: not read yet.
    decided: tasks whose points a person has given. kept: what lateness leaves, 0 to 1."""

    parts: Mapping[str, float | None]
    decided: tuple[str, ...]
    days: float
    kept: float

    @property
    def so_far(self) -> float:
        return self.kept * sum(points or 0 for points in self.parts.values())

    @property
    def whole(self) -> float | None:
        """The sum, once all is read."""
        return None if None in self.parts.values() else self.so_far


def total(assignment: Assignment, result: Result, book: Gradebook) -> Total:
    """Points of a person count instead of those of tests, unless they are for other work."""
    parts: dict[str, float | None] = {t.name: result.points_of(t.name) for t in assignment.tasks}
    parts |= dict.fromkeys(question.name for question in assignment.questions)
    decided = []
    for name in parts:
        one = book.given.get((result.student, name))
        if one and one.points is not None and counts(one, result, name):
            parts[name] = one.points
            decided.append(name)
    days = book.days.get(result.student, 0)
    return Total(parts, tuple(decided), days, book.late.kept(days))


def log_changes(totals: Mapping[str, Total], out: Path) -> bool:
    """Adds a line to changes.txt for each student whose points are others than the last time."""
    path, log, lines = out / "sums.json", out / "changes.txt", []
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for student, new in totals.items():
        old = Total(**before[student]) if student in before else new
        pairs = [(name, old.parts.get(name), points) for name, points in new.parts.items()]
        causes = [
            f"{n} {' -> '.join('unread' if one is None else f'{one:g}' for one in two)}"
            for n, *two in (*pairs, ("share kept, by lateness,", old.kept, new.kept))
            if two[0] != two[1]
        ]
        if causes:
            lines.append(f"{student}: {old.so_far:g} -> {new.so_far:g} ({'; '.join(causes)})\n")
    for student in sorted(before.keys() - totals.keys()):
        lines.append(f"{student}: {Total(**before[student]).so_far:g} -> nothing handed in\n")
    if lines:  # kept before the sums: after an interruption lines are there twice, never missing
        earlier = log.read_text(encoding="utf-8") if log.exists() else ""
        text = f"{earlier}{datetime.now():%Y-%m-%d %H:%M}\n{''.join(lines)}\n"
        write_atomically(log, text.encode())
    now = {student: one._asdict() for student, one in totals.items()}
    write_atomically(path, json.dumps(now, indent=1).encode())
    return bool(lines)


def read_points(path: Path, assignment: Assignment) -> tuple[Assignment, LatePolicy]:
    """The assignment with the points of a TOML file, and its rule for lateness.
    It has a table for each task (its checks, or `points` for all of them together), for each open
    question (its rubric), and `late`. Raises ValueError for anything else."""
    try:
        tables = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    checks = {t.name: {c.name: c.points for c in t.checks(0, {})} for t in assignment.tasks}
    known = {task: (*names, "points") for task, names in checks.items()}
    known |= {one.name: tables.get(one.name, ()) for one in assignment.questions}
    known["late"] = LatePolicy._fields
    for name, table in tables.items():
        entries = table if isinstance(table, dict) else {"(no table)": table}
        allowed = known.get(name, ()) if isinstance(table, dict) else ()
        right = [k for k, n in entries.items() if type(n) in (int, float) and 0 <= n < inf]
        wrong = [one for one in entries if one not in allowed or one not in right]
        if wrong:
            names = "; ".join(f"[{one}] {', '.join(some)}" for one, some in known.items())
            raise ValueError(
                f"{path}: [{name}] {', '.join(wrong)} is not a part of {assignment.name} with a "
                f"number of points from 0, so nobody would get it. There is: {names}."
            )

    def drawn(task: Task, generator: Generator, files: Files) -> list[Check]:
        table, old = tables[task.name], sum(checks[task.name].values())
        factor = table.get("points", old) / (old or 1)
        found = task.draw(generator, files)
        return [c._replace(points=table.get(c.name, factor * c.points)) for c in found]

    parts = [(one, partial(drawn, one)) for one in assignment.tasks]
    tasks = [one._replace(draw=draw) if one.name in tables else one for one, draw in parts]
    questions = [q._replace(rubric=tables.get(q.name, q.rubric)) for q in assignment.questions]
    late = LatePolicy(**tables.get("late", {}))
    return assignment._replace(tasks=tasks, questions=questions), late


def reweighted(results: Sequence[Result], assignment: Assignment) -> list[Result]:
    """The results with the points of this assignment: nothing has to run again."""
    most = {(t.name, c.name): c.points for t in assignment.tasks for c in t.checks(0, {})}

    def counted(one: Mark) -> Mark:
        out_of = most.get((one.task, one.check), one.out_of)
        return one._replace(points=one.points / (one.out_of or 1) * out_of, out_of=out_of)

    return [result._replace(marks=tuple(map(counted, result.marks))) for result in results]


def open_book(
    assignment: Assignment,
    students: Collection[str],
    roster: Roster,
    out: Path,
    lists: Sequence[Path],
    settings: Mapping[str, float | bool | None],
    key: str,
) -> tuple[Assignment, Gradebook]:
    """The assignment with the points, and the book, that the files in the output folder give.
    students: who has handed in. lists: where FILES are read. settings: of lateness, and
    "anonymous"; None: as before"""
    path, late = out / SETTINGS, LatePolicy()
    _, lateness, asked, points = lists
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known |= {name: value for name, value in settings.items() if value is not None}
    if points.exists():
        assignment, late = read_points(points, assignment)
    late = late._replace(**{n: v for n, v in known.items() if n in LatePolicy._fields})
    if min(late) < 0 or late.percent > 100:
        raise ValueError(
            f"{late.percent:g} % a day, {late.days:g} days and {late.grace:g} minutes: points "
            "could grow. Give 0 to 100 %, and days and minutes from 0."
        )
    write_atomically(path, json.dumps(known, indent=1).encode())
    anybody = finder(students, roster, key)

    def find(cell: str) -> str | None:
        """Only a student who has handed in."""
        return student if (student := anybody(cell)) in students else None

    mark, given = read_sheet(out / SHEET, assignment, find)
    days, unknown = read_days(lateness, anybody) if lateness.exists() else ({}, [])
    _, lines = read_tasks(asked, find, assignment)
    requests = {key: "".join(line.cells[2:3]) for key, line in lines.items()}
    anonymous = known.get("anonymous", False)
    book = Gradebook(roster, days, late, given, requests, anonymous, unknown, (), mark, key)
    return assignment, book
