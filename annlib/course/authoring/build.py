"""Builds the learner and the solution notebook of each lesson from its source."""

import ast
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import nbformat

from annlib.course.authoring import source as reader
from annlib.course.authoring.source import HIDING_ROLES, Cell, Lesson, folded, read
from annlib.course.lesson import STATED

LINE_MARKER = re.compile(r"^( *)# solution$")
INLINE_MARKER = re.compile(r"^(\s*[^=]+?=)(?!=).*  # solution$")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
SOLUTION_NOTE = (
    "> **Solution edition**: for teachers, and for comparing afterwards. "
    "The learner edition has the same name one folder up."
)


def finished(code: str) -> str:
    """The whole solution, without the markers."""
    lines = [line for line in code.splitlines() if not LINE_MARKER.match(line)]
    return "\n".join(line.removesuffix("  # solution") for line in lines)


def stub(code: str) -> str:
    """What the learner gets: `...` in the place of everything that a marker hides."""
    lines = [INLINE_MARKER.sub(r"\1 ...", line) for line in code.splitlines()]
    for start in reversed(range(len(lines))):
        if marker := LINE_MARKER.match(lines[start]):
            end = end_of_function(lines, start)
            lines[start:end] = [f"{marker[1]}..."]
    ast.parse("\n".join(lines))
    return "\n".join(lines)


def end_of_function(lines: list[str], start: int) -> int:
    """Index after the last line of the function around line `start`; of the cell, outside any."""
    nodes = [n for n in ast.walk(ast.parse("\n".join(lines))) if isinstance(n, ast.FunctionDef)]
    around = [(n.lineno, n.end_lineno) for n in nodes if n.lineno <= start < n.end_lineno]
    if around:
        return max(around)[1]
    if lines[start].startswith(" "):
        raise ValueError(
            f"The indented marker after {lines[start - 1]!r} is in no function, or nothing follows "
            "it there, so what it hides has no end. Put it in the function, before the solution."
        )
    return len(lines)


def hidden_lines(code: str) -> list[str]:
    """The stripped lines that the learner does not see, in order."""
    shown = stub(code).splitlines()
    return [one.strip() for one in finished(code).splitlines() if one.strip() and one not in shown]


def sources(root: Path) -> list[Path]:
    """Every lesson source, in the order of the course."""
    found = sorted((root / "notebooks/source").glob("[0-9][0-9]_*.py"))
    if not found:
        raise FileNotFoundError(
            f"No notebooks/source/NN_name.py below {root.resolve()}: name the project folder."
        )
    return found


def targets(root: Path) -> dict[Path, dict[Path, str]]:
    """{source: {notebook: edition}} of all lessons, and of the jobs, which `annlib sweep` runs."""
    lessons, jobs = root / "notebooks", sorted((root / "notebooks/source/jobs").glob("*.py"))
    editions = {lessons: "learner", lessons / "solutions": "solution"}
    found = {
        source: {folder / f"{source.stem}.ipynb": which for folder, which in editions.items()}
        for source in sources(root)
    }
    return found | {job: {lessons / f"jobs/{job.stem}.ipynb": "job"} for job in jobs}


def build(source: Path, notebooks: dict[Path, str]) -> dict[Path, Path | None]:
    """Write notebooks, path -> edition, of a source.  -> path -> where an edited one is kept"""
    lesson, kept = read(source), {}
    for path, edition in notebooks.items():
        text = notebook_text(lesson, edition)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept[path] = keep_edited(path, text)
        path.write_text(text, encoding="utf-8", newline="\n")
    return kept


def build_all(root: Path) -> dict[Path, Path | None]:
    """Write the notebooks of every source under the project folder `root`, as `build` does."""
    return {path: kept for one in targets(root).items() for path, kept in build(*one).items()}


def keep_edited(path: Path, text: str) -> Path | None:
    """Renames a notebook whose cells, outputs aside, were edited.  -> its new name, or None"""
    if not path.exists():
        return None
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        now = digest("".join(cell["source"]) for cell in notebook["cells"])
        built = notebook["metadata"]["annlib"].get("digest")
    except (ValueError, KeyError, TypeError):  # not a notebook that a build wrote
        now, built = "unknown", None
    if now in (built, json.loads(text)["metadata"]["annlib"]["digest"]):
        return None
    return path.rename(path.with_suffix(f".saved-{datetime.now():%Y-%m-%d-%H%M%S}.ipynb"))


def digest(sources: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(list(sources)).encode()).hexdigest()[:16]


def check_current(root: Path) -> list[str]:
    """One sentence for each notebook that its source does not build, or that has no source."""
    findings, expected = [], set()
    for source, notebooks in targets(root).items():
        lesson = read(source)
        expected.update(notebooks)
        for path, edition in notebooks.items():
            if not path.exists() or path.read_bytes() != notebook_text(lesson, edition).encode():
                findings.append(
                    f"{path.relative_to(root)} was edited by hand or is out of date: "
                    f"edit {source.relative_to(root)} and run `annlib lessons build`."
                )
    patterns = ("*.ipynb", "solutions/*.ipynb", "jobs/*.ipynb")
    found = sorted(path for one in patterns for path in (root / "notebooks").glob(one))
    return findings + [
        f"{path.relative_to(root)} has no source in notebooks/source, so nothing checks it: "
        "delete it, or write its source."
        for path in found
        if path not in expected and ".saved-" not in path.name
    ]


def notebook_text(lesson: Lesson, edition: str) -> str:
    anchors = reader.heading_anchors(lesson)
    seen = [c for c in lesson.cells if edition == "solution" or "instructor" not in c.tags]
    cells = [notebook_cell(lesson, cell, edition, anchors) for cell in seen]
    folder = "source/jobs" if edition == "job" else "source"
    origin = {"edition": edition, "source": f"notebooks/{folder}/{lesson.name}.py"}
    origin["digest"] = digest(cell.source for cell in cells)
    metadata = {"annlib": origin, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    if edition == "learner":
        refuse_leaks(lesson, cells)
    return nbformat.writes(notebook) + "\n"


def notebook_cell(
    lesson: Lesson, cell: Cell, edition: str, anchors: dict[str, str]
) -> nbformat.NotebookNode:
    """A cell with an id that depends on the lesson and its slug alone."""
    name = hashlib.sha1(f"{lesson.name}/{cell.slug}".encode()).hexdigest()[:8]
    metadata = {"tags": list(cell.tags)} if cell.tags else {}
    if cell.kind == "markdown":
        text = reader.resolve_links(cell, anchors)
        if identity := cell.role("hint"):
            text = folded(f"Hint {(n := identity[-1])}: {reader.HINT_TITLES[n]}", text)
        elif cell.role("quiz"):
            text = reader.quiz(text)
        elif "instructor" in cell.tags:
            lines = f"**For teachers.** {text}".splitlines()
            text = "\n".join(f"> {line}".rstrip() for line in lines)
        elif "header" in cell.tags and edition == "solution":
            text = f"{text}\n\n{SOLUTION_NOTE}"
        if stated := [list(one) for one in STATED.findall(cell.text)]:
            metadata["claims"] = stated  # for the gate: the text itself shows only the numbers
        return nbformat.v4.new_markdown_cell(text, id=name, metadata=metadata)
    if "setup" in cell.tags:  # folded: a lesson begins with its question, not with its imports
        metadata["jupyter"] = {"source_hidden": True}
    text = cell.text
    if any(cell.role(role) for role in HIDING_ROLES):
        try:
            text = finished(text) if edition == "solution" else stub(text)
        except (SyntaxError, ValueError) as error:
            raise ValueError(
                f"{cell.place}: without its solution this is not Python: {error}. `# solution` "
                "hides the rest of a function, or the right side of an assignment on one line."
            ) from error
    return nbformat.v4.new_code_cell(text, id=name, metadata=metadata)


def refuse_leaks(lesson: Lesson, cells: list[nbformat.NotebookNode]) -> None:
    """Hints may quote a line of a solution; anything else that shows three in a row is an error."""
    teaching = [c for c in cells if "hint:" not in " ".join(c.metadata.get("tags", []))]
    texts = [[line.strip() for line in c.source.splitlines() if line.strip()] for c in teaching]
    shown = ["\n".join(["", *lines, ""]) for lines in texts]
    for cell in lesson.cells:
        hidden = hidden_lines(cell.text) if cell.role("answer") else []
        size = min(3, len(hidden))
        for start in range(len(hidden) - size + 1) if hidden else []:
            window = "\n".join(["", *hidden[start : start + size], ""])
            if len(window) - size >= 21 and any(window in text for text in shown):
                raise ValueError(
                    f"{cell.place}: the learner edition of {lesson.name} shows {hidden[start]!r}, "
                    "a part of this solution, in another cell. Call annlib's function there."
                )
