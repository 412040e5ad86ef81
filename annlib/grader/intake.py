"""Finds what students handed in, and reads it as plain text: nothing of it runs here.

A student is a file (anna.ipynb, anna.zip) or a folder (anna/A1.ipynb) in the folder of submissions.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from annlib.course.grading.assignment import Assignment, Files
from annlib.course.grading.opening import Readers, Unreadable, opened
from annlib.course.grading.parsing import parsed, text_of

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
