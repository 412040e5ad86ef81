"""Grading a class: nothing is lost; order, jobs and interruptions change no result."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import a1_answers as answers
import nbformat
import pytest
import torch
import whole_class
from forked import Child, annlib
from in_process import AS_USER, solutions

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.grader import batch
from annlib.grader.batch import grade, keep, page_name, read_result, result_path, write_all
from annlib.grader.feedback import feedback
from annlib.grader.gradebook import Gradebook, Total, total
from annlib.grader.hidden_checks import NOT_STARTED
from annlib.grader.intake import collect
from annlib.grader.judge import Mark, Result, Submission, own_seed
from annlib.grader.reports import class_report, grades_csv, histogram, note_on
from annlib.grader.roster import Student
from annlib.grader.sandbox import why_not
from annlib.grader.tables import safe_cell

missing = why_not(AS_USER)
needs_sandbox = pytest.mark.skipif(bool(missing), reason=f"no sandbox here: {missing}")


def a_notebook(*cells: str) -> str:
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    return nbformat.writes(nbformat.v4.new_notebook(cells=made))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A small class: a mistake, cells in disorder, one that leaves, a damaged file."""
    folder, code = tmp_path / "inbox", solutions(A1)
    folder.mkdir()
    wrong = answers.WRONG_WEIGHTS["no mask"]
    mistaken = code["weights"].replace(wrong.old, wrong.new)
    disorder = (code["block"], "def attention_weights(:", *reversed(code.values()))
    handed_in = {
        "=cmd|calc": a_notebook(mistaken, code["block"], code["operations"]),
        "Željko Ó": a_notebook("scale = sqrt(half + half)", *disorder),
        "exit": a_notebook("import posix\nposix._exit(3)"),
        "damaged": "{",
    }
    for student, text in handed_in.items():
        (folder / f"{student}.ipynb").write_text(text, encoding="utf-8")
    return folder


def graded(inbox: Path, out: Path, jobs: int, resume: bool = False) -> list[Result]:
    found = collect(inbox, A1)
    if jobs == 2:
        found.reverse()
    results = grade(A1, found, out, 7, jobs, False, resume, lambda text: None, user=AS_USER)
    write_all(A1, results, out)
    return results


@needs_sandbox
@pytest.mark.slow
def test_points_are_the_same_in_any_order_with_any_number_of_jobs_and_after_a_kill(
    inbox: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    graded(inbox, one, 1)
    words = ["grade", "A1", inbox, "--seed", 7, "--out", two, "--jobs", 1]
    grader = Child(annlib(*words, *([] if AS_USER is None else ["--as-user", AS_USER])))
    while not list(two.glob("results/*.json")):
        assert grader.wait(0) is None, grader.output()
        time.sleep(0.05)
    grader.kill()
    kept = {path: path.stat().st_mtime_ns for path in two.glob("results/*.json")}
    assert 0 < len(kept) < 4
    graded(inbox, two, 2, resume=True)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert (one / "grades.csv").read_bytes() == (two / "grades.csv").read_bytes()
    assert (one / "report.html").read_bytes() == (two / "report.html").read_bytes()
    text = (one / "grades.csv").read_text(encoding="utf-8-sig")
    rows = {row[0]: row[1:] for row in csv.reader(text.splitlines())}
    assert {student: row[0] for student, row in rows.items() if student != "student"} == {
        "'=cmd|calc": "11",  # a mask forgotten in task 1 costs nothing in task 2
        "Željko Ó": "15",
        "exit": "0",
        "damaged": "0",
    }
    assert "stopped" in rows["exit"][-1] and "damaged" in rows["damaged"][-1]
    assert len(list((one / "feedback").iterdir())) == 4


@needs_sandbox
@pytest.mark.all
@pytest.mark.timeout(7200)
def test_a_class_of_300_is_graded_the_same_with_any_number_of_jobs_and_after_a_kill(
    tmp_path: Path,
) -> None:
    (*_, last) = whole_class.tried(tmp_path, 300)
    assert "three tables are the same bytes, with 300 students; workers left in the end: 0" in last


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Grading without workers: points by student, for what does not depend on them."""
    points: dict[str, float] = {}

    def mark(assignment, submission, *others) -> Result:
        value = points[submission.student]
        marks = (
            Mark(A1.tasks[0].name, "check", value, 1.0, "" if value else "slip", "look again"),
        )
        return Result(submission.student, submission.files, "", "finished", (), marks, {})

    monkeypatch.setattr(batch, "mark", mark)
    monkeypatch.setattr(batch, "open_sandbox", lambda stage, unsafe, user: None)
    return points


def class_of(folder: Path, *students: str) -> Path:
    folder.mkdir()
    for student in students:
        (folder / f"{student}.ipynb").write_text(a_notebook("x = 1"))
    return folder


def test_a_regrade_says_what_has_changed(tmp_path: Path, pretended: dict[str, float]) -> None:
    inbox, out = class_of(tmp_path / "inbox", "anna", "bert"), tmp_path / "out"
    pretended |= {"anna": 1.0, "bert": 0.0}
    graded(inbox, out, 1)
    pretended["bert"] = 1.0  # as if a test had been fixed
    graded(inbox, out, 1)
    changes = (out / "changes.txt").read_text(encoding="utf-8")
    assert "bert: 0 -> 1 (attention_weights 0 -> 1)" in changes and "anna" not in changes


def test_resume_grades_only_what_is_new(tmp_path: Path, pretended: dict[str, float]) -> None:
    inbox, out = class_of(tmp_path / "inbox", "anna", "bert"), tmp_path / "out"
    pretended |= {"anna": 1.0, "bert": 1.0}
    graded(inbox, out, 1)
    (inbox / "bert.ipynb").write_text(a_notebook("x = 2"))
    pretended |= {"anna": 0.0, "bert": 0.0}
    results = graded(inbox, out, 1, resume=True)
    assert {one.student: one.points for one in results} == {"anna": 1, "bert": 0}


def test_a_fault_of_the_grader_stops_nobody_else(
    tmp_path: Path, pretended: dict[str, float]
) -> None:
    inbox, out = class_of(tmp_path / "inbox", "anna", "bert"), tmp_path / "out"
    pretended["bert"] = 1.0
    anna, bert = graded(inbox, out, 1)
    assert "grader failed" in anna.problem and bert.points == 1
    assert "KeyError" in note_on(anna) and "KeyError" not in page_of(anna)
    pretended["anna"] = 1.0
    assert [one.points for one in graded(inbox, out, 1, resume=True)] == [1, 1]


def test_each_submission_is_judged_by_one_thread(
    tmp_path: Path, pretended: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's threads wait for each other by computing: two took ten times the processor time."""
    inner, used, before = batch.mark, [], torch.get_num_threads()
    monkeypatch.setattr(batch, "mark", lambda *a: used.append(torch.get_num_threads()) or inner(*a))
    pretended["anna"] = 1.0
    torch.set_num_threads(2)
    graded(class_of(tmp_path / "inbox", "anna"), tmp_path / "out", 1)
    torch.set_num_threads(before)
    assert used == [1]


def test_another_seed_in_the_same_folder_is_refused(
    tmp_path: Path, pretended: dict[str, float]
) -> None:
    inbox, out = class_of(tmp_path / "inbox", "anna"), tmp_path / "out"
    pretended["anna"] = 1.0
    graded(inbox, out, 1)
    with pytest.raises(ValueError, match="graded with seed 7, not 8"):
        grade(A1, collect(inbox, A1), out, 8, 1, False, False, print)


def test_result_is_read_as_it_was_kept(tmp_path: Path, pretended: dict[str, float]) -> None:
    pretended["anna"] = 0.0
    (result,) = graded(class_of(tmp_path / "inbox", "anna"), tmp_path / "out", 1)
    assert read_result(result_path(tmp_path / "out", "anna"))[1] == result
    assert isinstance(result.marks[0], Mark)


def test_a_damaged_result_is_made_again(tmp_path: Path, pretended: dict[str, float]) -> None:
    inbox, out = class_of(tmp_path / "inbox", "anna", "bert"), tmp_path / "out"
    pretended |= {"anna": 1.0, "bert": 1.0}
    graded(inbox, out, 1)
    for student, text in {"anna": '{"fingerprint": "', "bert": "{}"}.items():
        result_path(out, student).write_text(text)
    assert [one.points for one in graded(inbox, out, 1, resume=True)] == [1, 1]


def test_another_assignment_in_the_same_folder_is_refused(
    tmp_path: Path, pretended: dict[str, float]
) -> None:
    inbox, out = class_of(tmp_path / "inbox", "anna"), tmp_path / "out"
    pretended["anna"] = 1.0
    graded(inbox, out, 1)
    with pytest.raises(ValueError, match="results of A1, not of A2"):
        grade(A2, collect(inbox, A2), out, 7, 1, False, True, print)


def test_text_that_no_file_can_hold_is_written_all_the_same(tmp_path: Path) -> None:
    keep(tmp_path / "page.html", "half a character: \ud83d")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "half a character: ?"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@sum", "\t=1", " =1", "\r\n=1", "'=1", "＝1", "＠sum"]
)
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe_cell(text).startswith("'")


def test_no_cell_ends_within_a_name() -> None:
    assert ";" not in safe_cell("x;=HYPERLINK(1);")


def test_full_marks_are_in_the_last_bin() -> None:
    assert histogram([0, 1.4, 1.5, 15], 15) == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def totals(results: Sequence[Result]) -> dict[str, Total]:
    return {one.student: total(A1, one, Gradebook()) for one in results}


def page_of(result: Result) -> str:
    return feedback(A1, result, total(A1, result, Gradebook()), Gradebook())


def report_on(*results: Result) -> str:
    return class_report(A1, results, totals(results), Gradebook())


def table_of(*results: Result) -> str:
    return grades_csv(A1, results, totals(results), Gradebook())


def example(student: str, found: str = "scale missing") -> Result:
    marks = (Mark("attention_weights", "ignored keys", 0, 2, found, "Divide by <b>√C</b>."),)
    failures = ({"cell": 3, "type": "ValueError", "message": "seen: 0.1234"},)
    texts = {"measured-ratio": "<script>alert(1)</script>"}
    return Result(student, ("a.ipynb",), "", "finished", failures, marks, texts)


def test_feedback_shows_no_code_no_message_and_nobody_else() -> None:
    page = page_of(example("<anna>"))
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;anna&gt;" in page
    assert "0.1234" not in page, "an error message could hold what was asked"
    assert "scale missing" in page and "default-src 'none'" in page


def test_report_lists_who_has_handed_in_the_same() -> None:
    found = [
        example(who)._replace(note=f"{who}. {note}", files_note=note)
        for who, note in zip("abc", "xyx", strict=True)
    ]
    report = report_on(*(one._replace(marks=()) for one in (*found, example("d"), example("e"))))
    assert ">x</th><td>a, c</td>" in report and "a, c, " not in report and "d, e" not in report


def test_report_counts_a_misconception_once_a_student() -> None:
    anna = example("anna")
    report = report_on(anna._replace(marks=anna.marks * 2), example("bert"))
    assert "<td>scale missing</td><td>2</td><td>anna, bert</td>" in report
    assert ">0 to 1.5</th><td>2</td><td>████" in report and ">13.5 to 15</th>" in report


def test_two_students_of_one_name_stay_two() -> None:
    roster = {one: Student(one, "Anna Muster") for one in "12"}
    results = [example("1"), example("2")]
    report = class_report(A1, results, totals(results), Gradebook(roster))
    assert "<td>scale missing</td><td>2</td><td>Anna Muster (1), Anna Muster (2)</td>" in report


def test_table_has_a_line_a_student_in_their_order() -> None:
    rows = table_of(example("bert"), example("anna")).splitlines()
    assert [row.split(",")[0].strip("\ufeff") for row in rows] == ["student", "anna", "bert"]


def test_pages_have_names_that_every_system_takes(tmp_path: Path) -> None:
    names = {page_name("key", student) for student in ("a/b", "a:b", "a?b", "ä" * 300)}
    assert len(names) == 4
    assert all(name.isascii() and "/" not in name and len(name) < 60 for name in names)


def test_a_blank_submission_is_noted() -> None:
    assert note_on(example("anna", NOT_STARTED)._replace(failures=())) == "not started"


def test_a_note_is_never_longer_than_a_person_reads() -> None:
    """A table of thousands of changes once made 131 KB of it."""
    anna = example("anna")._replace(note="x" * 10**6)
    assert len(note_on(anna)) <= 1000
    assert len(table_of(anna)) < 2000


def test_a_version_that_has_changed_is_asked_with_fresh_numbers() -> None:
    one = Submission("anna", (), (), {}, "", "digest", {})
    seeds = {own_seed(7, "A1", one, 0), own_seed(7, "A1", one._replace(digest="other"), 0)}
    seeds |= {own_seed(7, "A1", one, 1), own_seed(7, "A1", one._replace(student="bert"), 0)}
    assert len(seeds) == 4 and own_seed(7, "A1", one, 0) in seeds


def test_the_name_of_a_page_cannot_be_computed_without_the_key(
    tmp_path: Path, pretended: dict[str, float]
) -> None:
    inbox = class_of(tmp_path / "inbox", "anna")
    pretended["anna"] = 1.0
    names = set()
    for out in (tmp_path / "one", tmp_path / "two"):
        graded(inbox, out, 1)
        names |= {path.name for path in out.glob("feedback/anna-*.html")}
        assert (out / "seed.json").read_text().count("key") == 1
    assert len(names) == 2
