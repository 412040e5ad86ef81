"""Finds submissions and reads them as plain text; nothing of them runs here.

A student is a file (anna.ipynb, anna.zip) or a folder (anna/A1.ipynb) in the folder of submissions.
"""

import base64
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import unquote

from PIL import Image

from annlib.files import what_came_instead
from annlib.grader import archives
from annlib.grader.archives import NO_SUBMISSION, Readers, Unreadable, kind_of
from annlib.grader.by_hand import TEMPLATE
from annlib.grader.judge import Assignment, Files, Submission
from annlib.grader.tables import with_commas

MOST_CELLS, MOST_MODULES = 2000, 20
LONGEST_ANSWER, LONGEST_FILE = 20_000, 2**20  # letters; an answer of ten pages
MOST_IMAGES, MOST_IMAGE, MOST_SIDE = 20, 2**20, 4000  # of all answers; letters of base64; pixels
IMAGE = re.compile(r"(?:iVBORw0KGgo|/9j/)[A-Za-z0-9+/]{30,}=*")  # PNG, JPEG
INLINE = re.compile(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/]+=*)")  # Colab's, in a text
TAG_OF_IMAGE = re.compile(r"""<img\b[^<>]{0,300}?\bsrc=["']([^"'\s<>]+)["'][^<>]{0,300}>""")
LEFT_OUT = re.compile(r"image:\w{32}|!\[[^]\n]{0,300}\]\((?!image:)|\(cut here|is not shown:")
INJECTED = "injected-parameters"  # of a notebook that papermill has run; ours take their place
# `# %% title` of VS Code and jupytext, `# In[3]:` of nbconvert
SCRIPT_CELL = re.compile(r"^# ?(?:%%(.*)|In\[[ \d]*\]:\s*)$", re.MULTILINE)
SCRIPT_TAG = re.compile(r'"(open:[\w-]+|parameters)"')
DEFINED = re.compile(r"^[ \t]*(?:def|class)[ \t]+(\w+)|^(\w+)[ \t]*=[^=]", re.MULTILINE)
LEFT = re.compile(r"^[ \t]*(?:return )?\.\.\.[ \t\r]*$", re.MULTILINE)  # of a task not done
HEADING = re.compile(r"#+ (?:[^\n:]*: )?(.*)")  # of a task
POINTS = re.compile(r"^\*[\d.]+ points.*", re.MULTILINE)  # below it; a teacher may change them
KINDS, WORKBOOKS = (".ipynb", ".py"), (".xlsx", ".xls", ".ods", ".numbers")
# Letters of other alphabets that look like Latin ones.
LOOK_ALIKE = str.maketrans("аеорсухіјѕһԁԛѡαονρυχι", "aeopcyxijshdqwaovpuxi")


class Cell(NamedTuple):
    """kind: "code" or "markdown". tags: of a notebook; what a list of strangers holds.
    outputs: text below code. images: name of an attachment, or "output" and a number -> base64"""

    kind: str
    source: str
    tags: list
    outputs: str = ""
    images: Mapping[str, str] = {}


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
        source = joined(cell.get("source", cell.get("input")))  # of format 3
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


def joined(value: object) -> str:
    """A string or its lines, as notebooks hold them; "" for anything else."""
    parts = value if isinstance(value, list) else [value]
    return "".join(part for part in parts if isinstance(part, str))


def is_shown(image: str) -> bool:
    """Whether base64 is a PNG or JPEG, and small: a browser would need memory for all pixels."""
    if len(image) > MOST_IMAGE or not IMAGE.fullmatch(image):
        return False
    try:
        with Image.open(io.BytesIO(base64.b64decode(image)), formats=("PNG", "JPEG")) as found:
            return max(found.size) <= MOST_SIDE
    except Exception:  # Pillow's errors for damaged files have no common name
        return False


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
        image = joined(data.get("image/png", data.get("image/jpeg"))).replace("\n", "")
        text = joined(data.get("text/plain", one.get("text"))).strip("\n")
        if is_shown(image):
            images[name] = image
        elif text.strip():
            text += " (its image is not shown: too large, or not a PNG or JPEG)" * bool(image)
            texts.append(cut(text).encode("utf-8", "replace").decode())
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
    Markdown, with code and its outputs between marks, and images by their names (`image_name`)."""
    asked = {f"open:{one.name}": one for one in assignment.questions}
    tags = [[asked[t] for t in c.tags if isinstance(t, str) and t in asked] for c in cells]
    titles = {task.title: None for task in assignment.tasks}
    titles |= {question.title: question.name for question in asked.values()}
    found: dict[str, list[str]] = {}
    question = None
    for cell, own in zip(cells, tags, strict=True):
        if any(":" in str(tag) or tag == "instructor" for tag in cell.tags):  # not a student's own
            question = own[0].name if own else None
        heading = HEADING.match(cell.source) if cell.kind == "markdown" and not own else None
        if heading and heading[1].strip() in titles:
            question = titles[heading[1].strip()]
            cell = cell._replace(source=own_text(cell.source, released))
            if not cell.source:
                continue
        if question:
            is_code = cell.kind == "code"
            text = cell.source if is_code else TAG_OF_IMAGE.sub(r"![](\1)", cell.source)
            text = INLINE.sub(lambda found: image_name(found[1]), text.strip())
            text = re.sub(r"attachment:[^\s)]+", lambda found: unquote(found[0]), text)
            if is_code and text:
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
    """The images of the answers by name, base64."""
    found = [(*INLINE.findall(cell.source), *cell.images.values()) for cell in cells]
    images = {image_name(one): one for some in found for one in some}
    text = "".join(answers.values())
    shown = ((name, one) for name, one in images.items() if name in text and is_shown(one))
    return dict(islice(shown, MOST_IMAGES))


def cells_of(data: bytes, name: str) -> list[Cell]:
    is_notebook = kind_of(PurePath(name)) == ".ipynb"
    return (notebook_cells if is_notebook else script_cells)(text_of(data))


def parsed(
    data: bytes, name: str, assignment: Assignment, released: str = ""
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Code cells, and the answers to open questions.
    The parameters of the assignment end the cell that is tagged so, as papermill would inject them;
    where no cell is, those that set the first of them: some editors drop all tags."""
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


def listed(names: Iterable[str]) -> str:
    first, others = (found := [*names])[:8], len(found) - 8
    return printable(", ".join(first)) + (f" and {others} more" if others > 0 else "")


def look_of(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().translate(LOOK_ALIKE)


def collect(folder: Path, assignment: Assignment, released: str = "") -> list[Submission]:
    """Every submission in the folder, by student; ValueError if none.  released: see own_text"""
    entries: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if not folder.is_file() else ():
        named = None if path.is_dir() else archives.NAME.fullmatch(path.name)
        name = f"{named[1]}{named[3] or ''}" if named else path.name
        student = printable(unicodedata.normalize("NFC", name).strip())[:100]
        if not NO_SUBMISSION.fullmatch(path.name):
            entries.setdefault(student, []).append(path)
    if not entries:
        said = f"{folder} holds no submissions, one file or folder for each student: unpack a zip"
        raise ValueError(f"{said} of all, and give the folder.")
    found = [submission(folder, *one, assignment, released) for one in entries.items()]
    looks = [look_of(one.student) for one in found]
    for number, one in enumerate(found):
        if looks.count(looks[number]) > 1:
            names = [other.student for n, other in enumerate(found) if looks[n] == looks[number]]
            warning = f"names that look the same: {', '.join(map(ascii, names))}"
            found[number] = one._replace(note=f"{one.note} {warning}".strip())
    return sorted(found, key=lambda one: one.student)


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
        held, left = archives.opened(folder, path)
        if [*held] == [path] and kind_of(path) not in KINDS:
            raise Unreadable(f"{names[0]} is not a notebook: .ipynb, .py or a .zip of one.")
        chosen, note = chosen_of(held, assignment)
        data, near = held[chosen](), modules_beside(held, chosen, assignment)
        files, taken = beside(held, assignment.files)
        files |= near
        cells, answers = parsed(data, chosen.name, assignment, released)
        digest = hashlib.sha256(data + json.dumps(files, sort_keys=True).encode()).hexdigest()
        whole = cells_of(data, chosen.name)
        marked = [cell for cell in whole if cell.kind == "markdown"]
        text = "\n\n".join(cell.source for cell in marked if "header" not in cell.tags)
        titles = (cell.source for cell in marked if cell.source.startswith("# "))
        title = next(titles, assignment.name).partition("\n")[0].removeprefix("# ")
        other = not defined(cells, assignment) and assignment.name not in title
        renamed = [p.name for p in {path: 0, chosen: 0} if kind_of(p) != p.suffix.lower()]
        file = chosen if isinstance(chosen, Path) else path
        same = {"", TEMPLATE} & {*answers.values()}
        missing = [one.name for one in assignment.questions if one.name not in answers]
        images = images_in(whole, answers)
        lost = [n for one in answers.values() for n in LEFT_OUT.findall(one) if n not in images]
        in_text = defined((c.source for c in whole if c.kind != "code"), assignment)
        in_text -= defined(cells, assignment)
        told = {
            f"Not opened: {listed(left)}; hand in a zip.": left,
            f"Read as {kind_of(chosen)[1:]}: {listed(renamed)}.": renamed,
            "It is a hard link, and elsewhere, too.": file.is_file() and file.stat().st_nlink > 1,
            f"It can import or run what is beside it: {listed(near)}.": near,
            f"No task of {assignment.name} is in it, and its title is {printable(title)}.": other,
            f"In a cell that is not code: {listed(sorted(in_text))}.": in_text,
            "An answer is cut, or has images that are not shown: look into the notebook.": lost,
            f"No answer cell found for {listed(missing)}: look into the notebook.": missing,
            "An answer cell is as it was, but there is text elsewhere in the notebook.": same
            and own_text(f"\n{text}", released),
        }
        note = " ".join([note, *taken, *(words for words, holds in told.items() if holds)]).strip()
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
    """The notebook to grade, and a note if there are several. A script counts beside notebooks with
    nothing done; what another notebook imports or runs does not.
    Of several the one that does most tasks, then the one that defines or answers most, so that
    neither an untouched copy nor other work counts; then the one with the fewest `...` left, then
    the one of the assignment's name, then the one outside of a zip."""
    files = [p for p in held if kind_of(p) in KINDS and p.stem not in assignment.public]
    files.sort(key=lambda p: (assignment.name.lower() not in p.stem.lower(), kind_of(p)))
    codes: dict[PurePath, tuple[tuple[str, ...], dict[str, str]]] = {}
    for path in files[:20]:
        codes[path] = (), {}
        with suppress(Unreadable):
            codes[path] = parsed(held[path](), path.name, assignment)
    notebooks = [path for path in codes if kind_of(path) == ".ipynb"]

    def done(path: PurePath) -> int:
        return len(defined((c for c in codes[path][0] if not LEFT.search(c)), assignment))

    def used(path: PurePath) -> bool:
        call = re.compile(rf"(?:import|from|%run)\s+\S*\b{re.escape(path.stem)}\b")
        return any(call.search(c) for one in notebooks if one != path for c in codes[one][0])

    found = [path for path in notebooks if not used(path)] or notebooks or [*codes]
    if not any(map(done, found)):
        found += [path for path in codes if path not in found and done(path) and not used(path)]

    def order(path: PurePath) -> tuple[int, int, int, bool, bool]:
        code, answers = codes[path]
        left = sum(len(LEFT.findall(cell)) for cell in code) if code else 10**9
        known = len(defined(code, assignment)) + len(answers)
        other = path.stem.lower() != assignment.name.lower()
        return -done(path), -known, left, other, archives.packed(path)

    ranked = sorted(((order(path), path) for path in found[:20]), key=lambda one: one[0])
    same = [held[path]() for rank, path in ranked if rank == ranked[0][0]]
    if len({*same}) != 1:
        there = f"notebooks are in it ({listed(sorted(p.name for p in found or held)[:5])})"
        raise Unreadable(f"{len(found)} {there}; hand in one, {assignment.name}.ipynb.")
    chosen = ranked[0][1]
    names = listed(p.name for p in files if p != chosen and (p in found or p not in codes))
    return chosen, f"{printable(chosen.name)} was graded; not graded: {names}." if names else ""


def modules_beside(held: Readers, chosen: PurePath, assignment: Assignment) -> Files:
    """Scripts in the notebook's folder, and the code of notebooks there that it runs by %run."""
    found, text = {}, text_of(held[chosen]())
    for path in [one for one in held if one.parent == chosen.parent and one != chosen]:
        if path.suffix == ".py" and path.stem not in assignment.public:
            found[path.name] = text_of(held[path]())
        elif path.suffix == ".ipynb" and "%run" in text and path.name in text:
            with suppress(Unreadable):
                cells = notebook_cells(text_of(held[path]()))
                found[path.name] = "\n\n".join(one.source for one in cells if one.kind == "code")
    return {name: found[name][:LONGEST_FILE] for name in islice(found, MOST_MODULES)}


def beside(held: Readers, names: Sequence[str]) -> tuple[Files, list[str]]:
    """The text of an assignment's files by name, and notes on what was taken for them.
    One of another name counts if it is alone: `a3_table (1).csv`. A workbook cannot be read."""
    found, notes = {}, []
    for name in names:
        same_kind = [path for path in held if kind_of(path) == Path(name).suffix]
        called = [path for path in same_kind if path.name.lower() == name]
        chosen = called or [path for path in same_kind if "rehearsal" not in path.name.lower()]
        outside = [path for path in chosen if not archives.packed(path)] or chosen
        form = with_commas if name.endswith(".csv") else str
        texts = {form(text_of(held[path]())[:LONGEST_FILE]) for path in outside}
        books = [path for path in held if kind_of(path) in WORKBOOKS]
        there = listed(path.name for path in outside or books)
        if len(texts) == 1:
            found[name] = texts.pop()
            notes += [] if called else [f"Read as {name}: {there}."]
        elif there:
            several = f"{len(outside)} files could be {name}: {there}."
            found[name] = several if outside else f"{there} is not {name}: save it as CSV."
            notes.append(found[name])
    return found, notes
