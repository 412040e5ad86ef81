"""Points given by a person, and points off for lateness: counted, shown, never lost."""

from pathlib import Path

import pytest

from annlib.course.assignments.a1 import A1
from annlib.grader.batch import kept_seed, write_all
from annlib.grader.by_hand import (
    CHANGED,
    SHEET,
    Given,
    answers_page,
    fingerprint,
    read_sheet,
    sheet_csv,
)
from annlib.grader.feedback import feedback
from annlib.grader.judge import Mark, Result
from annlib.grader.reports import grades_csv, read_days, share_kept

(QUESTION,) = A1.questions
NAME = QUESTION.name
STUDENTS = ("anna", "=1+1", "Zoë, M.")


def result(student: str) -> Result:
    marks = (Mark("block_operations", "operations of small maps", 2, 2, "", ""),)
    return Result(student, (), "", "finished", (), marks, {NAME: f"<b>answer of {student}</b>"})


RESULTS = [result(student) for student in STUDENTS]


def written(folder: Path, text: str) -> Path:
    path = folder / SHEET
    path.write_text(text, encoding="utf-8")
    return path


def test_empty_sheet_has_every_answer_and_gives_nothing(tmp_path: Path) -> None:
    text = sheet_csv(A1, RESULTS, {})
    assert len(text.splitlines()) == 1 + len(STUDENTS)
    assert read_sheet(written(tmp_path, text), A1, STUDENTS) == {}


def test_sheet_comes_back_as_it_was_given(tmp_path: Path) -> None:
    """Also for names that a spreadsheet would calculate, or that hold a comma."""
    read = {s: fingerprint(result(s), NAME) for s in STUDENTS}
    given = {(s, NAME): Given(i / 2, f"remark, {s}", read[s]) for i, s in enumerate(STUDENTS)}
    text = sheet_csv(A1, RESULTS, given)
    assert read_sheet(written(tmp_path, text), A1, STUDENTS) == given


def test_semicolons_and_decimal_commas_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, f"\ufeffstudent;question;points;remark\nanna;{NAME};1,5;well; seen\n")
    with pytest.raises(ValueError, match="line 2"):  # five cells: the remark was not quoted
        read_sheet(path, A1, STUDENTS)
    path = written(tmp_path, f"\ufeffstudent;question;points;remark\nanna;{NAME};1,5;well seen\n")
    assert read_sheet(path, A1, STUDENTS) == {("anna", NAME): Given(1.5, "well seen")}


@pytest.mark.parametrize(
    "line",
    [f"carl,{NAME},1,", "anna,other,1,", f"anna,{NAME},-1,", f"anna,{NAME},99,", f"anna,{NAME},1",
     f"anna,{NAME},nan,", f"anna,{NAME},good,", f"anna,{NAME},,a remark without points"],
)  # fmt: skip
def test_a_line_that_would_count_wrongly_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        read_sheet(written(tmp_path, f"{line}\n"), A1, STUDENTS)


def test_sum_waits_until_all_is_read_and_is_less_for_what_came_late() -> None:
    unread = grades_csv(A1, [result("anna")], {"anna": 1}, {})
    read = grades_csv(A1, [result("anna")], {"anna": 1}, {("anna", NAME): 1.0})
    assert "anna,2,1,1.8,," in unread
    assert "anna,2,1,1.8,2.7," in read  # 0.9 of 2 + 1


def test_student_reads_points_and_remark_and_nobody_elses() -> None:
    given = {("anna", NAME): Given(1, "Say <why>."), ("Zoë, M.", NAME): Given(0, "not for anna")}
    told = feedback(A1, result("anna"), given)
    assert f"1 of {QUESTION.points:g}, read by a person" in told
    assert "Say &lt;why&gt;." in told and "not for anna" not in told


def test_grading_again_keeps_what_was_written_and_adds_the_newcomer(tmp_path: Path) -> None:
    written(tmp_path, f"anna,{NAME},1,fine\n")
    given = read_sheet(tmp_path / SHEET, A1, ["anna"])
    kept_seed(tmp_path, "A1", 7)
    opened = write_all(A1, RESULTS, [], {}, given, tmp_path)
    known = Given(1, "fine", fingerprint(result("anna"), NAME))
    assert read_sheet(tmp_path / SHEET, A1, STUDENTS) == {("anna", NAME): known}
    assert tmp_path / SHEET in opened  # two answers are still to be read
    (page,) = (one.read_text("utf-8") for one in tmp_path.glob("feedback/anna-*.html"))
    assert "fine" in page


def test_points_wait_while_the_answer_is_another_than_was_read(tmp_path: Path) -> None:
    anna = result("anna")
    written(tmp_path, sheet_csv(A1, [anna], {("anna", NAME): Given(5, "fine")}))
    other = anna._replace(open_answers={NAME: "nothing at all"})
    given = read_sheet(tmp_path / SHEET, A1, ["anna"])
    kept_seed(tmp_path, "A1", 7)
    opened = write_all(A1, [other], [], {}, given, tmp_path)
    assert "anna,2,0,2,," in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")
    assert f"anna: {NAME} has changed" in (tmp_path / "changes.txt").read_text(encoding="utf-8")
    assert tmp_path / SHEET in opened
    sheet = (tmp_path / SHEET).read_text(encoding="utf-8-sig")
    assert f"anna,{NAME},5,fine," in sheet and CHANGED.split(",")[0] in sheet, "nothing is lost"
    again = sheet.replace(given["anna", NAME].answer, "")
    given = read_sheet(written(tmp_path, again), A1, ["anna"])
    write_all(A1, [other], [], {}, given, tmp_path)
    assert "anna,2,0,2,7," in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")


def test_names_that_look_alike_in_a_spreadsheet_stay_apart() -> None:
    given = {(s, NAME): Given(i, "") for i, s in enumerate(("=a", "'=a"))}
    text = sheet_csv(A1, [result("=a"), result("'=a")], given)
    assert len({line.split(",")[0] for line in text.splitlines()}) == 3


def test_sheet_of_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / SHEET).write_bytes("Zoë".encode("cp1252"))
    with pytest.raises(ValueError, match="CSV UTF-8"):
        read_sheet(tmp_path / SHEET, A1, STUDENTS)


def test_answers_are_shown_as_text_with_the_rubric() -> None:
    page = answers_page(A1, RESULTS)
    assert all(criterion in page for criterion in QUESTION.rubric)
    assert "&lt;b&gt;answer of anna&lt;/b&gt;" in page and "<b>answer" not in page


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


def test_an_answer_has_a_fingerprint_of_its_own_and_an_untouched_one_is_flagged() -> None:
    """Two answers with the same eight digits once kept each other's points."""
    blank = result("anna")._replace(open_answers={NAME: "*Your answer*"})
    assert len(fingerprint(blank, NAME)) == 33
    assert "template is unchanged" in sheet_csv(A1, [blank], {})
    assert answers_page(A1, [blank, result("bert")]).count("template is unchanged") == 1


def test_student_reads_the_sum_once_all_is_read() -> None:
    given = {("anna", NAME): Given(1, "")}
    assert "In all, with what a person read: 2.7 of 20" in feedback(A1, result("anna"), given, 1)
    assert "In all" not in feedback(A1, result("anna"), {}, 1)
