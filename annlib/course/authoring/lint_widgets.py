"""Rules for what learners see and move: a job for each widget, colours from one place."""

import ast
import re
from collections.abc import Iterator

from annlib.course.authoring.source import Lesson

CONTROLS = "annlib.course.controls"
LEDGER = "prediction_ledger"
TASKS = re.compile(r"^1\. .+?^2\. ", re.MULTILINE | re.DOTALL)
COLOURS = re.compile(
    r"""["'](?:#[0-9a-fA-F]{3,8}|jet|hsv|rainbow|gist_rainbow|nipy_spectral|RdYlGn|RdYlGn_r)["']"""
)


def widgets(lesson: Lesson) -> Iterator[str]:
    """Two or more, each after a text that says in a numbered list what to try."""
    names = {name for cell in lesson.cells if cell.kind == "code" for name in controls(cell.text)}
    names.discard(LEDGER)  # it looks back on the lesson, and teaches nothing itself
    shown = [
        place
        for place, cell in enumerate(lesson.cells)
        if cell.kind == "code" and any(re.search(rf"\b{name}\(", cell.text) for name in names)
    ]
    if len(shown) < 2:
        yield f"{lesson.name}: {len(shown)} cells call a widget of {CONTROLS}; a lesson has two."
    for place in shown:
        before = [cell.text for cell in lesson.cells[max(0, place - 3) : place + 3]]
        if not any(TASKS.search(text) or "Exercise" in text for text in before):
            yield (
                f"{lesson.cells[place].place}: a widget without a job. Say in a numbered list what "
                "to try and to explain (at least two things), or let an exercise use it."
            )


def controls(code: str) -> list[str]:
    """The names that a cell imports from the folder of widgets."""
    code = re.sub(r"^[ \t]*[!%].*$", "", code, flags=re.MULTILINE)  # of Jupyter, no Python
    return [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(CONTROLS)
        for alias in node.names
    ]


def colours(lesson: Lesson) -> Iterator[str]:
    """Colours come from annlib.course.drawing, whose palette colour-blind people can read."""
    for cell in lesson.cells:
        if cell.kind == "code" and (found := COLOURS.search(cell.text)):
            yield (
                f"{cell.place}: the colour {found[0]} is this cell's own. Take block colours, "
                "cividis and figures from annlib.course: they suit colour-blind readers."
            )
