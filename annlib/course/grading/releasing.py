"""What students get of an assignment: one zip with the notebook and its public checks."""

import re
import zipfile
from pathlib import Path

import nbformat

from annlib.course.authoring.building import notebook_text
from annlib.course.authoring.source import Lesson, read
from annlib.course.grading.assignment import Assignment

POINTS = re.compile(r"^\*(\d+(?:\.\d+)?) points", re.MULTILINE)
READ_ME = """{title}

Unpack this folder, open {name}.ipynb in JupyterLab and work through it. Nothing needs a network:

    pip install torch jupyterlab      (once)
    jupyter lab {name}.ipynb

Hand in {name}.ipynb alone, under its name, with its cells in any state: grading runs it again.
"""


def source_of(root: Path, assignment: Assignment) -> Path:
    return root / f"notebooks/source/assignments/{assignment.name}.py"


def public_checks(assignment: Assignment) -> str:
    """The source of the public checks, which import nothing of annlib."""
    folder = Path(__file__).parents[1] / "assignments"
    return (folder / f"{assignment.public}.py").read_text(encoding="utf-8")


def edition(root: Path, assignment: Assignment, which: str) -> str:
    """The notebook file of the "learner" or the "solution" edition, its points checked."""
    lesson = read(source_of(root, assignment))
    check_points(lesson, assignment)
    return notebook_text(lesson, which)


def check_points(lesson: Lesson, assignment: Assignment) -> None:
    """Raises ValueError unless the text promises the points that grading gives."""
    stated = [float(n) for cell in lesson.cells for n in POINTS.findall(cell.text)]
    given = [part.points for part in (*assignment.tasks, *assignment.questions)]
    if stated != given:
        raise ValueError(
            f"{lesson.name}.py promises {stated} points, task by task, but grading gives {given}. "
            "Students would be told something else than they get: make them agree."
        )


def release(root: Path, assignment: Assignment, out: Path) -> Path:
    """Writes NAME.zip into the folder; the same sources always give the same bytes."""
    notebook = edition(root, assignment, "learner")
    nbformat.validate(nbformat.reads(notebook, as_version=4))
    name = assignment.name
    files = {
        f"{name}.ipynb": notebook,
        f"{assignment.public}.py": public_checks(assignment),
        "README.txt": READ_ME.format(name=name, title=f"{name}. {assignment.title}"),
    }
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{file}"), text)
    return out / f"{name}.zip"
