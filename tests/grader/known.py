"""What the galleries of answers are made of, for every assignment."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

FILES = {"A3": {"a3_table.csv": Path(__file__).with_name("a3_table.csv").read_text("utf-8")}}


class Wrong(NamedTuple):
    """old -> new in the reference answer, and {check: misconception}."""

    old: str
    new: str
    loses: dict[str, str]


class WrongFile(NamedTuple):
    """A file that was handed in beside the right notebook, changed; and {check: misconception}.

    beside: files that the teacher adds
    """

    change: Callable[[str], str]
    loses: dict[str, str]
    beside: Mapping[str, str] = {}


class Gallery(NamedTuple):
    """Of one task: its cell in the assignment, answers that are right, and wrong ones, by name."""

    task: str
    cell: str
    right: Mapping[str, str]
    wrong: Mapping[str, Wrong]
    wrong_files: Mapping[str, WrongFile] = {}


def everywhere(checks: tuple[str, ...], misconception: str) -> dict[str, str]:
    return dict.fromkeys(checks, misconception)


def until(answers: Mapping[str, str], cell: str) -> str:
    """The code of the answers up to this cell: what comes later takes time, and no part in it."""
    names = list(answers)
    return "\n".join(answers[name] for name in names[: names.index(cell) + 1])


def mistaken(answers: Mapping[str, str], cell: str, wrong: Wrong) -> str:
    """The answers up to this one, with a mistake in it. Raises ValueError if it is none."""
    after = answers[cell].replace(wrong.old, wrong.new)
    if after == answers[cell]:
        raise ValueError(f"{wrong.old!r} is not in the reference: fix the gallery of {cell}.")
    return until({**answers, cell: after}, cell)


def changed_files(assignment: str, wrong: WrongFile) -> dict[str, str]:
    """All files of an assignment, changed. Raises ValueError if nothing was."""
    before = FILES[assignment]
    after = {name: wrong.change(text) for name, text in before.items()} | wrong.beside
    if after == before:
        raise ValueError(f"the files of {assignment} are the same after the change")
    return after
