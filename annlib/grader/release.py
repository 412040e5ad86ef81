"""Assignments: a teacher's own, the zip for students, a source notebook for nbgrader.

nbgrader gives the points for the public checks: it cannot run our hidden ones. Submissions made
from its notebook are graded by `annlib grade` as well.
"""

import re
import zipfile
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import nbformat

from annlib.course.authoring import MARKER, Cell, end_of_function, notebook_text, read
from annlib.grader.gradebook import read_points
from annlib.grader.intake import cells_of, parsed
from annlib.grader.judge import Assignment, Submission

POINTS = re.compile(r"^\*(\d+(?:\.\d+)?) points", re.MULTILINE)
TOTAL = re.compile(r"^- \*\*Points:\*\* \d+(?:\.\d+)?", re.MULTILINE)
LATE = re.compile(r"^- \*\*Late:\*\* .*$", re.MULTILINE)
FILE, SKELETON = "assignment.py", Path(__file__).with_name("skeleton")
REPORTING = Path(__file__).parents[1] / "course/assignments/not_yet.py"  # for public checks
TEXTS = Path(__file__).with_name("read_me.txt").read_text("utf-8").split("\n---\n")


def source_of(root: Path, assignment: Assignment) -> Path:
    """The source of the notebook: of an assignment of the teacher's own, it is in its folder."""
    own = assignment.folder / "notebook.py"
    return own if own.is_file() else root / f"notebooks/source/assignments/{assignment.name}.py"


def edition(root: Path, assignment: Assignment, which: str, points: Path | None = None) -> str:
    """The notebook file of the "learner" or the "solution" edition.
    points: TOML file, whose points and rules for lateness take the place of those in the text.
    Raises ValueError unless the text promises the points that grading gives."""
    lesson = read(source_of(root, assignment))._replace(name=assignment.name)
    stated = [float(n) for cell in lesson.cells for n in POINTS.findall(cell.text)]
    given = [part.points for part in (*assignment.tasks, *assignment.questions)]
    if stated != given:
        raise ValueError(
            f"{lesson.name}.py promises {stated} points, task by task, but grading gives {given}. "
            "Students would read something else than they get: make them agree."
        )
    if points:
        assignment, late = read_points(points, assignment)
        parts = iter([part.points for part in (*assignment.tasks, *assignment.questions)])
        for number, cell in enumerate(lesson.cells):
            text = POINTS.sub(lambda found: f"*{next(parts):g} points", cell.text)
            text = TOTAL.sub(f"- **Points:** {assignment.points:g}", text)
            grace = f", up to {late.grace:g} minutes cost nothing" if late.grace else ""
            rule = f"- **Late:** {late.percent:g} % less for each day begun; nothing after"
            text = LATE.sub(f"{rule} {late.days:g} days{grace}.", text)
            lesson.cells[number] = cell._replace(text=text)
    return notebook_text(lesson, which)


def template(root: Path, assignment: Assignment) -> Submission:
    """The notebook as students get it, as if it was handed in; its answer "" is all its text."""
    if not source_of(root, assignment).is_file():
        return Submission("", (), (), {"": ""}, "", "", {})
    notebook = edition(root, assignment, "learner").encode()
    cells, answers = parsed(notebook, "A.ipynb", assignment)
    text = "\n\n".join(cell.source for cell in cells_of(notebook, "A.ipynb"))
    return Submission("", (), cells, {**answers, "": text}, "", "", {})


def release(root: Path, assignment: Assignment, out: Path, points: Path | None = None) -> Path:
    """Writes NAME.zip into the folder; the same sources always give the same bytes."""
    notebook = edition(root, assignment, "learner", points)
    nbformat.validate(nbformat.reads(notebook, as_version=4))
    name, beside = assignment.name, " and ".join(assignment.files)
    alone, with_files, read_me = TEXTS
    files = {f"{name}.ipynb": notebook}
    files |= {f"{one}.py": source for one, source in assignment.public_modules().items()}
    hand_in = (with_files if beside else alone).format(name=name, files=beside)
    files["README.txt"] = read_me.format(one=assignment, hand_in=hand_in)
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{file}"), text)
    return out / f"{name}.zip"


BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
# Flags of nbgrader: solution, grade, locked.
FLAGS = dict(answer=(True, False, False), check=(False, True, True), open=(True, True, False))


def cell_metadata(cell: Cell, points: dict[str, float]) -> dict | None:
    """nbgrader's metadata, schema 3; None for others.  points: by an exercise's name"""
    if not cell.tags:
        return None
    role = next((role for role in FLAGS if cell.role(role)), None)
    solution, grade, locked = FLAGS.get(role, (False, False, True))
    name = re.sub("[^a-z0-9]+", "-", cell.slug)
    metadata = {"schema_version": 3, "grade_id": name, "cell_type": cell.kind, "task": False}
    metadata |= {"solution": solution, "grade": grade, "locked": locked}
    return metadata | ({"points": points[cell.slug.partition(":")[2]]} if grade else {})


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
    exercises = [cell.role("exercise") for cell in lesson.cells if cell.role("exercise")]
    parts = (*assignment.tasks, *assignment.questions)
    points = {name: part.points for name, part in zip(exercises, parts, strict=True)}
    notebook, cells = nbformat.reads(edition(root, assignment, "solution"), as_version=4), []
    for made, cell in zip(notebook.cells, lesson.cells, strict=True):
        if cell.role("answer"):
            made.source = between_markers(cell.text)
        if metadata := cell_metadata(cell, points):
            made.metadata["nbgrader"] = metadata
        cells += [] if "instructor" in cell.tags else [made]
    notebook.cells = cells
    return nbformat.writes(notebook) + "\n"


def export(root: Path, assignment: Assignment, out: Path) -> Path:
    """Writes NAME/NAME.ipynb and the public checks beside it; returns the folder."""
    folder = out / assignment.name
    folder.mkdir(parents=True, exist_ok=True)
    notebook = source_notebook(root, assignment)
    (folder / f"{assignment.name}.ipynb").write_text(notebook, encoding="utf-8")
    for module, source in assignment.public_modules().items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    return folder


def load_own(folder: Path, others: Sequence[str]) -> Assignment:
    """The ASSIGNMENT of its assignment.py, which is executed; ValueError.  others: annlib's own"""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} is neither {', '.join(others)} nor a folder with {FILE}. `annlib assign new "
            "A4` makes such a folder."
        )
    spec = spec_from_file_location(f"annlib_own_{folder.resolve().name}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "ASSIGNMENT", None)
    if not isinstance(found, Assignment):
        raise ValueError(f"{path} defines no ASSIGNMENT: there would be nothing to grade.")
    return found


def make_own(name: str, out: Path) -> Path:
    """Writes the folder NAME: notebook, public and hidden checks, misconceptions, a test."""
    folder = out / name
    if not re.fullmatch(r"[A-Za-z]\w{0,30}", name, re.ASCII):
        raise ValueError(f"{name!r} is to be a name of modules: take letters and digits, like A4.")
    if folder.exists():
        raise ValueError(f"{folder} is there already, and would be overwritten: take another name.")
    folder.mkdir(parents=True)
    for path in (*sorted(SKELETON.iterdir()), REPORTING):
        if path.is_file():
            text = path.read_text("utf-8").replace("A0", name).replace("a0", name.lower())
            target = path.name.removesuffix(".txt").replace("a0", name.lower())
            (folder / target).write_text(text, "utf-8")
    return folder
