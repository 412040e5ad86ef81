"""Correct work gets its points, however it is handed in."""

import pytest
from in_process import in_process
from kinds import KINDS, write

from annlib.course.assignments.a1 import A1
from annlib.grader.intake import collect
from annlib.grader.judge import Submission


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Submission]:
    return {one.student: one for one in collect(write(tmp_path_factory.mktemp("class")), A1)}


@pytest.mark.parametrize("name", KINDS)
def test_correct_work_gets_its_points(name: str, handed_in: dict[str, Submission]) -> None:
    one, kind = handed_in[name], KINDS[name]
    assert not one.problem
    marks, _ = in_process(one.cells, A1)
    assert sum(mark.points for mark in marks) == kind.points
    assert not kind.answer or one.open_answers["measured-ratio"] == kind.answer
