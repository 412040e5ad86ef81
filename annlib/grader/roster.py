"""Who takes the course, and lists about them: a roster, days late, requests to grade again."""

import hmac
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil, isfinite
from pathlib import Path
from typing import NamedTuple

from annlib.grader.judge import NUMBER, Assignment, Submission
from annlib.grader.tables import Line, read_table, safe_name

WORDS = tomllib.loads(Path(__file__).with_name("headings.toml").read_text("utf-8"))
HEADS, STUDENT, DAYS, UNITS = (WORDS[one] for one in ("roster", "student", "days", "seconds"))
PARTICIPANT = re.compile(r"^(?:Participant|Teilnehmer\S*?) ?(\d+)$")  # as Moodle writes ids
# Names of downloads: Moodle's folders and files, Canvas' files.
DOWNLOADS = (
    re.compile(r".*_(\d+)_assign(?:submission|feedback)_.*"),
    re.compile(r"[^_]+_(?:LATE_)?(\d+)_\d+_.*"),
)
FLOAT = re.compile(r"^(\d+)\.0$")  # what a column of whole numbers with a gap becomes in pandas
SAYS_LATE = re.compile(r"\blate\b|verspätet|zu spät", re.IGNORECASE)
PART = re.compile(rf"(\d+(?:[.,]\d*)?)\s*({'|'.join(UNITS)})(?:s|e|n|en)?", re.IGNORECASE)
LATE = re.compile(rf"((?:{PART.pattern}[\s,]*)+)(?:late|verspätet|zu spät)?", re.IGNORECASE)
TIME = re.compile(r"-?\d(?!.*\b20\d\d\b)")  # begins so in a status, which may also have dates
EARLY = re.compile(r"-\s*(\S.*)|(.*\S)\s+(?:early|zu früh)", re.IGNORECASE)


class Student(NamedTuple):
    """number: of matriculation; the id, unless that is Moodle's own. row: cells by headings."""

    id: str
    name: str
    group: str = ""
    number: str = ""
    row: Mapping[str, str] = {}


Roster = Mapping[str, Student]  # by id
Find = Callable[[str], str | None]  # a cell of a list -> the student


class LatePolicy(NamedTuple):
    """percent off for each day begun, nothing left after so many days; grace: minutes for free"""

    percent: float = 10
    days: float = 3
    grace: float = 0

    def kept(self, days: float) -> float:
        """What is left of the points, 0 to 1."""
        begun = 0 if round(days * 1440, 6) <= self.grace else max(ceil(days), 0)
        return 0 if begun > self.days else max(0, 1 - self.percent * begun / 100)


def plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def columns(line: Line, heads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Where the columns stand whose headings are known."""
    cells = [plain(cell) for cell in line.cells]
    pairs = ((name, one) for name, known in heads.items() for one in reversed(known))
    return {name: cells.index(one) for name, one in pairs if one in cells}  # the first one wins


def read_roster(path: Path) -> Roster:
    """Students by id: columns id, name (or two), group, number, or what Moodle or Canvas export.
    Raises ValueError for a file without ids and names, and for an id that two students have."""
    _, lines = read_table(path)
    place = columns(lines[0], HEADS) if lines else {}
    place |= {"id": place.get("id", place["number"])} if "number" in place else {}
    if "id" not in place or not place.keys() & {"name", "last"}:
        raise ValueError(
            f"{path} is not a list of students: its first line needs the headings id and name, or "
            "first name and last name (optional: group, number), or those of Moodle or Canvas."
        )
    roster: dict[str, Student] = {}
    for line in lines[1:]:
        cells = [*line.cells, *[""] * (len(lines[0].cells) - len(line.cells))]
        facts = {name: FLOAT.sub(r"\1", cells[number].strip()) for name, number in place.items()}
        first, last = (facts.pop(part, "") for part in ("first", "last"))
        name = facts.get("name") or last  # beside Vorname, Name is the last name
        facts["name"] = name if {*first.split()} <= {*name.split()} else f"{first} {name}"
        facts["id"] = PARTICIPANT.sub(r"\1", facts["id"])
        if not facts["id"] and plain(facts["name"]) in ("", "points possible"):
            continue
        if not facts["id"] or facts["id"] in roster:
            raise ValueError(
                f"{line.place}: {facts['id']!r} is not the id of one student alone, so points "
                "could go to another one. Give every student an id of their own."
            )
        if "number" not in place and plain(lines[0].cells[place["id"]]) != "identifier":
            facts["number"] = facts["id"]
        row = dict(zip(lines[0].cells, cells, strict=False))
        roster[facts["id"]] = Student(**facts, row=row)
    return roster


def code_of(key: str, student: str) -> str:
    """Stands for a student where answers are read without names; only the key leads back."""
    return f"K{hmac.new(key.encode(), f'code/{student}'.encode(), 'sha256').hexdigest()[:10]}"


def finder(students: Collection[str], roster: Roster, key: str = "") -> Find:
    """The one student that a cell means: as in grades.csv, by code, id, name or number."""
    everybody = sorted({*students, *roster})
    names = {one: roster[one].name if one in roster else one for one in everybody}
    numbers = {one: roster[one].number if one in roster else "" for one in everybody}
    levels = (safe_name, lambda one: code_of(key, one), str, names.get, numbers.get)
    exact: dict[str, str] = {}
    loose: dict[str, str] = {}
    for level in levels:
        for found, form in ((exact, str), (loose, plain)):
            words = Counter(form(level(one)) for one in everybody)
            for one in everybody:
                if words[form(level(one))] == 1 and level(one):
                    found.setdefault(form(level(one)), one)
    return lambda cell: exact.get(cell) or loose.get(plain(cell))


def identified(submissions: Sequence[Submission], roster: Roster) -> list[Submission]:
    """The submissions under the ids of the roster; one that a group has handed in, for each member.
    A file is named for id, name, number or group, or as Moodle or Canvas name downloads."""
    if not roster:
        return list(submissions)
    find, members = finder((), roster), {}
    for student in roster.values():
        members.setdefault(plain(student.group), []).append(student.id)
    found: dict[str, list[Submission]] = {}
    for one in submissions:
        ids = [m[1] for m in (pattern.fullmatch(one.student) for pattern in DOWNLOADS) if m]
        names = (one.student, re.sub(r" ?\(\d+\)$", "", one.student))  # of a second download
        known = [i for i in ids if i in roster] + [*filter(None, map(find, names))]
        group = members.get(plain(one.student), []) if one.student.strip() else []
        if not known and not group:
            one = one._replace(note=f"{one.note} not in the roster".strip())
        for each in known[:1] or group or [one.student]:
            found.setdefault(each, []).append(one._replace(student=each))
    for student, several in found.items():
        if len(several) > 1:
            files = tuple(file for one in several for file in one.files)
            problem = f"There are {len(several)} submissions of this student: {', '.join(files)}. "
            problem += "Which one counts has to be decided by a person."
            found[student] = [Submission(student, files, (), {}, problem, problem, {})]
        elif student in roster and (number := roster[student].number):
            (one,) = several
            files = {**one.attachments, NUMBER: number}
            found[student] = [one._replace(attachments=files, digest=f"{one.digest}/{number}")]
    return [found[student][0] for student in sorted(found)]


def days_in(cell: str) -> float:
    """1.5, 1,5 or "1 day 12 hours late" -> 1.5; nothing, -1, "1 day early" -> 0; else nan."""
    if early := EARLY.fullmatch(cell):
        return 0 * days_in(early[1] or early[2])
    if found := LATE.fullmatch(cell):
        seconds = [float(n.replace(",", ".")) * UNITS[u.lower()] for n, u in PART.findall(found[1])]
        return sum(seconds) / 86400
    try:
        return float(cell.replace(",", ".") or 0)
    except ValueError:
        return float("nan")


def read_days(path: Path, find: Find) -> tuple[dict[str, float], list[str]]:
    """Days late by student, from lines `anna,1.5`, or the columns of a platform's list.
    Also a sentence for each line about somebody unknown: without a roster, a student who did not
    hand in and a misspelt name look the same. Raises ValueError for a line without days."""
    _, lines = read_table(path)
    place = columns(lines[0], {"student": STUDENT, "days": DAYS}) if lines else {}
    headed = len(place) == 2
    place = place if headed else {"student": 0, "days": 1}
    status = headed and plain(lines[0].cells[place["days"]]) == "status"
    days: dict[str, float] = {}
    unknown = []
    for line in lines[headed:]:
        whole = len(line.cells) > max(place.values()) if headed else len(line.cells) == 2
        name, stated = (line.cells[n].strip() for n in place.values()) if whole else ("", "")
        times = [*filter(TIME.match, re.split(" - |: ", stated))] if status else [stated]
        late = sum(map(days_in, times))
        if not isfinite(late) or not name or not times and SAYS_LATE.search(stated):
            raise ValueError(
                f"{line.place}: {line.cells} does not give a student and days late. Write lines "
                "like anna,1.5 or anna,1 day 12 hours, names as in grades.csv, or with headings."
            )
        student = find(name) or find(PARTICIPANT.sub(r"\1", name))
        if student is None and (late > 0 or not (headed or stated)):
            unknown.append(f"late list: {name} is not known here")
        elif student is not None and days.setdefault(student, late) != late:
            raise ValueError(
                f"{line.place}: {name} is there twice, {days[student]:g} and {late:g} days "
                "late. Keep the line that counts."
            )
    return days, unknown


def read_tasks(
    path: Path, find: Find, assignment: Assignment
) -> tuple[str, dict[tuple[str, str], Line]]:
    """The separator, and the line of each (student, task), if there is a file; ValueError."""
    mark, lines = read_table(path) if path.exists() else (",", [])
    tasks = [part.name for part in (*assignment.tasks, *assignment.questions)]
    found: dict[tuple[str, str], Line] = {}
    for line in lines:
        student, task, *_ = (*line.cells, "")
        if plain(student) == "student" and plain(task) in ("task", "question"):
            continue
        key = find(student) or "", task.strip()
        if not key[0] or key[1] not in tasks or key in found:
            raise ValueError(
                f"{line.place}: {mark.join(line.cells)!r} is not a task of one student who handed "
                f"in, or is there twice, so it would be lost. Lines are student{mark}task{mark}... "
                f"(names as in grades.csv); tasks: {', '.join(tasks)}. Take out what is not needed."
            )
        found[key] = line
    return mark, found
