"""What the galleries of answers are made of, for every assignment."""

from collections.abc import Mapping
from typing import NamedTuple


class Wrong(NamedTuple):
    """old -> new in the reference answer, and {check: misconception}."""

    old: str
    new: str
    loses: dict[str, str]


class Gallery(NamedTuple):
    """Of one task: its cell in the assignment, answers that are right, and wrong ones, by name."""

    task: str
    cell: str
    right: Mapping[str, str]
    wrong: Mapping[str, Wrong]


def everywhere(checks: tuple[str, ...], misconception: str) -> dict[str, str]:
    return dict.fromkeys(checks, misconception)


def mistaken(answers: Mapping[str, str], cell: str, wrong: Wrong) -> str:
    """The code of all answers with this mistake in one. Raises ValueError if it is none."""
    before = answers[cell]
    after = before.replace(wrong.old, wrong.new)
    if after == before:
        raise ValueError(f"{wrong.old!r} is not in the reference: mend the gallery of {cell}.")
    return "\n".join(answers.values()).replace(before, after)
