"""What a teacher decides, kept in the output folder, and the sum of points that follows from it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from annlib.grader.by_hand import SHEET, Sheet, counts, read_sheet
from annlib.grader.judge import Assignment, Check, Files, Generator, Result, Submission, Task
from annlib.grader.roster import (
    LatePolicy,
    Roster,
    finder,
    read_days,
    read_requests,
)

LISTS = {
    **{"roster": "roster.csv", "late": "late.csv"},
    **{"requests": "requests.csv", "points": "points.toml"},
}
SETTINGS = "settings.json"
Weights = Mapping[str, Mapping[str, float]]  # task -> check -> points; question -> rubric


class Gradebook(NamedTuple):
    """What is known besides the results. Each default is what nobody has said anything about.

    days: late, by student. given: all that is filled in by hand, also for answers that have
    changed. requests: (student, task) -> reason. unknown: what lists say of people not known.
    similar: lines on work that is nearly the same. mark: separator of the sheet. key: leads to the
    names of pages and to codes.
    """

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
        return self.roster[student].name if student in self.roster else student

    def missing(self, results: Sequence[Result]) -> list[str]:
        """Who is on the roster and has not handed in."""
        return sorted(self.roster.keys() - {result.student for result in results})


class Total(NamedTuple):
    """Points of one student. parts: of tasks and questions, as they count; None: not read yet.

    decided: tasks whose points a person has given. kept: what lateness leaves, 0 to 1.
    """

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


def changed_sums(
    assignment: Assignment, results: Sequence[Result], book: Gradebook, out: Path
) -> tuple[list[str], str]:
    """A line for each student whose points are others than the last time; what to keep of them."""
    path, lines = out / "sums.json", []
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    now = {result.student: total(assignment, result, book)._asdict() for result in results}
    for student, new in now.items():
        old = before.get(student, new)
        causes = [
            f"{name} {shown_points(old['parts'].get(name))} -> {shown_points(points)}"
            for name, points in new["parts"].items()
            if old["parts"].get(name) != points
        ]
        if old["kept"] != new["kept"]:
            causes.append(
                f"{100 * old['kept']:g} % -> {100 * new['kept']:g} % kept, as it was late"
            )
        if causes:
            sums = (f"{Total(**one).so_far:g}" for one in (old, new))
            lines.append(f"{student}: {' -> '.join(sums)} ({'; '.join(causes)})")
    for student in sorted(before.keys() - now.keys()):
        lines.append(f"{student}: {Total(**before[student]).so_far:g} -> nothing handed in")
    return lines, json.dumps(now, indent=1)


def shown_points(points: float | None) -> str:
    return "unread" if points is None else f"{points:g}"


def read_points(path: Path, assignment: Assignment) -> tuple[Weights, LatePolicy]:
    """Points by a TOML file: a table for each task (its checks, or `points` for all of them
    together), for each open question (its rubric), and `late`. Raises ValueError."""
    with path.open("rb") as file:
        try:
            tables = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not TOML: {error}.") from error
    late, weights = tables.pop("late", {}), {}
    checks = {t.name: {c.name: c.points for c in t.checks(0, {})} for t in assignment.tasks}
    questions = [question.name for question in assignment.questions]
    for name, table in (*tables.items(), ("late", late)):
        known = checks.get(name, {"points": 0}) if name in checks else None
        known = LatePolicy._fields if name == "late" else known and (*known, "points")
        numbers = isinstance(table, dict) and all(
            type(n) in (int, float) and isfinite(n) and n >= 0 for n in table.values()
        )
        strange = [one for one in table if known and one not in known] if numbers else []
        if not numbers or strange or name not in (*checks, *questions, "late"):
            raise ValueError(
                f"{path}: [{name}] {', '.join(strange)} is not a task, check or question of "
                f"{assignment.name} with numbers of points from 0. Tables: "
                f"{', '.join((*checks, *questions, 'late'))}; "
                + "; ".join(f"[{task}] has {', '.join(names)}" for task, names in checks.items())
            )
        if name in checks:
            factor = table.get("points", old := sum(checks[name].values())) / (old or 1)
            weights[name] = {c: table.get(c, factor * points) for c, points in checks[name].items()}
        elif name in questions:
            weights[name] = table
    return weights, LatePolicy(**late)


def weighted(assignment: Assignment, weights: Weights) -> Assignment:
    """The assignment with other points."""

    def drawn(task: Task, generator: Generator, files: Files) -> list[Check]:
        checks = task.draw(generator, files)
        return [one._replace(points=weights[task.name].get(one.name, one.points)) for one in checks]

    return assignment._replace(
        tasks=[
            task._replace(draw=partial(drawn, task)) if task.name in weights else task
            for task in assignment.tasks
        ],
        questions=[
            one._replace(rubric=dict(weights.get(one.name, one.rubric)))
            for one in assignment.questions
        ],
    )


def reweighted(results: Sequence[Result], weights: Weights) -> list[Result]:
    """The results with other points: nothing has to run again."""
    return [
        result._replace(
            marks=tuple(
                one._replace(points=one.points / one.out_of * most, out_of=most)
                if one.out_of and (most := weights.get(one.task, {}).get(one.check)) is not None
                else one
                for one in result.marks
            )
        )
        for result in results
    ]


def open_book(
    assignment: Assignment,
    submissions: Sequence[Submission],
    roster: Roster,
    out: Path,
    lists: Mapping[str, Path | None],
    settings: Mapping[str, float | bool | None],
    key: str,
) -> tuple[Assignment, Weights, Gradebook, dict[str, bytes]]:
    """The assignment with the points and the book that the teacher's files give.

    lists: "late", "requests", "points" -> a new file, or None for the one that is kept in the
    folder. settings: of lateness, and "anonymous"; None as before. Also the files to keep there.
    """
    places = {name: place_of(out, name, given) for name, given in lists.items()}
    path = out / SETTINGS
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known |= {name: value for name, value in settings.items() if value is not None}
    weights, late = {}, LatePolicy()
    if places["points"]:
        weights, late = read_points(places["points"], assignment)
        assignment = weighted(assignment, weights)
    late = late._replace(**{n: v for n, v in known.items() if n in LatePolicy._fields})
    if min(late) < 0 or late.percent > 100:
        raise ValueError(
            f"{late.percent:g} % a day, {late.days:g} days and {late.grace:g} minutes: points "
            "could grow. Give 0 to 100 %, and days and minutes from 0."
        )
    students = {one.student for one in submissions}
    anybody = finder(students, roster, key)

    def find(cell: str) -> str | None:
        """Only a student who has handed in."""
        return student if (student := anybody(cell)) in students else None

    mark, given = read_sheet(out / SHEET, assignment, find)
    days, unknown = read_days(places["late"], anybody) if places["late"] else ({}, [])
    requests = read_requests(places["requests"], find, assignment) if places["requests"] else {}
    book = Gradebook(roster, days, late, given, requests, known.get("anonymous", False), unknown)
    kept = {LISTS[name]: place.read_bytes() for name, place in places.items() if place}
    kept[SETTINGS] = json.dumps(known, indent=1).encode()
    return assignment, weights, book._replace(mark=mark, key=key), kept


def place_of(out: Path, name: str, given: Path | None) -> Path | None:
    """A list of the teacher's: the new one, or the one that is kept in the folder."""
    kept = out / LISTS[name]
    return given or (kept if kept.exists() else None)
