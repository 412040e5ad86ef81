"""Judging answers: a fault of a check costs that check and is seen, never the whole submission."""

import pytest
import torch

from annlib.course.assignments.base import NO_ANSWER, NOT_JUDGED, Answer, Call, Check
from annlib.grader.marking import judged

ONE = Answer(torch.tensor(1.0), {}, "")


def test_a_check_that_cannot_compare_is_marked_so_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = Check("odd", 1, [Call("f", ())], lambda answers: 1 // 0)
    assert judged(check, iter([ONE])) is NOT_JUDGED
    assert "'odd'" in caplog.text and "ZeroDivisionError" in caplog.text


def test_each_check_takes_its_own_answers() -> None:
    check = Check("two", 1, [Call("f", ())] * 2, lambda answers: None)
    answers = iter([ONE, ONE, ONE])
    assert judged(check, answers) is None
    assert judged(check, answers) is NO_ANSWER
