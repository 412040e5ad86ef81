"""Finds submissions (folder, file or zip) and reads them as plain text; nothing of them runs here.

Nothing is unpacked, so no path can escape; no link is followed.

A student is a file (anna.ipynb, anna.zip) or a folder (anna/A1.ipynb) in the folder of submissions.
"""

import hashlib
import json
import lzma
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from annlib.course.assignments.base import Assignment, Files

MOST_BYTES = 20 * 2**20  # of a notebook, pictures and all
Readers = dict[Path, Callable[[], bytes]]
DAMAGED = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError),
    *(zlib.error, lzma.LZMAError),
)


class Unreadable(ValueError):
    """What was handed in is no notebook; the message is for the student."""


def opened(path: Path) -> Readers:
    """The ordinary files in it, each with a function that reads it; raises Unreadable."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return {one: partial(read, one) for one in files_below(path)}
    if not stat.S_ISREG(mode):
        raise Unreadable("It is a link or no ordinary file. Hand in the notebook itself.")
    return opened_zip(path) if path.suffix.lower() == ".zip" else {path: partial(read, path)}


def files_below(folder: Path) -> Iterator[Path]:
    """Ordinary files, without following links out of the folder."""
    for path in sorted(folder.rglob("*")):
        inside = (part for part in (path, *path.parents) if part.is_relative_to(folder))
        linked = any(part.is_symlink() for part in inside)
        if not linked and path.is_file() and ".ipynb_checkpoints" not in path.parts:
            yield path


def read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(f"It has {path.stat().st_size / 2**20:,.0f} MiB: clear the outputs.")
    return path.read_bytes()


def opened_zip(path: Path) -> Readers:
    """The files in a zip, but for further zips and what macOS adds."""
    if path.stat().st_size > MOST_BYTES:
        raise Unreadable(f"It has {path.stat().st_size / 2**20:,.0f} MiB: clear the outputs.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {Path(e.filename): e for e in archive.infolist() if not e.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, IndexError) as error:
        raise Unreadable("The zip is damaged.") from error
    outside = [name for name in entries if name.is_absolute() or ".." in name.parts]
    if outside or any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries.values()):
        raise Unreadable("The zip has links, or paths that lead out of it.")
    return {
        name: partial(read_from_zip, path, entry)
        for name, entry in entries.items()
        if not name.name.startswith("._") and name.suffix.lower() != ".zip"
    }


def read_from_zip(path: Path, entry: zipfile.ZipInfo) -> bytes:
    """An entry, no longer than its header says or than a notebook may be."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as stream:
            data = stream.read(MOST_BYTES + 1)
    except DAMAGED as error:
        raise Unreadable("The zip is damaged, or locked by a password.") from error
    if len(data) > MOST_BYTES:
        raise Unreadable("The notebook in the zip is far too large: clear the outputs.")
    return data


MOST_CELLS = 2000
INJECTED = "injected-parameters"  # of a notebook that papermill has run; ours take their place
LONGEST_ANSWER = 20_000  # letters: ten pages
PERCENT = re.compile(r"^# %%(?P<title>.*)$", re.MULTILINE)


def sound(text: str) -> str:
    """Without halves of characters, which JSON may hold and no file can be written with."""
    return text.encode("utf-8", "replace").decode()


def text_of(data: bytes) -> str:
    return data.decode("utf-8-sig", errors="replace")


def parsed(data: bytes, name: str, parameters: str = "") -> tuple[tuple[str, ...], dict[str, str]]:
    """Code cells, and what stands in cells tagged open:NAME.

    parameters: code that papermill would inject: it ends the cell that is tagged parameters.
    """
    text = text_of(data)
    if not name.lower().endswith(".ipynb"):
        return of_script(text, parameters), {}
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise Unreadable("It is no notebook: its text is damaged (no JSON).") from error
    cells = cells_of(notebook)
    code = [
        injected(source_of(cell), parameters if "parameters" in tags_of(cell) else "")
        for cell in cells
        if cell.get("cell_type") == "code" and INJECTED not in tags_of(cell)
    ]
    tagged = {
        tag.removeprefix("open:"): source_of(cell)[:LONGEST_ANSWER]
        for cell in cells
        for tag in tags_of(cell)
        if isinstance(tag, str) and tag.startswith("open:")
    }
    return tuple(code), tagged


def of_script(text: str, parameters: str) -> tuple[str, ...]:
    """The cells of a script in percent format; the whole script where there are none."""
    first, *others = PERCENT.split(text)
    titles, bodies = others[::2], others[1::2]
    if len(bodies) > MOST_CELLS:
        raise Unreadable(f"It is a script with {len(bodies)} cells: nothing that can be graded.")
    tagged = [parameters if '"parameters"' in title else "" for title in titles]
    return (first, *map(injected, bodies, tagged))


def injected(source: str, parameters: str) -> str:
    return f"{source}\n{parameters}" if parameters else source


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
    return sound("".join(map(str, source)) if isinstance(source, list) else str(source))


def tags_of(cell: dict) -> list:
    """The tags of a cell; nbgrader keeps names elsewhere, and open-NAME there is open:NAME here."""
    metadata = cell.get("metadata")
    if not isinstance(metadata, dict):
        return []
    tags, known = metadata.get("tags"), metadata.get("nbgrader")
    name = known.get("grade_id") if isinstance(known, dict) else None
    named = [name.replace("-", ":", 1)] if isinstance(name, str) else []
    return (tags if isinstance(tags, list) else []) + named


LONGEST_FILE = 2**20  # letters
KINDS = (".ipynb", ".py")
NO_SUBMISSION = re.compile(  # what systems leave in folders
    r"\._.*|\.DS_Store|__MACOSX|\.ipynb_checkpoints|Thumbs\.db|desktop\.ini"
)


class Submission(NamedTuple):
    """cells: of code. open_answers: tag -> text. problem: why there is nothing to run, or "".

    attachments: the files of the assignment that were handed in beside the notebook.
    """

    student: str
    files: tuple[str, ...]
    cells: tuple[str, ...]
    open_answers: dict[str, str]
    problem: str
    digest: str
    attachments: Files


def collect(folder: Path, assignment: Assignment) -> list[Submission]:
    """Every submission in the folder, by student; raises ValueError if there is none."""
    entries: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not NO_SUBMISSION.fullmatch(path.name):
            entries.setdefault(student_of(path), []).append(path)
    if not entries:
        raise ValueError(f"{folder} holds no submissions: one file or folder for each student.")
    return [submission(student, paths, assignment) for student, paths in sorted(entries.items())]


def student_of(path: Path) -> str:
    """The student's name: composed the same way whatever system wrote it, and fit to be shown.

    Of a file, the name without its suffix; other dots are the student's.
    """
    known = path.suffix.lower() in (*KINDS, ".zip") and not path.is_dir()
    name = path.stem if known else path.name
    return printable(unicodedata.normalize("NFC", name).strip())[:100]


def submission(student: str, paths: list[Path], assignment: Assignment) -> Submission:
    """What one student handed in; what is wrong with it is said in `problem`."""
    names = tuple(printable(path.name) for path in paths)
    try:
        if len(paths) > 1:
            raise Unreadable(
                f"There are {len(paths)} submissions of this name: {', '.join(names)}. "
                "Which one counts has to be decided by a person."
            )
        data, name, files = content(paths[0], assignment)
        cells, open_answers = parsed(data, name, assignment.parameters)
        digest = hashlib.sha256(data + json.dumps(files, sort_keys=True).encode()).hexdigest()
        return Submission(student, names, cells, open_answers, "", digest, files)
    except Unreadable as error:
        problem = str(error)
    except Exception as error:  # damaged in whatever way: the others are graded all the same
        problem = f"It cannot be read: {type(error).__name__}."
    digest = hashlib.sha256(problem.encode()).hexdigest()
    return Submission(student, names, (), {}, problem, digest, {})


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def content(path: Path, assignment: Assignment) -> tuple[bytes, str, Files]:
    """Bytes and name of the one notebook that was handed in, and the files beside it."""
    held = opened(path)
    if len(held) == 1 and path in held and path.suffix.lower() not in KINDS:
        raise Unreadable(f"{printable(path.name)} is no notebook: .ipynb, .py or a .zip of one.")
    chosen = only(list(held), assignment)
    if chosen.suffix.lower() == ".zip":  # in a folder; what lies beside the zip counts, too
        inside = opened(chosen)
        held, chosen = held | inside, only(list(inside), assignment)
    return held[chosen](), chosen.name, beside(held, assignment.files)


def only(paths: list[Path], assignment: Assignment) -> Path:
    """The notebook among the files: the one of that name, or the only one."""
    notebooks = [path for path in paths if path.suffix.lower() in (".ipynb", ".zip")]
    scripts = [p for p in paths if p.suffix.lower() == ".py" and p.stem not in assignment.public]
    found = notebooks or scripts
    named = [path for path in found if path.stem.lower() == assignment.name.lower()]
    if len(named or found) == 1:
        return (named or found)[0]
    raise Unreadable(
        f"{len(found)} notebooks are in it; hand in one, called {assignment.name}.ipynb."
    )


def beside(held: Readers, names: Sequence[str]) -> Files:
    """The text of the files that belong to an assignment, by the names that it gives them.

    A file of that kind under another name is taken if it is the only one: `a3_table (1).csv`.
    """
    found = {}
    for name in names:
        alike = [path for path in held if path.suffix.lower() == Path(name).suffix]
        named = [path for path in alike if path.name.lower() == name]
        chosen = named or [path for path in alike if "rehearsal" not in path.name.lower()]
        if len(chosen) == 1:
            found[name] = text_of(held[chosen[0]]())[:LONGEST_FILE]
        elif chosen:
            found[name] = f"{len(chosen)} files could be {name}"
    return found
