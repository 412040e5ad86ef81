"""Lists as spreadsheets and learning platforms save them: read whole, and never for another one."""

from pathlib import Path

import pytest

from annlib.course.assignments.a1 import A1
from annlib.grader.judge import NUMBER, Submission
from annlib.grader.roster import (
    Roster,
    Student,
    finder,
    identified,
    read_days,
    read_roster,
    read_tasks,
)
from annlib.grader.tables import read_table

ROSTER: Roster = {
    one.id: one
    for one in (
        Student("1", "Anna Muster", "red", "9001"),
        Student("2", "Zoë Ötz", "red", "9002"),
        Student("3", "Bert; Jr.", "blue", "9003"),
        Student("4", "Bert, Jr.", "blue", "9004"),
        Student("5", "Same Name", "", "9005"),
        Student("6", "Same Name", "", "9006"),
    )
}


def file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "id,name,group\n17,Anna Muster,red\n",
        "\ufeffid;name;group\r\n17;Anna Muster;red\r\n\r\n;;\r\n",
        "Name\tID\tGruppe\nAnna Muster\t17\tred\n",
        'group,name,id\nred,"Anna Muster", 17 \n',
        "Identifier,Full name,Group,Grade\nParticipant 17,Anna Muster,red,\n",
        "Student,ID,SIS User ID,SIS Login ID,Section,A1 (5)\n    Points Possible,,,,,20\n"
        "Anna Muster,17,,anna,red,\n",
        "id,First name,Last name,Groups\n17,Anna,Muster,red\n",
        '"First name",Surname,"ID number","Email address",Group\nAnna,Muster,17,a@b.c,red\n',
        "Vorname;Nachname;Matrikelnummer;Gruppe\nAnna;Muster;17;red\n",
        "Name;Vorname;ID;Gruppe\nMuster;Anna;17;red\n",
        "id,Full name,First name,Last name,group\n17,Anna Muster,Anna,Muster,red\n",
        "id,name,first name,group\n17,Anna Muster,Anna,red\n",
    ],
)
def test_rosters_are_read_as_they_come(tmp_path: Path, text: str) -> None:
    (one,) = read_roster(file(tmp_path, text)).values()
    assert one[:3] == ("17", "Anna Muster", "red")


def test_a_roster_of_utf_16_is_read(tmp_path: Path) -> None:
    assert [*read_roster(file(tmp_path, "id;name\n1;Zoë\n", "utf-16"))] == ["1"]


def test_a_first_name_that_begins_the_last_name_is_kept(tmp_path: Path) -> None:
    (one,) = read_roster(file(tmp_path, "id,name,first name\n1,Jansen,Jan\n")).values()
    assert one.name == "Jan Jansen"


@pytest.mark.parametrize(
    ("names", "encoding", "sure"),
    [
        ("Jörg Müßig-Äöü; René Éd", "cp1252", True),
        ("Jörg", "latin-1", True),
        ("Jörg", "cp850", False),
        ("Jörg", "mac_roman", False),
        ("ü", "cp437", False),
        ("Łukasz", "cp1250", False),
        ("Иван", "cp1251", False),
        ("Ayşe", "cp1254", False),
        ("Núñez", "cp1252", False),
    ],
)
def test_letters_of_excel_are_read_only_where_they_are_certain(
    tmp_path: Path, names: str, encoding: str, sure: bool
) -> None:
    """Where they could be others, the list is refused with the place of the first one."""
    path = file(tmp_path, f'id,name\n1,Anna\n2,"{names}"\n', encoding)
    if sure:
        assert read_roster(path)["2"].name == names
    else:
        first = next(n for n, byte in enumerate(path.read_bytes()) if byte > 127)
        with pytest.raises(ValueError, match=f"line 3, byte {first}: .*save it as UTF-8"):
            read_roster(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Anna Muster,17\n", "headings id and name"),
        ("", "headings id and name"),
        ("id,name\n17,Anna\n17,Bert\n", "line 3: '17'"),
        ("id,name\n,Anna\n", "line 2: ''"),
        ('id,name\n1,"' + "a" * 140_000 + '"\n', "line 2.*field larger"),
    ],
)
def test_a_roster_that_would_mix_students_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        read_roster(file(tmp_path, text))


def test_numbers_that_became_fractions_are_whole(tmp_path: Path) -> None:
    """As pandas writes a column in which one is missing: 4711.0 once became 47110."""
    text = "id,name,number\n1.0,Anna,4711.0\n2.0,Bert 2.0,\n"
    found = read_roster(file(tmp_path, text))
    assert [one[:2] + one[3:4] for one in found.values()] == [
        ("1", "Anna", "4711"), ("2", "Bert 2.0", ""),
    ]  # fmt: skip


def test_a_line_of_canvas_on_posting_is_nobody(tmp_path: Path) -> None:
    text = "Student,ID,SIS User ID,Section,A1 (5)\n,,,,Manual Posting\nAnna,17,,red,\n"
    assert [*read_roster(file(tmp_path, text))] == ["17"]


def test_ids_with_letters_stay_whole(tmp_path: Path) -> None:
    assert [*read_roster(file(tmp_path, "id,name\ns1001,Anna\n"))] == ["s1001"]


def submission(name: str, **facts) -> Submission:
    return Submission(name, (name,), ("x = 1",), {}, "", "digest", {}, **facts)


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("1", "1"), ("anna muster", "1"), ("9002", "2"), ("Zoe\u0308 Ötz", "2"),
        ("Bert; Jr.", "3"), ("Bert, Jr.", "4"), ("Same Name_6_assignsubmission_file_", "6"),
        ("Somebody_5_assignsubmission_file", "5"), ("musteranna_1_77_A1", "1"),
        ("musteranna_LATE_1_77_A1", "1"), ("Anna Muster (1)", "1"), ("1(2)", "1"),
        ("Same Name", "Same Name"), ("carl", "carl"),
        ("Anna_99_assignsubmission_file_", "Anna_99_assignsubmission_file_"),
    ],
)  # fmt: skip
def test_work_is_filed_under_the_id_of_its_student(name: str, student: str) -> None:
    (one,) = identified([submission(name)], ROSTER)
    assert one.student == student
    assert ("not in the roster" in one.note) == (student not in ROSTER)
    assert one.attachments == ({NUMBER: f"900{student}"} if student in ROSTER else {})


def test_work_of_a_group_counts_for_each_member() -> None:
    found = identified([submission("Red"), submission("4")], ROSTER)
    assert [(one.student, one.files) for one in found] == [
        ("1", ("Red",)), ("2", ("Red",)), ("4", ("4",)),
    ]  # fmt: skip


def test_two_submissions_of_one_student_wait_for_a_person() -> None:
    (one,) = identified([submission("1"), submission("Anna Muster")], ROSTER)
    assert one.student == "1" and "1, Anna Muster" in one.problem and one.cells == ()


def test_another_number_makes_another_version() -> None:
    """Else a result would be kept that was checked against the old one."""
    before, after = (
        identified([submission("1")], {"1": Student("1", "Anna", "", number)})[0].digest
        for number in ("9001", "9002")
    )
    assert before != after


@pytest.mark.parametrize(
    "text",
    [
        "anna,1.5\nbert,0\n",
        "\ufeffanna;1,5\nbert;0\n",
        'student,days\nanna,"1,5"\ncarl,0\n',
        "Name;E-Mail;Days late\nanna;a@b.c;1,5\nbert;b@b.c;\n",
        "Full name,Status\nanna,Submitted for grading - 1 day 12 hours late\nbert,No submission\n",
        "id\tlate\nanna\t1 Tag 12 Stunden\n",
        "anna,36 hours\n\n,\n",
    ],
)
def test_late_lists_are_read_as_they_come(tmp_path: Path, text: str) -> None:
    days, unknown = read_days(file(tmp_path, text), finder({"anna", "bert"}, {}))
    assert {one: late for one, late in days.items() if late} == {"anna": 1.5}
    assert unknown == []


@pytest.mark.parametrize(
    ("stated", "days"),
    [
        ("1 week 2 days", 9), ("2 Wochen", 14), ("1 day, 6 hours late", 30 / 24),
        ("90 Minuten zu spät", 1.5 / 24), ("2 hours early", 0), ("-2 hours", 0), ("-1", 0),
    ],
)  # fmt: skip
def test_weeks_count_and_what_came_early_is_not_late(
    tmp_path: Path, stated: str, days: float
) -> None:
    find = finder({"anna"}, {})
    for head in ("days", "status"):
        table = file(tmp_path, f'student,{head}\nanna,"{stated}"\n')
        assert read_days(table, find) == ({"anna": days}, [])
    status = f'student,status\nanna,"Extension until: 3 May 2024, 5:00 PM - {stated}"\n'
    assert read_days(file(tmp_path, status), find) == ({"anna": days}, [])


@pytest.mark.parametrize(
    "text",
    [
        "anna,3 days (approved 2)",
        "anna,1 day and 2 hours",
        "anna,1:30",
        "anna,2 days before",
        "student,status\nanna,Remis - 1 jour 3 heures en retard",
        "student,status\nanna,Late",
        "student,status\nanna,Late (2 days)",
        "student,status\nanna,Assignment was submitted 1 day 2 hours late",
        'student,status\nanna,"Submitted for grading, 1 day late"',
        "student,status\nanna,Abgegeben 1 Tag verspätet",
    ],
)
def test_a_time_that_is_understood_in_part_only_is_refused(tmp_path: Path, text: str) -> None:
    """Taking what is understood would leave the rest out of the days without a word."""
    with pytest.raises(ValueError, match=r"line [12]: .*anna.*1 day 12 hours"):
        read_days(file(tmp_path, f"{text}\n"), finder({"anna"}, {}))


def test_who_is_not_known_is_said_but_stops_nothing(tmp_path: Path) -> None:
    days, unknown = read_days(file(tmp_path, "anna,1\ncarl,2\n"), finder({"anna"}, {}))
    assert days == {"anna": 1} and unknown == ["late list: carl is not known here"]
    _, unknown = read_days(file(tmp_path, '"anna,1";\n"bert,2";\n'), finder({"anna"}, {}))
    assert len(unknown) == 2, "lines whose commas are not those of the table"
    days, unknown = read_days(file(tmp_path, "Participant 1,1\n9002,2\n"), finder((), ROSTER))
    assert days == {"1": 1, "2": 2} and unknown == []


@pytest.mark.parametrize(
    "line", ["anna", "anna,1,5", "anna,soon", "anna,nan", "anna,inf", ",1", "anna,1\nanna,2"]
)
def test_a_line_by_which_points_would_stay_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="line [12]"):
        read_days(file(tmp_path, f"{line}\n"), finder({"anna"}, {}))


def test_lines_about_tasks_are_read_whole(tmp_path: Path) -> None:
    path = file(tmp_path, 'student;task;reason\nanna;NonlocalBlock;"why;\nindeed"\n')
    mark, found = read_tasks(path, finder({"anna"}, {}), A1)
    assert mark == ";" and [*found] == [("anna", "NonlocalBlock")]
    assert found["anna", "NonlocalBlock"].cells[2] == "why;\nindeed"
    for line in ("carl,NonlocalBlock,x", "anna,nothing,x", "anna"):
        with pytest.raises(ValueError, match="line 1.*would be lost"):
            read_tasks(file(tmp_path, line), finder({"anna"}, {}), A1)


def test_places_of_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    _, lines = read_table(file(tmp_path, 'a,"b\nc"\n\nd,e\n'))
    assert [one.place.rpartition(" ")[2] for one in lines] == ["1", "4"]
