"""Finds submissions (folder, file or zip) and reads them as plain text; nothing of them runs here.

Nothing is unpacked, so no path can escape; no link is followed. A student is a file (anna.ipynb,
anna.zip) or a folder (anna/A1.ipynb) in the folder of submissions.
"""

import base64
import hashlib
import io
import json
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import islice
from lzma import LZMAError
from pathlib import Path, PurePath
from typing import NamedTuple

from annlib.files import what_came_instead
from annlib.grader.by_hand import TEMPLATE
from annlib.grader.judge import Assignment, Files, Submission
from annlib.grader.tables import with_commas

MOST_BYTES = 20 * 2**20  # of a notebook with its images
MOST_FILES, MOST_CELLS, MOST_ARCHIVES, MOST_MODULES = 2000, 2000, 5, 20
LONGEST_ANSWER, LONGEST_FILE = 20_000, 2**20  # letters; an answer of ten pages
MOST_IMAGES, MOST_IMAGE = 20, 2**20  # of a cell and of all answers; letters of base64
MOST_SIDE = 4000  # pixels
PNG = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/]{30,}=*")
INJECTED = "injected-parameters"  # of a notebook that papermill has run; ours take their place
# `# %% title` of VS Code and jupytext, `# In[3]:` of nbconvert
SCRIPT_CELL = re.compile(r"^# ?(?:%%(.*)|In\[[ \d]*\]:\s*)$", re.MULTILINE)
SCRIPT_TAG = re.compile(r'"(open:[\w-]+|parameters)"')
DEFINED = re.compile(r"^\s*(?:def|class)\s+(\w+)|^(\w+)\s*=[^=]", re.MULTILINE)
LEFT = re.compile(r"^\s*(?:return )?\.\.\.\s*$", re.MULTILINE)  # of a task not done
HEADING = re.compile(r"#+ (?:[^\n:]*: )?(.*)")  # of a task
POINTS = re.compile(r"^\*[\d.]+ points.*", re.MULTILINE)  # below it; a teacher may change them
KINDS = (".ipynb", ".py")
NO_SUBMISSION = re.compile(  # what systems leave in folders
    r"\._.*|\.DS_Store|__MACOSX|\.ipynb_checkpoints|Thumbs\.db|desktop\.ini"
)
# Letters of other alphabets that look like Latin ones.
LOOK_ALIKE = str.maketrans("аеорсухіјѕһԁԛѡαονρυχι", "aeopcyxijshdqwaovpuxi")
DAMAGED = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, IndexError, zlib.error, LZMAError)
Readers = dict[PurePath, Callable[[], bytes]]


class Unreadable(ValueError):
    """What was handed in is not a notebook; the message is for the student."""


class Cell(NamedTuple):
    """kind: "code" or "markdown". tags: of a notebook; what a list of strangers holds.

    outputs: text below code. images: name of an attachment, or "output" and a number -> PNG, base64
    """

    kind: str
    source: str
    tags: list
    outputs: str = ""
    images: Mapping[str, str] = {}


def read(folder: Path, path: Path) -> bytes:
    """A file below the folder. Every part is opened without following links: none can be put there
    between looking and reading."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in path.relative_to(folder).parts:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # the last, for a pipe
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not an ordinary file")
        if status.st_size > MOST_BYTES:
            raise Unreadable(f"It has {status.st_size / 2**20:,.0f} MiB: clear the outputs.")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        reason = "It is a link or not an ordinary file. Hand in the notebook itself."
        raise Unreadable(reason) from error
    finally:
        os.close(descriptor)


def opened(folder: Path, path: Path) -> Readers:
    """The ordinary files in it, each with a function that reads it; raises Unreadable."""
    if path.is_dir() and not path.is_symlink():
        below = list(islice(path.rglob("*"), MOST_FILES + 1))
        if len(below) > MOST_FILES:
            raise Unreadable(f"It has more than {MOST_FILES} files: hand in the notebook alone.")
        files = [one for one in sorted(below) if one.is_file() and not one.is_symlink()]
        ours = [one for one in files if not any(map(NO_SUBMISSION.fullmatch, one.parts))]
        return {one: partial(read, folder, one) for one in ours}
    reader = partial(read, folder, path)
    return opened_zip(reader()) if path.suffix.lower() == ".zip" else {path: reader}


def opened_zip(data: bytes) -> Readers:
    """The files in a zip, but for what systems leave there."""
    if data.count(b"PK\1\2") > MOST_FILES:
        raise Unreadable(f"The zip has more than {MOST_FILES} files.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {PurePath(e.filename): e for e in archive.infolist() if not e.is_dir()}
    except DAMAGED as error:
        raise Unreadable("The zip is damaged.") from error
    outside = [name for name in entries if name.is_absolute() or ".." in name.parts]
    if outside or any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries.values()):
        raise Unreadable("The zip has links, or paths that lead out of it.")

    def read_entry(entry: zipfile.ZipInfo) -> bytes:
        """No longer than its header says or than a notebook may be."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(entry) as stream:
                found = stream.read(MOST_BYTES + 1)
        except DAMAGED as error:
            raise Unreadable("The zip is damaged, or locked by a password.") from error
        if len(found) > MOST_BYTES:
            raise Unreadable("The notebook in the zip is far too large: clear the outputs.")
        return found

    return {
        name: partial(read_entry, entry)
        for name, entry in entries.items()
        if not any(map(NO_SUBMISSION.fullmatch, name.parts))
    }


def text_of(data: bytes) -> str:
    return data.decode("utf-16" if {*data[:2]} == {0xFE, 0xFF} else "utf-8-sig", errors="replace")


def notebook_cells(text: str) -> list[Cell]:
    """The cells of a notebook, format 4 or older, whatever else its JSON holds."""
    try:
        notebook = json.loads(text)
    except ValueError as error:
        reason = what_came_instead(text[:300].encode()) or " Its text is damaged (no JSON)."
        raise Unreadable(f"It is not a notebook.{reason}") from error
    if not isinstance(notebook, dict):
        raise Unreadable("It is not a notebook: JSON, but of something else.")
    sheets = notebook.get("worksheets")
    holders = sheets if isinstance(sheets, list) else [notebook]
    lists = [one.get("cells") for one in holders if isinstance(one, dict)]
    plain = [c for some in lists if isinstance(some, list) for c in some if isinstance(c, dict)]
    if not plain or len(plain) > MOST_CELLS:
        raise Unreadable(f"It is a notebook with {len(plain)} cells: nothing that can be graded.")
    cells = []
    for cell in plain:
        source = cell.get("source", cell.get("input", ""))  # one string or lines; format 3: input
        source = "".join(map(str, source)) if isinstance(source, list) else str(source)
        metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        tags, nbgrader = metadata.get("tags"), metadata.get("nbgrader")
        # nbgrader keeps names elsewhere, and open-NAME there is open:NAME here
        name = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
        named = [name.replace("-", ":", 1)] if isinstance(name, str) else []
        # JSON may hold halves of characters, which no file can be written with
        sound = source.encode("utf-8", "replace").decode()
        tags = (tags if isinstance(tags, list) else []) + named
        cells.append(Cell(str(cell.get("cell_type")), sound, tags, *shown_in(cell)))
    return cells


def shown_in(cell: dict) -> tuple[str, dict[str, str]]:
    """Text and images of a cell, as they were handed in: nobody knows what made them."""
    found, texts, images = {}, [], {}
    if isinstance(cell.get("attachments"), dict):
        found |= {f"attachment:{name}": one for name, one in cell["attachments"].items()}
    if isinstance(cell.get("outputs"), list):
        found |= {f"output {number}": one for number, one in enumerate(cell["outputs"], 1)}
    for name, one in islice(found.items(), MOST_CELLS):
        one = one if isinstance(one, dict) else {}
        data = one["data"] if isinstance(one.get("data"), dict) else one
        image, text = data.get("image/png"), data.get("text/plain", one.get("text"))
        text = "".join(map(str, text)) if isinstance(text, list) else text
        image = image.replace("\n", "") if isinstance(image, str) else ""
        is_png = len(image) <= MOST_IMAGE and PNG.fullmatch(image)
        # Width and height by the header: a browser would need memory for all pixels.
        if is_png and max(struct.unpack(">II", base64.b64decode(image[:32])[16:])) <= MOST_SIDE:
            images[name] = image
        elif isinstance(text, str) and text.strip():
            texts.append(cut(text.strip("\n")).encode("utf-8", "replace").decode())
    return "\n".join(texts), images


def cut(text: str) -> str:
    more = len(text) - LONGEST_ANSWER
    note = f"\n\n(cut here: {more:,} more letters in the notebook)" if more > 0 else ""
    return text[:LONGEST_ANSWER] + note


def script_cells(text: str) -> list[Cell]:
    """The cells of a script; one cell where it has no marks of cells."""
    first, *others = SCRIPT_CELL.split(text)
    titles, bodies = others[::2], others[1::2]
    if len(bodies) > MOST_CELLS:
        raise Unreadable(f"It is a script with {len(bodies)} cells: nothing that can be graded.")
    cells = [Cell("code", first, [])]
    for title, body in zip(titles, bodies, strict=True):
        kind = "markdown" if "[markdown]" in (title or "") else "code"
        if kind == "markdown":
            body = re.sub(r"^# ?", "", body.strip().strip('"'), flags=re.MULTILINE).strip()
        cells.append(Cell(kind, body, SCRIPT_TAG.findall(title or "")))
    return cells


def own_text(source: str, released: str) -> str:
    """The paragraphs below the first line that are not in `released`, what students were given."""
    parts = POINTS.sub("", source.partition("\n")[2]).split("\n\n") if released else []
    return "\n\n".join(part for part in parts if part.strip() not in released)


def open_answers(
    cells: Sequence[Cell], assignment: Assignment, released: str = ""
) -> dict[str, str]:
    """question -> text of all cells tagged open:QUESTION, and of new cells around them, in order.

    These are below the heading of its task, up to the next one; in the heading's cell, `own_text`.
    Markdown, with code and its outputs between marks, and images by their names (`image_name`).
    """
    asked = {f"open:{one.name}": one for one in assignment.questions}
    tags = [[asked[t] for t in c.tags if isinstance(t, str) and t in asked] for c in cells]
    titles = {task.title: None for task in assignment.tasks}
    titles |= {question.title: question.name for question in asked.values()}
    found: dict[str, list[str]] = {}
    question = None
    for cell, own in zip(cells, tags, strict=True):
        if cell.tags:
            question = own[0].name if own else None
        heading = HEADING.match(cell.source) if cell.kind == "markdown" and not own else None
        if heading and heading[1].strip() in titles:
            question = titles[heading[1].strip()]
            cell = cell._replace(source=own_text(cell.source, released))
            if not cell.source:
                continue
        if question:
            text = cell.source.strip()
            if cell.kind == "code" and text:
                text = f"~~~python\n{text}\n~~~"
            text += f"\n\n~~~\n{cell.outputs}\n~~~" if cell.outputs else ""
            for name, image in cell.images.items():
                if name.startswith("attachment:") and name in text:
                    text = text.replace(name, image_name(image))
                else:
                    text += f"\n\n![{name}]({image_name(image)})"
            found.setdefault(question, []).append(text)
    return {name: cut("\n\n".join(parts).strip()) for name, parts in found.items()}


def image_name(image: str) -> str:
    """What stands for an image in the text of an answer."""
    return f"image:{hashlib.sha256(image.encode()).hexdigest()[:32]}"


def images_in(cells: Sequence[Cell], answers: Mapping[str, str]) -> dict[str, str]:
    """The images of the answers by name: PNG, base64."""
    images = {image_name(one): one for cell in cells for one in cell.images.values()}
    whole = "".join(answers.values())
    return dict(islice(((n, one) for n, one in images.items() if n in whole), MOST_IMAGES))


def cells_of(data: bytes, name: str) -> list[Cell]:
    return (notebook_cells if name.lower().endswith(".ipynb") else script_cells)(text_of(data))


def parsed(
    data: bytes, name: str, assignment: Assignment, released: str = ""
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Code cells, and the answers to open questions.

    The parameters of the assignment end the cell that is tagged so, as papermill would inject them;
    where no cell is, those that set the first of them: some editors drop all tags.
    """
    cells = cells_of(data, name)
    ends = [cell for cell in cells if "parameters" in cell.tags]
    if first := re.match(r"\w+", assignment.parameters):
        ends = ends or [c for c in cells if re.search(rf"^{first[0]}\b.*=", c.source, re.M)]
    code = tuple(
        f"{cell.source}\n{assignment.parameters}" if first and cell in ends else cell.source
        for cell in cells
        if cell.kind == "code" and INJECTED not in cell.tags
    )
    return code, open_answers(cells, assignment, released)


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def look_of(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().translate(LOOK_ALIKE)


def collect(folder: Path, assignment: Assignment, released: str = "") -> list[Submission]:
    """Every submission in the folder, by student; ValueError if none.  released: see own_text"""
    entries: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not NO_SUBMISSION.fullmatch(path.name):
            entries.setdefault(student_of(path), []).append(path)
    if not entries:
        raise ValueError(f"{folder} holds no submissions: one file or folder for each student.")
    found = [submission(folder, *one, assignment, released) for one in entries.items()]
    same: dict[str, list[str]] = {}
    for one in found:
        same.setdefault(look_of(one.student), []).append(one.student)
    for number, one in enumerate(found):
        if len(names := same[look_of(one.student)]) > 1:
            warning = f"names that look the same: {', '.join(map(ascii, names))}"
            found[number] = one._replace(note=f"{one.note} {warning}".strip())
    return sorted(found, key=lambda one: one.student)


def student_of(path: Path) -> str:
    """The student's name, fit to be shown: of a file without its suffix, but with other dots."""
    known = path.suffix.lower() in (*KINDS, ".zip") and not path.is_dir()
    name = path.stem if known else path.name
    return printable(unicodedata.normalize("NFC", name).strip())[:100]


def submission(
    folder: Path, student: str, paths: list[Path], assignment: Assignment, released: str
) -> Submission:
    """What one student handed in; what is wrong with it is said in `problem`."""
    names = tuple(printable(path.name) for path in paths)
    try:
        if len(paths) > 1:
            several = f"There are {len(paths)} submissions of this name: {', '.join(names)}. "
            raise Unreadable(f"{several}Which one counts has to be decided by a person.")
        (path,) = paths
        held = opened(folder, path)
        if [*held] == [path] and path.suffix.lower() not in KINDS:
            raise Unreadable(f"{names[0]} is not a notebook: .ipynb, .py or a .zip of one.")
        found = any(one.suffix.lower() == ".ipynb" for one in held)  # beside a damaged zip
        for one in [one for one in held if one.suffix.lower() == ".zip"][:MOST_ARCHIVES]:
            with suppress(Unreadable) if found else nullcontext():
                held |= {one / name: data for name, data in opened_zip(held[one]()).items()}
        chosen, note = chosen_of(held, assignment)
        file = chosen if isinstance(chosen, Path) else path
        if file.is_file() and file.stat().st_nlink > 1:
            note += " The file is a hard link: it is elsewhere on this disk, too."
        data, files = held[chosen](), beside(held, assignment.files)
        near = [p for p in held if p.suffix == ".py" and p.parent == chosen.parent and p != chosen]
        modules = {p.name: p for p in near[:MOST_MODULES] if p.stem not in assignment.public}
        files |= {name: text_of(held[path]())[:LONGEST_FILE] for name, path in modules.items()}
        if modules:
            note += f" It can import what is beside it: {printable(', '.join(modules))}."
        cells, answers = parsed(data, chosen.name, assignment, released)
        digest = hashlib.sha256(data + json.dumps(files, sort_keys=True).encode()).hexdigest()
        whole = cells_of(data, chosen.name)
        titles = (c.source for c in whole if c.kind == "markdown" and c.source.startswith("# "))
        title = printable(next(titles, assignment.name).partition("\n")[0].removeprefix("# "))
        if not defined(cells, assignment) and assignment.name not in title:
            note += f" No task of {assignment.name} is in it, and its title is {title}."
        if missing := ", ".join(q.name for q in assignment.questions if q.name not in answers):
            note += f" No answer cell found for {missing}: look into the notebook."
        text = [c.source for c in whole if c.kind == "markdown" and "header" not in c.tags]
        if {"", TEMPLATE} & {*answers.values()} and own_text("\n" + "\n\n".join(text), released):
            note += " An answer cell is as it was, but there is text elsewhere in the notebook."
        note = note.strip()
        images = images_in(whole, answers)
        return Submission(student, names, cells, answers, "", digest, files, note, images)
    except Unreadable as error:
        problem = str(error)
    except Exception as error:  # damaged in whatever way: the others are graded all the same
        problem = f"It cannot be read: {type(error).__name__}."
    return Submission(student, names, (), {}, problem, problem, {})


def defined(code: Iterable[str], assignment: Assignment) -> set[str]:
    """The tasks that code defines."""
    names = {name for cell in code for both in DEFINED.findall(cell) for name in both}
    return names & {task.name for task in assignment.tasks}


def chosen_of(held: Readers, assignment: Assignment) -> tuple[PurePath, str]:
    """The notebook to grade, and a note if there are several.

    Of several the one that does most tasks, then the one that defines or answers most, so that
    neither an untouched copy nor other work counts; then the one with the fewest `...` left, then
    the one of the assignment's name, then the one outside of a zip.
    """
    notebooks = [path for path in held if path.suffix.lower() == ".ipynb"]
    scripts = [p for p in held if p.suffix.lower() == ".py" and p.stem not in assignment.public]
    found = notebooks or scripts
    if len(found) == 1:
        return found[0], ""
    found.sort(key=lambda path: assignment.name.lower() not in path.stem.lower())

    def order(path: PurePath) -> tuple[int, int, int, bool, bool]:
        try:
            code, answers = parsed(held[path](), path.name, assignment)
        except Unreadable:
            return 0, 0, 10**9, True, True
        left = [len(LEFT.findall(cell)) for cell in code]
        done = defined((c for c, some in zip(code, left, strict=True) if not some), assignment)
        known = len(defined(code, assignment)) + len(answers)
        other = path.stem.lower() != assignment.name.lower()
        return -len(done), -known, sum(left), other, ".zip/" in path.as_posix()

    ranked = sorted(((order(path), path) for path in found[:20]), key=lambda one: one[0])
    same = [held[path]() for rank, path in ranked if rank == ranked[0][0]]
    if len({*same}) != 1:
        there = ", ".join(sorted(printable(path.name) for path in found or held)[:5])
        raise Unreadable(
            f"{len(found)} notebooks are in it ({there}); hand in one, {assignment.name}.ipynb."
        )
    names = ", ".join(printable(path.name) for path in [p for _, p in ranked[1:]] + found[20:])
    return ranked[0][1], f"{printable(ranked[0][1].name)} was graded; not graded: {names}."


def beside(held: Readers, names: Sequence[str]) -> Files:
    """The text of an assignment's files by name; of another name if alone: `a3_table (1).csv`."""
    found = {}
    for name in names:
        same_kind = [path for path in held if path.suffix.lower() == Path(name).suffix]
        called = [path for path in same_kind if path.name.lower() == name]
        chosen = called or [path for path in same_kind if "rehearsal" not in path.name.lower()]
        outside = [path for path in chosen if ".zip/" not in path.as_posix()] or chosen
        form = with_commas if name.endswith(".csv") else str
        if texts := {form(text_of(held[path]())[:LONGEST_FILE]) for path in outside}:
            found[name] = texts.pop() if len(texts) == 1 else f"{len(chosen)} files could be {name}"
    return found
