"""Judging answers: what a check and a student get to see of them; faults cost one check."""

import pytest
import torch

from annlib.course.assignments.a1 import A1
from annlib.grader.feedback import feedback
from annlib.grader.gradebook import Gradebook, total
from annlib.grader.hidden_checks import (
    NO_ANSWER,
    WRONG_SHAPE,
    WRONG_TYPE,
    Answer,
    Call,
    Check,
    compared,
    failed,
    numbers,
    shown,
)
from annlib.grader.judge import NOT_JUDGED, Result, decoded, judged
from annlib.grader.protocol import Message


def stopped_by(name: object) -> Answer:
    return decoded(Message({"error": {"type": name}}, {}))


def test_a_class_of_error_is_shown_only_if_it_is_pythons_own() -> None:
    assert shown("ZeroDivisionError") == "ZeroDivisionError"
    assert failed([stopped_by("IndexError")]) == "stops with IndexError"
    for name in ("carried", "[[3, 18, 7]]", "print", "type"):
        assert failed([stopped_by(name)]) == "stops with an error of its own"


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
    eve = Result("eve", (), "", "finished", failures, (), {})
    page = feedback(A1, eve, total(A1, eve, Gradebook()), Gradebook())
    assert "KeyError" in page and "an error of its own" in page
    assert "18, 7" not in page and "carried" not in page


def number(value: object) -> Answer:
    return Answer(torch.as_tensor(value), {}, "")


def test_a_complex_number_is_not_a_number_of_operations() -> None:
    expected = [torch.tensor(1024.0, dtype=torch.float64)]

    def found(value: object) -> str:
        return compared([number(value)], lambda: expected, {}, any_type=True)

    assert found(1024 + 7j) == WRONG_TYPE
    assert found(1024) == found(torch.tensor(1024.0)) == ""


def test_an_answer_of_many_numbers_is_not_made_a_list() -> None:
    """48 MiB of int8 once became 3.2 GB."""
    many = torch.zeros(1, dtype=torch.int8).expand(48 * 2**20)  # takes one byte
    assert numbers([number(many)]) == numbers([number([1, 2])]) == WRONG_SHAPE
    assert numbers([number([1, 2])], 2) == [[1.0, 2.0]]


def test_a_check_that_cannot_compare_is_marked_so_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = Check("odd", 1, [Call("f", ())], lambda answers: 1 // 0)
    assert judged(check, iter([number(1)])) == NOT_JUDGED
    assert "'odd'" in caplog.text and "ZeroDivisionError" in caplog.text


def test_each_check_takes_its_own_answers() -> None:
    check = Check("two", 1, [Call("f", ())] * 2, lambda answers: "")
    answers = iter([number(1)] * 3)
    assert judged(check, answers) == ""
    assert judged(check, answers) == NO_ANSWER
