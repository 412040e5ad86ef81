"""Finds what students handed in, and reads it as plain text: nothing of it runs here.

A student is a file (anna.ipynb, anna.zip) or a folder (anna/A1.ipynb) in the folder of submissions.
"""

import hashlib
import json
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 20 * 2**20  # of a notebook, pictures and all
MOST_CELLS = 2000
KINDS = (".ipynb", ".py")
PERCENT = re.compile(r"^# %%(?P<title>.*)$", re.MULTILINE)


class Submission(NamedTuple):
    """cells: of code. open_answers: tag -> text. problem: why there is nothing to run, or ""."""

    student: str
    files: tuple[str, ...]
    cells: tuple[str, ...]
    open_answers: dict[str, str]
    problem: str
    digest: str


class Unreadable(ValueError):
    """What was handed in is no notebook; the message is for the student."""


def collect(folder: Path, assignment: str) -> list[Submission]:
    """Every submission in the folder, by student; raises ValueError if there is none."""
    entries: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith((".", "__")):
            entries.setdefault(student_of(path), []).append(path)
    if not entries:
        raise ValueError(f"{folder} holds no submissions: one file or folder for each student.")
    return [submission(student, paths, assignment) for student, paths in sorted(entries.items())]


def student_of(path: Path) -> str:
    """The student's name: composed the same way whatever system wrote it, and fit to be shown."""
    name = path.name if path.is_dir() and not path.is_symlink() else path.name.split(".")[0]
    composed = unicodedata.normalize("NFC", name).strip()
    return "".join(c if c.isprintable() else "?" for c in composed)[:100]


def submission(student: str, paths: list[Path], assignment: str) -> Submission:
    """What one student handed in; what is wrong with it is said in `problem`."""
    names = tuple(printable(path.name) for path in paths)
    try:
        if len(paths) > 1:
            raise Unreadable(
                f"There are {len(paths)} submissions of this name: {', '.join(names)}. "
                "Which one counts has to be decided by a person."
            )
        data, name = content(paths[0], assignment)
        cells, open_answers = parsed(data, name)
        digest = hashlib.sha256(data).hexdigest()
        return Submission(student, names, cells, open_answers, "", digest)
    except Unreadable as error:
        problem = str(error)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        problem = f"It cannot be read: {type(error).__name__}."
    return Submission(student, names, (), {}, problem, hashlib.sha256(problem.encode()).hexdigest())


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def content(path: Path, assignment: str) -> tuple[bytes, str]:
    """Bytes and name of the one notebook that was handed in."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return content(only(list(files_below(path)), assignment), assignment)
    if not stat.S_ISREG(mode):
        raise Unreadable("It is a link or no ordinary file. Hand in the notebook itself.")
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(f"It has {path.stat().st_size / 2**20:,.0f} MiB: clear the outputs.")
    if path.suffix.lower() == ".zip":
        return from_zip(path, assignment)
    if path.suffix.lower() not in KINDS:
        raise Unreadable(f"{printable(path.name)} is no notebook: .ipynb, .py or a .zip of one.")
    return path.read_bytes(), path.name


def files_below(folder: Path) -> Iterator[Path]:
    """Ordinary files, without following links out of the folder."""
    for path in sorted(folder.rglob("*")):
        inside = (part for part in (path, *path.parents) if part.is_relative_to(folder))
        linked = any(part.is_symlink() for part in inside)
        if not linked and path.is_file() and ".ipynb_checkpoints" not in path.parts:
            yield path


def only(paths: list[Path], assignment: str) -> Path:
    """The notebook among the files: the one of that name, or the only one."""
    notebooks = [path for path in paths if path.suffix.lower() in (".ipynb", ".zip")]
    scripts = [path for path in paths if path.suffix == ".py" and "_checks" not in path.name]
    found = notebooks or scripts
    named = [path for path in found if path.stem == assignment]
    if len(named or found) == 1:
        return (named or found)[0]
    raise Unreadable(f"{len(found)} notebooks are in it; hand in one, called {assignment}.ipynb.")


def from_zip(path: Path, assignment: str) -> tuple[bytes, str]:
    """The notebook in a zip, read into memory: nothing is unpacked, so no path can escape."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {Path(e.filename): e for e in archive.infolist() if not e.is_dir()}
            outside = [p for p in entries if p.is_absolute() or ".." in p.parts]
            if outside or any(stat.S_ISLNK(e.external_attr >> 16) for e in entries.values()):
                raise Unreadable("The zip has links, or paths that lead out of it.")
            inside = [p for p in entries if not p.name.startswith("._") and p.suffix != ".zip"]
            chosen = entries[only(inside, assignment)]
            with archive.open(chosen) as stream:
                data = stream.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unreadable("The zip is damaged, or locked by a password.") from error
    if len(data) > MOST_BYTES:
        raise Unreadable("The notebook in the zip is far too large: clear the outputs.")
    return data, chosen.filename


def parsed(data: bytes, name: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Code cells, and what stands in cells tagged open:NAME."""
    text = data.decode("utf-8-sig", errors="replace")
    if not name.endswith(".ipynb"):
        return tuple(PERCENT.split(text)[::2]) if PERCENT.search(text) else (text,), {}
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise Unreadable("It is no notebook: its text is damaged (no JSON).") from error
    cells = cells_of(notebook)
    code = [source_of(cell) for cell in cells if cell.get("cell_type") == "code"]
    tagged = {
        tag.removeprefix("open:"): source_of(cell)
        for cell in cells
        for tag in tags_of(cell)
        if isinstance(tag, str) and tag.startswith("open:")
    }
    return tuple(code), tagged


def cells_of(notebook: object) -> list[dict]:
    """The cells of a notebook, format 4 or older."""
    if not isinstance(notebook, dict):
        raise Unreadable("It is no notebook: JSON, but of something else.")
    sheets = notebook.get("worksheets")
    holders = sheets if isinstance(sheets, list) else [notebook]
    lists = [one.get("cells") for one in holders if isinstance(one, dict)]
    cells = [cell for some in lists if isinstance(some, list) for cell in some]
    plain = [cell for cell in cells if isinstance(cell, dict)]
    if not plain or len(plain) > MOST_CELLS:
        raise Unreadable(f"It is a notebook with {len(plain)} cells: nothing that can be graded.")
    return plain


def source_of(cell: dict) -> str:
    """Text of a cell: one string or lines; format 3 called it input."""
    source = cell.get("source", cell.get("input", ""))
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def tags_of(cell: dict) -> list:
    """The tags of a cell; nbgrader keeps names elsewhere, and open-NAME there is open:NAME here."""
    metadata = cell.get("metadata")
    if not isinstance(metadata, dict):
        return []
    tags, known = metadata.get("tags"), metadata.get("nbgrader")
    name = known.get("grade_id") if isinstance(known, dict) else None
    named = [name.replace("-", ":", 1)] if isinstance(name, str) else []
    return (tags if isinstance(tags, list) else []) + named
