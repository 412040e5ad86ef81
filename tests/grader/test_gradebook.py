"""A class with roster, lateness, points by hand and requests: every sum, computed a second way."""

import csv
import io
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from in_process import ROOT
from rederive import rows_of, sums

from annlib.cli.assignments import Grade
from annlib.course.assignments.a1 import A1
from annlib.grader import batch
from annlib.grader.gradebook import read_points
from annlib.grader.judge import Mark, Result
from annlib.grader.release import release

(QUESTION,) = A1.questions
TASKS = [task.name for task in A1.tasks]
POINTS = """
[attention_weights]
"ignored keys" = 5
[block_operations]
points = 4.5
[measured-ratio]
"Both ratios are given" = 1
"Their spread" = 1.5
[late]
percent = 15
days = 4
grace = 20
"""
WORKSHEET = "Identifier,Full name,ID number,Group,Status,Grade,Maximum Grade,Last modified (grade)"
Class = tuple[Path, Path, list[str]]  # folder of lists, folder of submissions, ids


def notebook(text: str, code: str = "x = 1") -> str:
    cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_markdown_cell(text)]
    cells[1].metadata["tags"] = [f"open:{QUESTION.name}"]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grading without workers: marks follow from the version that is graded.  -> who was graded"""
    graded: list[str] = []

    def mark(assignment, submission, *others) -> Result:
        graded.append(submission.student)
        dice = random.Random(submission.digest)
        marks = [
            Mark(task.name, check.name, check.points * right, check.points, slip, "look again")
            for task in assignment.tasks
            for check in task.checks(0, {})
            for right in [dice.random() < 0.7]
            for slip in ["" if right else "scale missing"]
        ]
        one = submission
        return Result(
            *(one.student, one.files, one.problem, "finished", (), tuple(marks)),
            *(one.open_answers, one.note, "", one.images),
        )

    monkeypatch.setattr(batch, "mark", mark)
    monkeypatch.setattr(batch, "open_sandbox", lambda stage, unsafe, user: None)
    return graded


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Class]:
    def made(count: int) -> Class:
        """Of the last tenth nothing was handed in; folders are named as Moodle names them."""
        inbox, ids = tmp_path / "inbox", [str(1001 + number) for number in range(count)]
        inbox.mkdir()
        lines, late = [f"{WORKSHEET}\n"], ["student;days late"]
        for number, one in enumerate(ids):
            name = f"Zoë {'Müller' * (1 + number % 9)}, {one}" if number % 3 else f"O'Neil; {one}"
            lines.append(f'Participant {one},"{name}",77{one},Group {number % 4},,,20.00,-\n')
            if number % 5 == 1:
                late.append(f"Participant {one};{number % 7 / 2:g}".replace(".", ","))
            if number % 5 == 2:
                late.append(f'"{name}";"1 day {number % 24} hours late"')
            if number % 5 == 3:
                late.append(f"{one};{12 + number} min")
            if number < count - max(1, count // 10):
                folder = inbox / f"{name.replace('_', ' ')}_{one}_assignsubmission_file_"
                folder.mkdir()
                text = notebook(f"I measured {number} times.", f"x = {number}")
                (folder / "A1.ipynb").write_text(text, encoding="utf-8")
        (tmp_path / "grades.csv").write_text("".join(lines), encoding="utf-8")
        (tmp_path / "late.csv").write_text("\n".join(late) + "\n", encoding="utf-8-sig")
        (tmp_path / "points.toml").write_text(POINTS)
        return tmp_path, inbox, ids

    return made


def columns(out: Path, name: str, key: str, value: str) -> dict[str, float]:
    rows = rows_of(out / name)
    found = {row[key].removeprefix("Participant "): row[value] for row in rows}
    return {student: float(cell) for student, cell in found.items() if cell}


def looked_at(out: Path) -> dict[str, float | None]:
    """The sums, once everything that annlib wrote agrees with them."""
    expected = sums(out, {QUESTION.name: 2.5})
    whole = {student: value for student, value in expected.items() if value is not None}
    head = next(h for h in rows_of(out / "grades.csv")[0] if h.startswith("with questions"))
    assert head == "with questions (of 22)"  # 2 + 5 + 1 + 1, 6, 4.5; 2.5
    for name, key, value in (
        ("grades.csv", "student", head),
        ("moodle.csv", "Identifier", "Grade"),
        ("canvas.csv", "ID", "A1"),
    ):
        found = columns(out, name, key, value)
        found.pop("", None)  # the points that are possible, in Canvas' table
        assert found == pytest.approx(whole), name
    return expected


def write_rows(path: Path, rows: list[list[str]]) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=";").writerows(rows)
    path.write_text(file.getvalue(), encoding="utf-8-sig", newline="")


@pytest.mark.parametrize("count", [8, pytest.param(60, marks=pytest.mark.all)])
def test_every_sum_is_what_an_independent_script_computes(
    count: int, make: Callable[[int], Class], pretended: list[str]
) -> None:
    lists, inbox, ids = make(count)
    out, handed_in = lists / "out", len(list(inbox.iterdir()))

    def round_of(**options) -> dict[str, float | None]:
        pretended.clear()
        Grade("A1", inbox, out, resume=True, **options).run()
        return looked_at(out)

    known = {"roster": lists / "grades.csv", "late": lists / "late.csv"}
    first = round_of(**known, points=lists / "points.toml")
    assert len(first) == handed_in and set(first.values()) == {None}
    assert sorted(pretended) == sorted(first)

    given = [["student", "task", "points", "remark"]]  # all answers are read, one task corrected
    for number, one in enumerate(first):
        points = f"{number % 3 / 2:g}+0,75".replace(".", ",") if number % 2 else "2,5"
        remark = ["'so'", "a; b", "two\nlines", ""][number % 4]
        given.append([one, QUESTION.name, points, remark])
    given.append([ids[0], TASKS[1], "5,5", "seen with my own eyes"])
    write_rows(out / "by_hand.csv", given)
    second = round_of()
    assert pretended == [] and None not in second.values()

    requests = [["student", "task", "reason"], [ids[1], TASKS[0], "I divide by it; later"]]
    requests.append([ids[2], QUESTION.name, "=read it again"])
    write_rows(lists / "requests.csv", requests)
    third = round_of(requests=lists / "requests.csv")
    assert sorted(pretended) == ids[1:3], "who asked is graded again, with fresh numbers"
    sheet = rows_of(out / "by_hand.csv")
    asked = {(row["student"], row["task"]): row for row in sheet if "Asked" in row["note"]}
    assert asked.keys() == {(ids[1], TASKS[0]), (ids[2], QUESTION.name)}
    assert {tuple(row) for row in given[1:]} <= {(*row.values(),)[:4] for row in sheet}

    answers = [[*row.values()] for row in sheet]
    for row in answers:
        if (row[0], row[1]) == (ids[1], TASKS[0]):
            row[2:4] = ["7,5", "You are right."]
    write_rows(out / "by_hand.csv", [[*sheet[0]], *answers])
    fourth = round_of(late_percent=20)
    changes = (out / "changes.txt").read_text(encoding="utf-8")
    for before, after in ((first, second), (second, third), (third, fourth)):
        for student, value in after.items():
            old = before[student]
            if old is not None and old != pytest.approx(value):
                assert f"{student}: {old:g} -> {value:g} (" in changes
    assert round_of() == fourth and (out / "changes.txt").read_text(encoding="utf-8") == changes
    pages = {page.name.partition("-")[0]: page for page in (out / "feedback").iterdir()}
    assert len(pages) == handed_in
    page = pages[ids[1]].read_text()
    assert f"that a person read: {fourth[ids[1]]:g} of 22" in page and "You are right." in page
    with zipfile.ZipFile(out / "moodle_feedback.zip") as archive:
        found = dict(name.split("_", 1) for name in archive.namelist())
        pattern = r"(\d+)_assignsubmission_file_/feedback\.html"
        matched = [re.fullmatch(pattern, rest) for rest in found.values()]
        assert sorted(one[1] for one in matched) == sorted(first)
    missing = [row for row in rows_of(out / "grades.csv") if row["note"] == "nothing handed in"]
    assert [row["student"] for row in missing] == ids[handed_in:]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("nothing handed in") == len(missing) and "group Group 3" in report


def test_a_worksheet_of_moodle_comes_back_with_its_columns(
    make: Callable[[int], Class], pretended: list[str]
) -> None:
    lists, inbox, ids = make(8)
    Grade("A1", inbox, lists / "out", roster=lists / "grades.csv").run()
    text = (lists / "out/moodle.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines()[0] == WORKSHEET
    assert text.count("Participant 100") == 8


def test_a_gradebook_of_canvas_comes_back_under_its_own_heading(
    make: Callable[[int], Class], pretended: list[str]
) -> None:
    lists, inbox, ids = make(8)
    (lists / "canvas.csv").write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,A0 (1),A1 (77),Final\n"
        f'    Points Possible,,,,,5,20,\n"O\'Neil; {ids[0]}",{ids[0]},s1,oneil,x,3,,\nBert,9\n'
    )
    Grade("A1", inbox, lists / "out", roster=lists / "canvas.csv").run()
    rows = rows_of(lists / "out/canvas.csv")
    assert [*rows[0]] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "A1 (77)"]
    assert [row["ID"] for row in rows] == ["", ids[0], "9"]
    assert rows[1]["SIS Login ID"] == "oneil" and rows[0]["A1 (77)"] == "20"


def test_points_and_lateness_stand_in_the_notebook_that_students_get(tmp_path: Path) -> None:
    path = tmp_path / "points.toml"
    path.write_text(POINTS)
    with zipfile.ZipFile(release(ROOT, A1, tmp_path, path)) as archive:
        text = archive.read("A1/A1.ipynb").decode()
    given, _ = read_points(path, A1)
    assert [part.points for part in (*given.tasks, *given.questions)] == [9, 6, 4.5, 2.5]
    for points in ("*9 points", "*6 points", "*4.5 points", "*2.5 points", "**Points:** 22"):
        assert points in text
    assert "15 % less for each day begun; nothing after 4 days, up to 20 minutes cost" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[nothing]\nx = 1", "nothing"),
        ("[attention_weights]\n'another check' = 1", "another check is not a part"),
        ("[attention_weights]\npoints = -1", "number of points"),
        ("[attention_weights]\npoints = 'many'", "number of points"),
        ("attention_weights = 3", "number of points"),
        ("[late]\nweeks = 1", "weeks"),
        ("[late", "not TOML"),
    ],
)
def test_points_that_nobody_would_get_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "points.toml").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_points(tmp_path / "points.toml", A1)


def test_lists_are_kept_and_need_not_be_given_again(
    make: Callable[[int], Class], pretended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the command works from any folder."""
    lists, inbox, _ = make(8)
    given = {"roster": lists / "grades.csv", "late": lists / "late.csv", "late_days": 9}
    Grade("A1", inbox, lists / "out", **given).run()
    before = (lists / "out/grades.csv").read_bytes()
    for name in ("grades.csv", "late.csv"):
        (lists / name).unlink()
    monkeypatch.chdir(inbox)
    Grade("A1", inbox, lists / "out", resume=True).run()
    assert (lists / "out/grades.csv").read_bytes() == before


def test_a_rule_by_which_points_grow_is_refused(
    make: Callable[[int], Class], pretended: list[str]
) -> None:
    lists, inbox, _ = make(8)
    with pytest.raises(ValueError, match="points could grow"):
        Grade("A1", inbox, lists / "out", late_percent=-10).run()
    assert pretended == []
