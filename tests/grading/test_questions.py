"""What a judge and a student get to see of an answer."""

import torch

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.base import (
    WRONG_TYPE,
    Answer,
    as_numbers,
    compared,
    decoded,
    failed,
    shown,
)
from annlib.grader.feedback import feedback
from annlib.grader.marking import Result
from annlib.grader.protocol import Message


def stopped_by(name: object) -> Answer:
    return decoded(Message({"error": {"type": name}}, {}))


def test_a_class_of_error_is_shown_only_if_it_is_pythons_own() -> None:
    assert shown("ZeroDivisionError") == "ZeroDivisionError"
    assert failed([stopped_by("IndexError")]).name == "stops with IndexError"
    for name in ("carried", "[[3, 18, 7]]", "print", "type"):
        assert failed([stopped_by(name)]).name == "stops with an error of its own"


def test_the_class_of_an_error_can_be_written_to_a_file() -> None:
    for name in ("\ud800", "a\x1b[31m\n", ["a"], 10**9):
        stopped_by(name).error.encode()
    assert stopped_by("\ud800b").error == " b"
    assert stopped_by(["a"]).error == "NoAnswer"


def test_cells_that_failed_are_listed_without_classes_of_the_students_own() -> None:
    failures = tuple(
        {"cell": cell, "type": kind, "message": "carried"}
        for cell, kind in enumerate(("KeyError", "[[3, 18, 7]]"), 1)
    )
    page = feedback(A1, Result("eve", (), "", "finished", failures, (), {}), {})
    assert "KeyError" in page and "an error of its own" in page
    assert "18, 7" not in page and "carried" not in page


def test_a_complex_number_is_no_number_of_operations() -> None:
    right = torch.tensor(1024.0, dtype=torch.float64)
    answers = as_numbers([Answer(torch.complex(right, torch.full_like(right, 7)), {}, "")])
    assert compared(answers, [right], {}) is WRONG_TYPE
    assert compared(as_numbers([Answer(torch.tensor(1024), {}, "")]), [right], {}) is None
