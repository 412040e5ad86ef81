"""Assignments of a teacher's own, in a folder outside the package: makes one, and loads it."""

import re
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from annlib.grader.judge import Assignment

SKELETON = Path(__file__).with_name("skeleton")
REPORTING = Path(__file__).parents[1] / "course/assignments/not_yet.py"  # for public checks
FILE = "assignment.py"


def load(folder: Path, others: Sequence[str]) -> Assignment:
    """The ASSIGNMENT of its assignment.py, which is executed; raises ValueError.

    others: names of annlib's own, for the message
    """
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


def make(name: str, out: Path) -> Path:
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
