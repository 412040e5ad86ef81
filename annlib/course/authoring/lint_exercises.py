"""Rules for exercises: calibrated, with help in steps, and with a check or a rubric."""

import re
from collections.abc import Iterator

from annlib.course.authoring.source import Cell, Lesson

OBJECTIVE = re.compile(r"^\d+\. +(.+)$", re.MULTILINE)
EXERCISE = re.compile(
    r"\*Difficulty ([1-5])/5, importance ([1-5])/5, about (\d+) min, objective (\d+)(, open)?\*"
)


def exercises(lesson: Lesson) -> Iterator[str]:
    """Each calibrated, with three hints, an answer and a check; one that everybody finishes."""
    minutes = []
    for name, cell in lesson.with_role("exercise").items():
        fields = EXERCISE.search(cell.text)
        if not fields:
            yield (
                f"{cell.place}: exercise {name!r} lacks its line `*Difficulty 2/5, importance 5/5, "
                "about 15 min, objective 1*` (with `, open` before the last star: no check)."
            )
            continue
        minutes.append(int(fields[3]))
        if int(fields[4]) > len(OBJECTIVE.findall(lesson.cells[0].text)):
            yield f"{cell.place}: exercise {name!r} serves objective {fields[4]}, which is none."
        yield from (open_exercise if fields[5] else closed_exercise)(lesson, name, cell)
    if not minutes or min(minutes) > 5:
        yield f"{lesson.name}: no exercise of 5 minutes or less, so some finish none."


def closed_exercise(lesson: Lesson, name: str, cell: Cell) -> Iterator[str]:
    """Exercise, answer and check, in this order."""
    order = [c.slug for c in lesson.cells]
    parts = [f"{role}:{name}" for role in ("exercise", "answer", "check")]
    for part in parts:
        if part not in order:
            yield f"{cell.place}: there is no cell tagged {part!r}."
    found = [order.index(part) for part in parts if part in order]
    if found != sorted(found):
        yield f"{cell.place}: exercise, answer and check of {name!r} are not in this order."


def hints(lesson: Lesson) -> Iterator[str]:
    """Three for each exercise that has a check."""
    order = {cell.slug for cell in lesson.cells}
    for name, cell in lesson.with_role("exercise").items():
        fields = EXERCISE.search(cell.text)
        for number in (1, 2, 3) if fields and not fields[5] else ():
            if f"hint:{name}:{number}" not in order:
                yield f"{cell.place}: there is no cell tagged 'hint:{name}:{number}'."


def open_exercise(lesson: Lesson, name: str, cell: Cell) -> Iterator[str]:
    """A teacher can judge the answer: a rubric stands in the same section."""
    notes = [c for c in lesson.tagged("instructor") if c.section == cell.section]
    if not any("rubric" in note.text.lower() for note in notes):
        yield f"{cell.place}: open exercise {name!r} needs an instructor cell with its rubric."


def strays(lesson: Lesson) -> Iterator[str]:
    """Answers, checks and hints that belong to no exercise."""
    known = lesson.with_role("exercise")
    for cell in lesson.cells:
        for role in ("answer", "check", "hint"):
            name = (cell.role(role) or "").partition(":")[0]
            if name and name not in known:
                yield f"{cell.place}: {role} for {name!r}, but no cell is tagged 'exercise:{name}'."
