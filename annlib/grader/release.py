"""An assignment as a source notebook for nbgrader, for departments that grade with it.

Points stand on the public checks: our hidden ones live in another process, which nbgrader has not.
Submissions made from it are graded by `annlib grade` as well.
"""

import re
from pathlib import Path

import nbformat

from annlib.course.authoring.source import MARKER, Cell, read
from annlib.course.authoring.stubs import end_of_function
from annlib.course.grading.assignment import Assignment
from annlib.course.grading.releasing import check_points, edition, public_modules, source_of

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def cell_metadata(cell: Cell, points: dict[str, float]) -> dict | None:
    """nbgrader's own metadata, schema 3; None for cells that it leaves alone.

    points: of each exercise, by the name in its tags
    """

    def known(name: str, solution: bool, grade: bool, locked: bool) -> dict:
        flags = {"solution": solution, "grade": grade, "locked": locked, "task": False}
        worth = {"points": points[cell.slug.partition(":")[2]]} if grade else {}
        return {"schema_version": 3, "grade_id": name, "cell_type": cell.kind} | flags | worth

    identity = re.sub("[^a-z0-9]+", "-", cell.slug)
    if cell.role("answer"):
        return known(identity, solution=True, grade=False, locked=False)
    if cell.role("check"):
        return known(identity, solution=False, grade=True, locked=True)
    if cell.role("open"):
        return known(identity, solution=True, grade=True, locked=False)
    return known(identity, solution=False, grade=False, locked=True) if cell.tags else None


def between_markers(code: str) -> str:
    """The whole solution, each hidden part between the lines that nbgrader looks for."""
    lines = code.splitlines()
    for start in reversed(range(len(lines))):
        if MARKER.search(lines[start]):
            end = end_of_function(lines, start)
            indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
            lines[start:end] = [indent + BEGIN, *lines[start + 1 : end], indent + END]
    return "\n".join(lines)


def source_notebook(root: Path, assignment: Assignment) -> str:
    """The notebook for `source/NAME/NAME.ipynb` in a course of nbgrader's."""
    lesson = read(source_of(root, assignment))
    check_points(lesson, assignment)
    exercises = [cell.role("exercise") for cell in lesson.cells if cell.role("exercise")]
    parts = (*assignment.tasks, *assignment.questions)
    points = {name: part.points for name, part in zip(exercises, parts, strict=True)}
    notebook = nbformat.reads(edition(root, assignment, "solution"), as_version=4)
    for made, cell in zip(notebook.cells, lesson.cells, strict=True):
        if cell.role("answer"):
            made.source = between_markers(cell.text)
        if metadata := cell_metadata(cell, points):
            made.metadata["nbgrader"] = metadata
    notebook.cells = [
        made
        for made, cell in zip(notebook.cells, lesson.cells, strict=True)
        if "instructor" not in cell.tags
    ]
    return nbformat.writes(notebook) + "\n"


def export(root: Path, assignment: Assignment, out: Path) -> Path:
    """Writes NAME/NAME.ipynb and the public checks beside it; returns the folder."""
    folder = out / assignment.name
    folder.mkdir(parents=True, exist_ok=True)
    notebook = source_notebook(root, assignment)
    (folder / f"{assignment.name}.ipynb").write_text(notebook, encoding="utf-8")
    for module, source in public_modules(assignment).items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    return folder
