"""Points and remarks of a person: counted, shown, and kept in the sheet character by character."""

import csv
import io
from pathlib import Path

import pytest

from annlib.course.assignments.a1 import A1
from annlib.grader.batch import kept_seed, write_all
from annlib.grader.by_hand import CHANGED, SHEET, Given, Sheet, fingerprint, read_sheet, sheet_csv
from annlib.grader.feedback import answers_page, feedback, rendered
from annlib.grader.gradebook import Gradebook, total
from annlib.grader.judge import Mark, Result
from annlib.grader.reports import grades_csv
from annlib.grader.roster import LatePolicy, Student, code_of, finder
from annlib.grader.tables import safe_name

(QUESTION,) = A1.questions
NAME, TASK = QUESTION.name, "block_operations"
STUDENTS = ("anna", "=1+1", "Zoë, M.", "Zoë; M.")


def result(student: str) -> Result:
    marks = (Mark(TASK, "operations of small maps", 2, 2, "", ""),)
    return Result(student, (), "", "finished", (), marks, {NAME: f"<b>answer of {student}</b>"})


RESULTS = [result(student) for student in STUDENTS]


def written(folder: Path, text: str) -> Path:
    path = folder / SHEET
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path, students: tuple[str, ...] = STUDENTS) -> Sheet:
    return read_sheet(path, A1, finder(students, {}))[1]


def sheet(results: list[Result], given: Sheet, mark: str = ",") -> str:
    return sheet_csv(A1, results, given, {}, safe_name, mark)


def cells(text: str, mark: str = ",") -> list[list[str]]:
    return [*csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=mark)]


def feedback_of(one: Result, book: Gradebook) -> str:
    return feedback(A1, one, total(A1, one, book), book)


def table(one: Result, book: Gradebook) -> str:
    return grades_csv(A1, [one], {one.student: total(A1, one, book)}, book)


def test_empty_sheet_has_every_answer_and_gives_nothing(tmp_path: Path) -> None:
    text = sheet(RESULTS, {})
    assert len(cells(text)) == 1 + len(STUDENTS)
    assert read(written(tmp_path, text)) == {}


HARD = (
    "'quoted' and 'so on'",
    "first line\nsecond; line\r\nthird",
    "=not a formula, says the teacher",
    '"so", she said; \t tab',
    "ünïcödé \u2028 end",
    "  blanks  ",
)


@pytest.mark.parametrize("mark", [",", ";"])
def test_ten_rounds_change_no_character(tmp_path: Path, mark: str) -> None:
    """Names that a spreadsheet would calculate, two that differ in one sign, and any remark."""
    rows = [["student", "task", "points", "remark"]]
    points = ["1.5", "2,5", "0", " 1 ", "0,5", "1+1+0+0,5"]
    for number, remark in enumerate(HARD):
        task = {2: NAME, 5: NAME, 4: "attention_weights"}.get(number, TASK)
        student = STUDENTS[number % len(STUDENTS)]
        rows.append([safe_name(student), task, points[number], remark])
    file = io.StringIO()
    csv.writer(file, delimiter=mark).writerows(rows)
    path = written(tmp_path, file.getvalue() + "\r\n" + mark * 3 + "\r\n")  # and empty lines
    for _ in range(10):
        found, given = read_sheet(path, A1, finder(STUDENTS, {}))
        assert found == mark and len(given) == len(HARD)
        written(tmp_path, sheet(RESULTS, given, mark))
    after = cells(read_exactly(path), mark)
    assert {tuple(row) for row in rows[1:]} <= {tuple(row[:4]) for row in after}
    assert not [row for row in after if not any(row)]
    assert len(after) == 1 + len(HARD) + len(STUDENTS) - 2  # two of them are answers


def read_exactly(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


def test_points_are_read_as_germans_write_them(tmp_path: Path) -> None:
    path = written(tmp_path, f'\ufeffstudent;task;points;remark\nanna;{NAME};1,5;"well; seen"\n')
    (one,) = read(path).values()
    assert (one.points, one.remark) == (1.5, "well; seen")


@pytest.mark.parametrize(
    "line",
    [f"carl,{NAME},1,", "anna,other,1,", f"anna,{NAME},-1,", f"anna,{NAME},99,", f"anna,{NAME}",
     f"anna,{NAME},nan,", f"anna,{NAME},good,", f"anna,{TASK},1+1,", f"anna,{NAME},1+1,",
     f"anna,{NAME},1,a,b,c,d", f"anna,{NAME},2+-1+0+0,", f"anna,{NAME},1e400,"],
)  # fmt: skip
def test_a_line_that_would_count_wrongly_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        read(written(tmp_path, f"{line}\n"))


def test_a_task_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2.*twice"):
        read(written(tmp_path, f"anna,{TASK},1,\nanna,{TASK},2,\n"))


def test_sum_waits_until_all_is_read_and_is_less_for_what_came_late() -> None:
    unread = Gradebook(days={"anna": 1})
    assert "anna,2,1,1.8,," in table(result("anna"), unread)
    read = unread._replace(given={("anna", NAME): Given(1, "")})
    assert "anna,2,1,1.8,2.7," in table(result("anna"), read)  # 0.9 of 2 + 1


def test_points_for_a_task_count_instead_of_those_of_tests(tmp_path: Path) -> None:
    """And are looked at again once tests find something else."""
    given = {("anna", TASK): Given(3, "the formula is right", fingerprint(result("anna"), TASK))}
    book = Gradebook(given=given)
    assert total(A1, result("anna"), book).parts[TASK] == 3
    page = feedback_of(result("anna"), book)
    assert "3 of 2, decided by a person" in page and "the formula is right" in page
    assert "block_operations by hand, 2 by tests" in table(result("anna"), book)
    other = result("anna")
    other = other._replace(marks=(other.marks[0]._replace(points=0, misconception="one product"),))
    assert total(A1, other, book).parts[TASK] == 0
    assert CHANGED in sheet([other], given)


def test_a_remark_alone_leaves_points_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, f"anna,{TASK},,Nicely done\nanna,{NAME},,I will come back\n")
    book = Gradebook(given=read(path))
    assert total(A1, result("anna"), book).parts == {
        "attention_weights": 0, "NonlocalBlock": 0, TASK: 2, NAME: None,
    }  # fmt: skip
    page = feedback_of(result("anna"), book)
    assert "Nicely done" in page and "I will come back" in page


def test_points_by_criterion_are_added_and_shown(tmp_path: Path) -> None:
    (one,) = read(written(tmp_path, f"anna,{NAME},1+0.5+2+0,\n")).values()
    assert (one.points, one.parts) == (3.5, (1, 0.5, 2, 0))
    page = feedback_of(result("anna"), Gradebook(given={("anna", NAME): one}))
    for (criterion, most), points in zip(QUESTION.rubric.items(), one.parts, strict=True):
        assert f"{criterion}</th><td>{points:g}</td><td>{most:g}</td>" in page


def test_student_reads_points_and_remark_and_nobody_elses() -> None:
    given = {("anna", NAME): Given(1, "Say <why>."), ("Zoë, M.", NAME): Given(0, "not for anna")}
    told = feedback_of(result("anna"), Gradebook(given=given))
    assert f"1 of {QUESTION.points:g}, read by a person" in told
    assert "Say &lt;why&gt;." in told and "not for anna" not in told


def test_grading_again_keeps_what_was_written_and_adds_the_newcomer(tmp_path: Path) -> None:
    given = read(written(tmp_path, f"anna,{NAME},1,fine\n"), ("anna",))
    kept_seed(tmp_path, "A1", 7)
    opened = write_all(A1, RESULTS, tmp_path, Gradebook(given=given))
    known = ("anna", NAME, "1", "fine", fingerprint(result("anna"), NAME), "")
    assert [*known] in cells(read_exactly(tmp_path / SHEET))
    assert tmp_path / SHEET in opened  # other answers are still to be read
    (page,) = (one.read_text("utf-8") for one in tmp_path.glob("feedback/anna-*.html"))
    assert "fine" in page


def test_points_wait_while_the_answer_is_another_than_was_read(tmp_path: Path) -> None:
    anna = result("anna")
    given = {("anna", NAME): Given(5, "fine", "", (), ("anna", NAME, "5", "fine"))}
    given = read(written(tmp_path, sheet([anna], given)))
    other = anna._replace(open_answers={NAME: "nothing at all"})
    kept_seed(tmp_path, "A1", 7)
    opened = write_all(A1, [other], tmp_path, Gradebook(given=given))
    assert "anna,2,0,2,," in read_exactly(tmp_path / "grades.csv")
    assert tmp_path / SHEET in opened
    text = read_exactly(tmp_path / SHEET)
    assert f"anna,{NAME},5,fine," in text and CHANGED.split(",")[0] in text, "nothing is lost"
    again = text.replace(given["anna", NAME].answer, "")
    given = read(written(tmp_path, again))
    write_all(A1, [other], tmp_path, Gradebook(given=given))
    assert "anna,2,0,2,7," in read_exactly(tmp_path / "grades.csv")
    changes = (tmp_path / "changes.txt").read_text(encoding="utf-8")
    assert f"anna: 2 -> 7 ({NAME} unread -> 5)" in changes


def test_names_that_look_the_same_in_a_spreadsheet_stay_apart(tmp_path: Path) -> None:
    names = ("=a", "'=a", "a;b", "a,b", "a%3Bb", "Anna", "anna")
    find = finder(names, {})
    assert len({safe_name(name) for name in names}) == len(names)
    assert [find(safe_name(name)) for name in names] == [*names]
    assert all(";" not in safe_name(name) for name in names)
    assert find("ANNA") is None, "it could be both"


def test_sheet_of_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / SHEET).write_bytes("Zoë".encode("cp1252"))
    with pytest.raises(ValueError, match="save it as UTF-8"):
        read(tmp_path / SHEET)


def test_answers_are_rendered_with_the_rubric_and_without_html() -> None:
    page = answers_page(A1, RESULTS, Gradebook())
    assert all(criterion in page for criterion in QUESTION.rubric)
    assert "&lt;b&gt;answer of anna&lt;/b&gt;" in page and "<b>answer" not in page


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="


@pytest.mark.parametrize(
    ("markdown", "shown", "never"),
    [
        ("| a |\n|---|\n| 1 |", "<td>1</td>", "|"),
        ("~~~python\nx = 1 < 2\n~~~", "&lt;", "< 2"),
        ("![p](image:1)", f'<img src="data:image/png;base64,{DOT}" alt="p">', "image:1"),
        ("![p](https://x.y/z.png)", "not in the notebook", "<img"),
        ("![p](image:2)", "not in the notebook", "<img"),
        ("![p](attachment:a)", "not in the notebook", "<img"),
        ("![p](attachment:a.gif)", "of a kind that is not shown: image/gif", "not in the notebook"),
        (
            "![p](attachment:a.png)",
            "not in the notebook, or is too large: attachment:a.png",
            "<img",
        ),
        ("[a](javascript:alert(1))", "a", "javascript"),
        ("[a](data:text/html,x)", "a", "data:text"),
        ("<script>alert(1)</script>", "&lt;script&gt;", "<script"),
        ("$$<img src=x onerror=alert(1)>$$", "&lt;img", "<img"),
        ("\\begin{a}<script>\\end{a}", "&lt;script", "<script"),
        ('![" onerror="a](image:1)', "&quot;", '" onerror'),
        ('~~~x"><script>\na\n~~~', "a", "<script"),
        ("# Large\n\ntext", "<strong>Large</strong>", "<h1"),
        (">" * 20_000, "", "<script"),
    ],
)
def test_markdown_of_strangers_shows_and_runs_nothing(
    markdown: str, shown: str, never: str
) -> None:
    found = rendered(markdown, {"image:1": DOT})
    assert shown in found and never not in found


def test_answers_are_read_without_names_where_that_is_asked_for() -> None:
    roster = {"1700": Student("1700", "Anna Muster", "", "90210")}
    text = "I, anna muster (90210), say 17 and 117009, not 1700. Anna"
    one = result("1700")._replace(open_answers={NAME: text})
    book = Gradebook(roster, anonymous=True, key="secret")
    page = answers_page(A1, [one], book)
    assert code_of("secret", "1700") in page and code_of("other", "1700") not in page
    assert "I, [name] ([name]), say 17 and 117009, not [name]. [name]" in page
    assert finder((), roster, "secret")(code_of("secret", "1700")) == "1700"


@pytest.mark.parametrize(
    ("days", "kept"), [(-1, 1), (0, 1), (0.1, 0.9), (1, 0.9), (2.5, 0.7), (3, 0.7), (3.01, 0)]
)
def test_each_day_begun_takes_a_tenth(days: float, kept: float) -> None:
    assert LatePolicy().kept(days) == pytest.approx(kept)


def test_lateness_costs_what_the_teacher_says() -> None:
    rule = LatePolicy(percent=20, days=2, grace=15)
    assert all(LatePolicy(grace=n).kept(n / 1440) == 1 for n in range(1, 200))
    assert [rule.kept(minutes / 1440) for minutes in (15, 16, 1440, 1441, 2881)] == [
        *(1, 0.8, 0.8, 0.6, 0)
    ]


def test_student_is_told_what_lateness_left() -> None:
    anna = Result("anna", (), "", "finished", (), (), {})
    told = feedback_of(anna, Gradebook(days={"anna": 1.5}))
    assert "1.5 days late: 80 % of all points are kept." in told
    assert "late" not in feedback_of(anna, Gradebook()).partition("<h2>")[0]


def test_an_answer_has_a_fingerprint_of_its_own_and_an_untouched_one_is_flagged() -> None:
    """Two answers with the same eight digits once kept each other's points."""
    blank = result("anna")._replace(open_answers={NAME: "*Your answer*"})
    assert len(fingerprint(blank, NAME)) == 33
    assert "template is unchanged" in sheet([blank], {})
    page = answers_page(A1, [blank, result("bert")], Gradebook())
    assert page.count("template is unchanged") == 1


def test_student_reads_the_sum_once_all_is_read() -> None:
    book = Gradebook(days={"anna": 1})
    read = book._replace(given={("anna", NAME): Given(1, "")})
    assert "that a person read: 2.7 of 20" in feedback_of(result("anna"), read)
    assert "The total follows" in feedback_of(result("anna"), book)
