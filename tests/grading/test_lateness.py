"""Points off for lateness."""

from pathlib import Path

import pytest

from annlib.course.assignments.a1 import A1
from annlib.grader.feedback import feedback
from annlib.grader.marking import Mark, Result
from annlib.grader.reports import grades_csv, read_days, share_kept


@pytest.mark.parametrize(
    ("days", "kept"), [(-1, 1), (0, 1), (0.1, 0.9), (1, 0.9), (2.5, 0.7), (3, 0.7), (3.01, 0)]
)
def test_each_day_begun_takes_a_tenth(days: float, kept: float) -> None:
    assert share_kept(days) == pytest.approx(kept)


def test_days_are_read_by_student(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text("\ufeffanna,1.5\nZoe\u0308,2\n", encoding="utf-8")
    assert read_days(path, {"anna", "Zoë", "bert"}) == {"anna": 1.5, "Zoë": 2}


@pytest.mark.parametrize("line", ["carl,1", "anna", "anna,1,2", "anna,soon", "anna,nan", "x;1"])
def test_a_line_that_would_be_overlooked_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "late.csv").write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1"):
        read_days(tmp_path / "late.csv", {"anna"})


def test_student_is_told_what_lateness_left() -> None:
    anna = Result("anna", (), "", "finished", (), (), {})
    assert "1.5 days late: 80 % of all points are kept." in feedback(A1, anna, {}, 1.5)
    assert "late" not in feedback(A1, anna, {}).partition("<h2>")[0]


def test_table_keeps_the_points_and_says_what_is_left() -> None:
    marks = (Mark("block_operations", "operations of small maps", 2, 2, "", ""),)
    anna = Result("anna", (), "", "finished", (), marks, {})
    assert "anna,2,1.5,1.6," in grades_csv(A1, [anna], {"anna": 1.5}, {})
