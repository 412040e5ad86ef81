"""Answers that give a number back, and advice where they do not."""

from collections.abc import Callable
from math import isfinite

from annlib.course.exercises.checking import NotYet, expect


def attempt_number(student: Callable[..., float], *inputs: object) -> float:
    """The student's number; NotYet if there is none, with the numbers that went in."""
    name = getattr(student, "__name__", type(student).__name__)
    given = ", ".join(f"{value:,}" for value in inputs if isinstance(value, int | float))
    given = f" With {given}" if given else ""
    expect(callable(student), "Put your function in place of the three dots.")
    try:
        found = student(*inputs)
    except Exception as error:
        raise NotYet(f"{name} stopped with {type(error).__name__}: {error}.{given}.") from error
    expect(
        found is not None and found is not ...,
        f"{name} gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    number = isinstance(found, int | float) and not isinstance(found, bool)
    expect(number and isfinite(found), f"{name} gives {found!r}; a number is wanted.{given}.")
    return found
