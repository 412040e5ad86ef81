"""What a lesson does with an exercise after its check runs with every answer that is accepted."""

import ast
from pathlib import Path

import pytest

from annlib.course.authoring import Lesson, read
from tests.course.test_exercises import GALLERIES, SOURCES
from tests.course.test_notebooks import globals_used, names_made

TRAINS = "06 step"  # for some seconds; test_exercises.py trains a small network with its answers


def uses_of(lesson: Lesson, exercise: str, answer: str) -> list[ast.stmt]:
    """The statements after the check that need the answer, and in order what these need."""
    code = [cell for cell in lesson.cells if cell.kind == "code" and "gpu" not in cell.tags]
    checked = [cell.slug for cell in code].index(f"check:{exercise}")
    statements, chosen, needed = [], set(), set()
    for place, cell in enumerate(code):
        made = {answer}
        for one in ast.parse(cell.text).body:
            statements.append(one)
            later = place > checked and not cell.role("answer")
            if later and globals_used(ast.unparse(one)) & made:
                chosen.add(one)
                made |= names_made(one)
    for one in reversed(statements):
        if one in chosen or names_made(one) & (needed - {answer}):
            chosen.add(one)
            needed = (needed - names_made(one)) | globals_used(ast.unparse(one))
    return [one for one in statements if one in chosen]


def cases() -> list:
    """(source, exercise, its gallery) of lessons 04 to 07."""
    found = []
    for source in [one for one in SOURCES if "04" <= one.stem[:2] <= "07"]:
        for exercise in read(source).with_role("check"):
            key = f"{source.stem[:2]} {exercise}"
            if key != TRAINS:
                found.append(pytest.param(source, exercise, GALLERIES[key], id=key))
    return found


@pytest.mark.parametrize(("source", "exercise", "gallery"), cases())
def test_what_follows_a_check_runs_with_every_accepted_answer(
    source: Path, exercise: str, gallery
) -> None:
    lesson = read(source)
    cell = lesson.with_role("answer")[exercise]
    (answer,) = names_made(ast.parse(cell.text).body[-1])
    code = compile(ast.Module(uses_of(lesson, exercise, answer), []), source.name, "exec")
    for right in gallery.right:
        exec(code, {answer: right, "__name__": "lesson"})
