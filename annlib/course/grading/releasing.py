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

    pip install {install}      (once)
    jupyter lab {name}.ipynb

{hand_in}
"""
ALONE = """Hand in {name}.ipynb alone, under its name, with its cells in any state: grading runs
it again."""
WITH_FILES = """Hand in {name}.ipynb and {files}, together in a folder or a zip, under their names.
Cells may be in any state: grading runs the notebook again."""


def source_of(root: Path, assignment: Assignment) -> Path:
    return root / f"notebooks/source/assignments/{assignment.name}.py"


def public_modules(assignment: Assignment) -> dict[str, str]:
    """name -> source of what students get beside the notebook; it imports nothing of annlib."""
    folder = Path(__file__).parents[1] / "assignments"
    return {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in assignment.public}


def read_me(assignment: Assignment) -> str:
    """The few words that come with an assignment."""
    name, files = assignment.name, " and ".join(assignment.files)
    hand_in = (WITH_FILES if files else ALONE).format(name=name, files=files)
    title = f"{name}. {assignment.title}"
    return READ_ME.format(title=title, name=name, install=assignment.install, hand_in=hand_in)


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
    modules = {f"{one}.py": source for one, source in public_modules(assignment).items()}
    files = {f"{name}.ipynb": notebook, **modules, "README.txt": read_me(assignment)}
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{file}"), text)
    return out / f"{name}.zip"
