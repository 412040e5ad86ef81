"""What students hand in: everything is read as text, and what is wrong is said in words."""

import base64
import csv
import gzip
import io
import json
import os
import tarfile
import time
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest
from in_process import ROOT
from PIL import Image

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3
from annlib.grader.archives import Unreadable, read
from annlib.grader.feedback import rendered
from annlib.grader.intake import collect
from annlib.grader.judge import Submission
from annlib.grader.release import edition, template

CELL = {"cell_type": "code", "source": ["x = 1\n", "y = 2"], "metadata": {"tags": 7}}


def notebook(**fields: object) -> str:
    return json.dumps({"cells": [CELL], "nbformat": 4} | fields)


def taken(path: Path) -> Submission:
    (one,) = collect(path.parent, A1)
    return one


def write_zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_code_and_open_answers_are_found(tmp_path: Path) -> None:
    (tmp_path / "anna.ipynb").write_text(edition(ROOT, A1, "solution"), encoding="utf-8")
    one = taken(tmp_path / "anna.ipynb")
    assert one.student == "anna" and not one.problem
    assert any("class NonlocalBlock" in cell for cell in one.cells)
    assert one.open_answers == {"measured-ratio": "*Your answer*"}


def test_folder_zip_and_script_are_submissions(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert/A1.ipynb").write_text(notebook())
    (tmp_path / "bert/scratch.ipynb").write_text("draft")
    (tmp_path / "cleo.py").write_text("# %% first\nx = 1\n# %%\ny = 2\n")
    write_zip(tmp_path / "dora.zip", **{"A1/A1.ipynb": notebook(), "A1/a1_checks.py": "pass"})
    found = {one.student: one.cells for one in collect(tmp_path, A1)}
    assert found["bert"] == found["dora"] == ("x = 1\ny = 2",)
    assert [cell.strip() for cell in found["cleo"]] == ["", "x = 1", "y = 2"]


def test_notebook_of_format_three_is_read(tmp_path: Path) -> None:
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "x = 3"}]}], "nbformat": 3}
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    assert taken(tmp_path / "old.ipynb").cells == ("x = 3",)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.ipynb", b"", "damaged"),
        ("a.ipynb", b"\xff\xfe\x00{", "damaged"),
        ("a.ipynb", b"[1, 2]", "something else"),
        ("a.ipynb", b'{"cells": 3}', "0 cells"),
        ("a.ipynb", b'{"cells": [null, "x"]}', "0 cells"),
        ("a.ipynb", b'{"cells": ' + b"[" * 10**5, "cannot be read"),
        ("a.docx", b"PK", "not a notebook"),
        ("a.zip", b"no zip at all", "damaged"),
    ],
)
def test_what_is_no_notebook_is_said(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert words in taken(tmp_path / name).problem


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big.ipynb").open("wb") as file:
        file.truncate(2 * 2**30)  # a hole: takes no disk
    assert "2,048 MiB" in taken(tmp_path / "big.ipynb").problem


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "solution.ipynb"
    secret.write_text(notebook())
    inbox = tmp_path / "inbox"
    (inbox / "eve").mkdir(parents=True)
    (inbox / "mallory.ipynb").symlink_to(secret)
    (inbox / "eve/A1.ipynb").symlink_to(secret)
    os.mkfifo(inbox / "pipe.ipynb")
    assert all(one.problem and not one.cells for one in collect(inbox, A1))


@pytest.mark.parametrize("name", ["../A1.ipynb", "/A1.ipynb", "a/../../A1.ipynb"])
def test_zip_with_paths_that_escape_is_refused(tmp_path: Path, name: str) -> None:
    write_zip(tmp_path / "eve.zip", **{name: notebook()})
    assert "lead out" in taken(tmp_path / "eve.zip").problem
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eve.zip"]


def test_zip_that_grows_without_end_is_cut_off(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A1.ipynb", bytes(30 * 2**20))
    assert "too large" in taken(tmp_path / "bomb.zip").problem


def test_same_name_twice_is_left_to_a_person(tmp_path: Path) -> None:
    composed, split = "Zoë", "Zoe\u0308"  # the same name, as two systems write it
    for name in (f"{composed}.ipynb", f"{split}.py"):
        (tmp_path / name).write_text(notebook())
    (one,) = collect(tmp_path, A1)
    assert one.student == composed and "2 submissions" in one.problem


def test_dots_in_a_name_belong_to_it_and_suffixes_may_be_large(tmp_path: Path) -> None:
    for name in ("anna.maria.ipynb", "anna.paul.IPYNB", "cleo.PY"):
        (tmp_path / name).write_text(notebook(metadata={"ok": True}))
    found = {one.student: one for one in collect(tmp_path, A1)}
    assert sorted(found) == ["anna.maria", "anna.paul", "cleo"]
    assert found["anna.paul"].cells == ("x = 1\ny = 2",)


def test_only_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    for name in (".DS_Store", "._anna.ipynb", "Thumbs.db", "__anna__.ipynb", ".cleo.ipynb"):
        (tmp_path / name).write_text(notebook())
    (tmp_path / "__MACOSX").mkdir()
    assert [one.student for one in collect(tmp_path, A1)] == [".cleo", "__anna__"]


def test_half_a_character_becomes_a_question_mark(tmp_path: Path) -> None:
    tags = '"metadata": {"tags": ["open:measured-ratio"]}'
    cell = f'{{"cell_type": "markdown", "source": "\\ud83d", {tags}}}'
    (tmp_path / "eve.ipynb").write_text(f'{{"cells": [{cell}]}}')
    assert taken(tmp_path / "eve.ipynb").open_answers == {"measured-ratio": "?"}


@pytest.mark.parametrize("damage", [slice(38, 60), slice(0, 30), slice(-30, -10)])
def test_damaged_zip_is_said_whatever_is_damaged(tmp_path: Path, damage: slice) -> None:
    with zipfile.ZipFile(tmp_path / "eve.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A1.ipynb", notebook() + 99 * " ")
    data = bytearray((tmp_path / "eve.zip").read_bytes())
    data[damage] = len(data[damage]) * b"\xff"
    (tmp_path / "eve.zip").write_bytes(data)
    one = taken(tmp_path / "eve.zip")
    assert one.problem and not one.cells


@pytest.mark.parametrize("text", ["\n", "\n ", " ", "<img ", "![](", "#", "*1", "image:", "a = "])
def test_a_long_cell_takes_no_long_time(tmp_path: Path, text: str) -> None:
    """Twice as much takes about twice the time, not four times."""
    for kind in ("code", "markdown"):
        path, seconds = tmp_path / "eve.ipynb", []
        for number in (50_000, 200_000):
            source = cell(number * text, "open:measured-ratio", kind=kind)
            path.write_text(json.dumps({"cells": [source]}))
            write_zip(tmp_path / "eve.zip", **{"A1.ipynb": path.read_text(), "b.ipynb": "{}"})
            path.unlink()
            began = time.process_time()
            taken(tmp_path / "eve.zip")
            seconds.append(time.process_time() - began)
        assert seconds[1] < 10 * seconds[0] + 0.5


def test_script_of_endless_cells_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eve.py").write_text(3000 * "# %%\n")
    assert "3000 cells" in taken(tmp_path / "eve.py").problem


def with_table(path: Path, **tables: str) -> Submission:
    """What is taken of a zip with a notebook of A3 and these tables."""
    cell = {"cell_type": "code", "source": "steps = 9", "metadata": {"tags": ["parameters"]}}
    files = {"A3.ipynb": json.dumps({"cells": [cell, CELL]})} | tables
    write_zip(path, **files)
    (one,) = collect(path.parent, A3)
    return one


def test_files_beside_the_notebook_are_read_and_count_as_changes(tmp_path: Path) -> None:
    one = with_table(tmp_path / "anna.zip", **{"run/a3_table.csv": "a,b"})
    other = with_table(tmp_path / "anna.zip", **{"a3_table (1).csv": "a,c"})
    assert one.attachments == {"a3_table.csv": "a,b"}
    assert other.attachments == {"a3_table.csv": "a,c"} and one.digest != other.digest
    assert with_table(tmp_path / "anna.zip").attachments == {}


def test_a_script_is_told_from_the_modules_that_came_with_it(tmp_path: Path) -> None:
    files = {f"{module}.py": "pass" for module in A3.public} | {"work.py": "x = 1"}
    write_zip(tmp_path / "anna.zip", **files)
    (one,) = collect(tmp_path, A3)
    assert one.cells == ("x = 1",)


def test_a_stray_file_costs_no_more_than_the_table(tmp_path: Path) -> None:
    one = with_table(tmp_path / "anna.zip", **{"x/t.csv": "a", "y/t.csv": "b"})
    assert one.cells and "2 files" in one.attachments["a3_table.csv"]
    files = {"a3_rehearsal.csv": "a", "A3_Table.CSV": "b"}
    assert with_table(tmp_path / "anna.zip", **files).attachments == {"a3_table.csv": "b"}


def test_parameters_that_papermill_injected_are_left_out(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "code", "source": f"steps = {n}", "metadata": {"tags": [tag]}}
        for n, tag in enumerate(("parameters", "injected-parameters"))
    ]
    (tmp_path / "anna.ipynb").write_text(json.dumps({"cells": cells}))
    (one,) = collect(tmp_path, A3)
    assert len(one.cells) == 1 and one.cells[0].startswith("steps = 0")


def test_parameters_end_the_cell_that_is_tagged_so(tmp_path: Path) -> None:
    notebook, script = with_table(tmp_path / "anna.zip"), tmp_path / "bert.py"
    (tmp_path / "anna.zip").unlink()
    script.write_text('# %% tags=["parameters"]\nsteps = 9\n# %%\nx = 1\n')
    (one,) = collect(tmp_path, A3)
    for cells in (notebook.cells, one.cells[1:]):
        names: dict[str, object] = {}
        exec(cells[0], names)
        assert names["steps"] == 2 and "steps" not in cells[1]


def test_parameters_end_the_cell_that_sets_them_where_no_cell_is_tagged(tmp_path: Path) -> None:
    """Some editors drop all tags, and a cell may have been merged with another."""
    cells = json.loads(edition(ROOT, A3, "learner"))["cells"]
    for one in cells:
        one["metadata"] = {}
    (tmp_path / "anna.ipynb").write_text(json.dumps({"cells": cells}))
    (one,) = collect(tmp_path, A3)
    changed = [n for n, cell in enumerate(one.cells) if A3.parameters in cell]
    assert changed == [n for n, cell in enumerate(one.cells) if cell.startswith("student = 0")]
    assert len(changed) == 1


TABLE = "student,score\n201,0.338312\n201,nan\n"
DIALECTS = {
    "UTF-16": TABLE.encode("utf-16"),
    "semicolons": TABLE.replace(",", ";"),
    "decimal commas": TABLE.replace(",", ";").replace(".", ","),
    "tabs, UTF-16": TABLE.replace(",", "\t").encode("utf-16"),
    "quotes": TABLE.replace(",", '";"').replace("\n", '"\r\n"')[:-1].join(['"', ""]),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_table_that_a_spreadsheet_saved_again_is_the_same_table(
    tmp_path: Path, name: str
) -> None:
    files = {"A3.ipynb": notebook(), "a3_table.csv": DIALECTS[name]}
    write_zip(tmp_path / "anna.zip", **files)
    (one,) = collect(tmp_path, A3)
    rows = [*csv.reader(one.attachments["a3_table.csv"].splitlines())]
    assert rows == [line.split(",") for line in TABLE.splitlines()]


def test_a_table_twice_is_one_and_that_outside_of_a_zip_counts(tmp_path: Path) -> None:
    twice = with_table(tmp_path / "anna.zip", **{"x/a3_table.csv": "a", "y/a3_table.csv": "a"})
    assert twice.attachments == {"a3_table.csv": "a"}
    (tmp_path / "anna.zip").rename(tmp_path / "old.zip")
    (tmp_path / "bert").mkdir()
    (tmp_path / "old.zip").rename(tmp_path / "bert/old.zip")
    for name, text in {"A3.ipynb": notebook(), "a3_table.csv": "b"}.items():
        (tmp_path / "bert" / name).write_text(text)
    (one,) = collect(tmp_path, A3)
    assert one.attachments == {"a3_table.csv": "b"}


def test_modules_beside_the_notebook_come_along_and_are_noted(tmp_path: Path) -> None:
    files = {"w/A1.ipynb": notebook(), "w/helper.py": "y = 1", "w/a1_checks.py": "", "b.py": "z"}
    write_zip(tmp_path / "anna.zip", **files)
    one, changed = taken(tmp_path / "anna.zip"), files | {"w/helper.py": "y = 2"}
    assert one.attachments == {"helper.py": "y = 1"}
    assert "It can import or run what is beside it: helper.py." in one.note
    write_zip(tmp_path / "anna.zip", **changed)
    assert taken(tmp_path / "anna.zip").digest != one.digest


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("A1.ipynb", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        ("A1.ipynb", b"<!DOCTYPE html><html>log in", "web page"),
        ("A1.rar", b"Rar!", "0 notebooks are in it (A1.rar); hand in one, A1.ipynb"),
    ],
)
def test_what_came_instead_of_a_notebook_is_said(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / name).write_bytes(data)
    assert words in taken(tmp_path / "anna").problem


def tarred(**files: str | bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            content = content.encode() if isinstance(content, str) else content
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("anna.ipynb.txt", "anna"),
        ("anna.ipynb.json", "anna"),
        ("anna.IPYNB.TXT", "anna"),
        ("anna.ipynb (1)", "anna (1)"),
        ("anna (1).ipynb.txt", "anna (1)"),
        ("anna.ipynb(2).txt", "anna(2)"),
        ("anna.py.txt", "anna"),
    ],
)
def test_names_that_a_browser_or_a_system_has_changed_are_read_with_a_note(
    tmp_path: Path, name: str, student: str
) -> None:
    (tmp_path / name).write_text("x = 1\ny = 2" if ".py" in name else notebook())
    one = taken(tmp_path / name)
    assert (one.student, one.cells, one.problem) == (student, ("x = 1\ny = 2",), "")
    assert f"Read as {'py' if '.py' in name else 'ipynb'}: {name}." in one.note
    (tmp_path / "bert").mkdir()
    (tmp_path / name).rename(tmp_path / "bert" / name)
    again = taken(tmp_path / "bert")
    assert (again.student, again.cells) == ("bert", one.cells) and f": {name}." in again.note


def test_a_zip_with_separators_of_windows_has_folders(tmp_path: Path) -> None:
    files = {"A1\\A1.ipynb": notebook(), "A1\\helper.py": "z = 1"}
    one = taken(write_zip(tmp_path / "anna.zip", **files))
    assert one.cells == ("x = 1\ny = 2",) and one.attachments == {"helper.py": "z = 1"}
    write_zip(tmp_path / "anna.zip", **{"..\\A1.ipynb": notebook()})
    assert "lead out" in taken(tmp_path / "anna.zip").problem


@pytest.mark.parametrize(
    "name", ["anna.tar.gz", "anna.tgz", "anna.tar", "anna.tgz (1)", "anna.zip"]
)
def test_a_tar_is_read_as_a_zip_is(tmp_path: Path, name: str) -> None:
    """Also one whose name says zip; what macOS leaves in it is passed over."""
    data = tarred(
        **{"./A1/A1.ipynb": notebook(), "./A1/._A1.ipynb": b"\0", "A1/helper.py": "z = 1"}
    )
    (tmp_path / name).write_bytes(gzip.decompress(data) if name.endswith("tar") else data)
    one = taken(tmp_path / name)
    assert one.student == ("anna (1)" if "1" in name else "anna")
    assert one.cells == ("x = 1\ny = 2",) and one.attachments == {"helper.py": "z = 1"}


def hostile_tar(change: dict, size: int = 0, compressed: bool = True) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz" if compressed else "w") as archive:
        member = tarfile.TarInfo("A1.ipynb")
        member.size = size
        for name, value in change.items():
            setattr(member, name, value)
        archive.addfile(member, io.BytesIO(bytes(size)))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile_tar({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}), "links"),
        (hostile_tar({"type": tarfile.LNKTYPE, "linkname": "../x"}), "links"),
        (hostile_tar({"type": tarfile.CHRTYPE}), "links"),
        (hostile_tar({"type": tarfile.FIFOTYPE}), "links"),
        (hostile_tar({"name": "../A1.ipynb"}, 5), "lead out"),
        (hostile_tar({"name": "/A1.ipynb"}, 5), "lead out"),
        (hostile_tar({}, 30 * 2**20), "too large"),
        (hostile_tar({}, 210 * 2**20), "too large"),
        (hostile_tar({}, 5)[:60], "damaged"),
        (hostile_tar({}, 5, False)[:514], "damaged"),
        (tarred(**{f"{number}.txt": "" for number in range(2001)}), "more than 2000 files"),
    ],
    ids=["link", "hard", "device", "pipe", "up", "root", "large", "bomb", "cut", "torn", "many"],
)
def test_a_hostile_tar_is_refused_and_writes_nothing(
    tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / "eve.tgz").write_bytes(data)
    one = taken(tmp_path / "eve.tgz")
    assert words in one.problem and not one.cells
    assert [path.name for path in tmp_path.iterdir()] == ["eve.tgz"]


def test_a_long_list_of_files_says_how_many_are_left_out(tmp_path: Path) -> None:
    files = {"A1.ipynb": notebook()} | {f"{n:02}.rar": "" for n in range(11)}
    write_zip(tmp_path / "anna.zip", **files)
    assert "06.rar, 07.rar and 3 more; hand in a zip." in taken(tmp_path / "anna").note


def test_archives_that_are_not_opened_are_named(tmp_path: Path) -> None:
    """Beside a notebook, in which the work may not be."""
    files = {
        "A1.ipynb": notebook(),
        "old.zip": "PK",
        "work.rar": "Rar!",
        "data.7z": "7z",
        "a.png": "",
    }
    write_zip(tmp_path / "anna.zip", **files)
    assert "Not opened: old.zip, work.rar, data.7z; hand in a zip." in taken(tmp_path / "anna").note
    (tmp_path / "anna.zip").rename(tmp_path / "anna.rar")
    assert "anna.rar is not a notebook" in taken(tmp_path / "anna").problem


def test_a_notebook_that_the_notebook_runs_comes_along(tmp_path: Path) -> None:
    main = json.dumps({"cells": [cell("%run ./parts.ipynb\nx = y", kind="code")]})
    parts = {"cells": [cell("y = 1", kind="code"), cell("text"), cell("z = 2", kind="code")]}
    files = {"A1.ipynb": main, "parts.ipynb": json.dumps(parts), "other.ipynb": json.dumps(parts)}
    write_zip(tmp_path / "anna.zip", **files)
    one = taken(tmp_path / "anna.zip")
    assert one.attachments == {"parts.ipynb": "y = 1\n\nz = 2"}
    assert "It can import or run what is beside it: parts.ipynb." in one.note
    write_zip(tmp_path / "anna.zip", **files | {"parts.ipynb": "damaged"})
    assert taken(tmp_path / "anna.zip").cells == one.cells


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a3_table (1).csv": "a"}, "Read as a3_table.csv: a3_table (1).csv."),
        ({"t.csv": "a", "u.csv": "b"}, "2 files could be a3_table.csv: t.csv, u.csv."),
        ({"a3_table.xlsx": "PK"}, "a3_table.xlsx is not a3_table.csv: save it as CSV."),
        ({"a3_table.csv": "a", "t.csv": "b", "old.xlsx": "PK"}, ""),
        ({}, ""),
    ],
)
def test_what_is_taken_for_the_table_is_noted(tmp_path: Path, files: dict, words: str) -> None:
    one, plain = with_table(tmp_path / "anna.zip", **files), with_table(tmp_path / "anna.zip")
    assert words in one.note and bool(words) == (one.note != plain.note)
    assert bool(one.attachments) == bool(files), "so that the student is told, too"


def test_names_hold_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2Jeve.ipynb").write_text(notebook())
    assert taken(tmp_path / "x").student.isprintable()


def test_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    whole = write_zip(tmp_path / "all.zip", **{"anna/A1.ipynb": notebook()})
    for path in (tmp_path / "none", whole):
        with pytest.raises(ValueError, match="one file or folder for each student: unpack a zip"):
            collect(path, A1)


def cell(source: str, *tags: str, kind: str = "markdown") -> dict:
    return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}


def answers_in(path: Path, *cells: dict) -> str:
    path.write_text(json.dumps({"cells": list(cells)}))
    return taken(path).open_answers.get("measured-ratio", "")


def test_an_answer_in_several_cells_is_read_whole(tmp_path: Path) -> None:
    """A tagged cell that was split has its tag twice; new cells below have none."""
    split = [cell("first", "open:measured-ratio"), cell("second", "open:measured-ratio")]
    new = [cell("third"), cell("x = 4", kind="code"), cell("not this", "exercise:other")]
    found = answers_in(tmp_path / "anna.ipynb", cell("before"), *split, *new, cell("nor this"))
    assert found == "first\n\nsecond\n\nthird\n\n~~~python\nx = 4\n~~~"


def png(side: int, form: str = "PNG") -> str:
    file = io.BytesIO()
    Image.new("L", (side, 1)).save(file, form)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_images_of_answers_are_shown_wherever_they_stand(tmp_path: Path, form: str) -> None:
    """Attached, in the text itself, as Colab keeps them, or below code."""
    kind = f"image/{form.lower()}"
    attached, inline, plot = (png(side, form) for side in (20, 21, 22))
    text = cell(
        f"![a](attachment:a.jpg) ![b](data:{kind};base64,{inline}) end", "open:measured-ratio"
    )
    text["attachments"] = {"a.jpg": {kind: [f"{attached[:76]}\n", attached[76:]]}}
    code = cell("plot()", kind="code") | {"outputs": [{"data": {kind: f"{plot}\n"}}]}
    found = answers_in(tmp_path / "anna.ipynb", text, code)
    one = taken(tmp_path / "anna.ipynb")
    assert sorted(one.images.values()) == sorted([attached, inline, plot])
    assert "base64" not in found and " end" in found and "attachment" not in found
    page = rendered(found, one.images)
    assert page.count(f'<img src="data:{kind};base64,') == 3 and "not in the notebook" not in page


@pytest.mark.parametrize("name", ["a b.png", "a%20b.png", "Bild%20%281%29.png"])
def test_an_attachment_whose_name_is_encoded_is_shown_where_it_stands(
    tmp_path: Path, name: str
) -> None:
    text = cell(f"a ![b](attachment:{name}) c", "open:measured-ratio")
    text["attachments"] = {unquote(name): {"image/png": png(20)}}
    found = answers_in(tmp_path / "anna.ipynb", text)
    (image,) = taken(tmp_path / "anna.ipynb").images
    assert found == f"a ![b]({image}) c" and "not shown" not in taken(tmp_path / "anna.ipynb").note


def test_an_image_in_html_is_shown(tmp_path: Path) -> None:
    """As people write it who want another size."""
    text = cell('a <img width="300" src="attachment:a.png" alt="b"/> c', "open:measured-ratio")
    text["attachments"] = {"a.png": {"image/png": png(20)}}
    found = answers_in(tmp_path / "anna.ipynb", text)
    page = rendered(found, taken(tmp_path / "anna.ipynb").images)
    assert f'a <img src="data:image/png;base64,{png(20)}" alt=""> c' in page
    code = "HTML(\"<img src='a.png'>\")"
    found = answers_in(tmp_path / "anna.ipynb", cell(code, "open:measured-ratio", kind="code"))
    assert code in found, "code is shown as it is"


@pytest.mark.parametrize(
    ("source", "noted"),
    [
        ("text", False),
        ("x" * 20_001, True),
        ("![a](attachment:missing.png)", True),
        ("![a](plots/mine.PNG)", True),
        ("![a](https://x.y/z)", True),
        ("[a](page.html) mine.png !", False),
        (f"![a](data:image/png;base64,{png(4001)})", True),
        (f"![a](data:image/png;base64,{png(21)})", False),
    ],
    ids=["whole", "cut", "missing", "file", "web", "no image", "large", "shown"],
)
def test_what_is_left_out_of_an_answer_is_noted(tmp_path: Path, source: str, noted: bool) -> None:
    answers_in(tmp_path / "anna.ipynb", cell(source, "open:measured-ratio"))
    words = "An answer is cut, or has images that are not shown: look into the notebook."
    assert (words in taken(tmp_path / "anna.ipynb").note) == noted


def test_tags_of_a_students_own_do_not_end_an_answer(tmp_path: Path) -> None:
    """Such as those by which tools hide a cell."""
    cells = [cell("first", "open:measured-ratio"), cell("second", "hide-input"), cell("third")]
    assert answers_in(tmp_path / "anna.ipynb", *cells) == "first\n\nsecond\n\nthird"
    assert answers_in(tmp_path / "anna.ipynb", *cells, cell("no", "check:x")).endswith("third")


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_code_in_a_cell_that_is_not_code_is_noted(tmp_path: Path, kind: str) -> None:
    """By names in one order: another order of the same would be another note."""
    cells = json.loads(edition(ROOT, A1, "solution"))["cells"]
    for one in cells:
        if "tags" in one["metadata"] and "answer:" in one["metadata"]["tags"][0]:
            one["cell_type"] = kind
    (tmp_path / "anna.ipynb").write_text(json.dumps({"cells": cells}))
    names = "NonlocalBlock, attention_weights, block_operations"
    assert f"In a cell that is not code: {names}." in taken(tmp_path / "anna.ipynb").note


def test_an_image_that_is_not_shown_is_named_below_its_code(tmp_path: Path) -> None:
    code = cell("plot()", "open:measured-ratio", kind="code")
    code["outputs"] = [{"data": {"image/png": png(4001), "text/plain": "<Figure>"}}]
    found = answers_in(tmp_path / "anna.ipynb", code)
    assert "<Figure> (its image is not shown: too large, or not a PNG or JPEG)" in found


def test_what_stands_below_the_code_of_an_answer_is_shown_with_it(tmp_path: Path) -> None:
    """Plots, printed text and attached images; HTML and what is not an image are left out."""
    plot, attached = png(20), png(21)
    text = cell("see ![this](attachment:a.png)", "open:measured-ratio")
    text["attachments"] = {"a.png": {"image/png": attached}}
    code = cell("plot()", kind="code") | {
        "outputs": [
            {"output_type": "stream", "text": ["1\n", "2\n"]},
            {"data": {"image/png": plot, "text/plain": "<Figure>"}},
            {"data": {"text/html": "<table>", "text/plain": ["a  b"]}},
        ]
    }
    path = tmp_path / "anna.ipynb"
    found = answers_in(path, text, code)
    images = taken(path).images
    assert sorted(images.values()) == sorted([plot, attached])
    names = {image: name for name, image in images.items()}
    assert found == (
        f"see ![this]({names[attached]})\n\n~~~python\nplot()\n~~~\n\n~~~\n1\n2\na  b\n~~~\n\n"
        f"![output 2]({names[plot]})"
    )


def test_all_that_a_cell_prints_is_shown(tmp_path: Path) -> None:
    """Lines of two streams in turn are an output each."""
    lines = [f"line {number}" for number in range(50)]
    answer = cell("many()", "open:measured-ratio", kind="code")
    answer["outputs"] = [{"output_type": "stream", "text": [f"{one}\n"]} for one in lines]
    found = answers_in(tmp_path / "anna.ipynb", answer)
    assert [one for one in found.splitlines() if one.startswith("line")] == lines


@pytest.mark.parametrize(
    "image",
    [
        *(png(4001), png(4001, "JPEG"), png(20) + "A" * 2**20, png(20)[4:], '"><script>'),
        *("iVBORw0KGgo", "/9j/" + "A" * 100, 7, {"a": 1}, [1]),
    ],
    ids=[
        *("too many pixels", "too wide a JPEG", "too long", "no PNG", "HTML"),
        *("no header", "no JPEG", "number", "object", "list"),
    ],
)
def test_what_is_not_a_small_png_is_not_shown(tmp_path: Path, image: object) -> None:
    text = cell("text", "open:measured-ratio")
    text["attachments"] = {"a.png": {"image/png": image}, "b.png": 7}
    text["outputs"] = [image, {"data": 7}, {"data": {"text/plain": 7}}, None]
    assert answers_in(tmp_path / "eve.ipynb", text) == "text"
    assert taken(tmp_path / "eve.ipynb").images == {}


def test_tags_of_questions_that_are_not_asked_take_no_memory(tmp_path: Path) -> None:
    """40,000 of them once became 3 GiB."""
    tags = [f"open:{number}" for number in range(40_000)]
    assert answers_in(tmp_path / "eve.ipynb", cell("x" * 20_000, *tags)) == ""
    assert taken(tmp_path / "eve.ipynb").open_answers == {}


def test_marked_cells_of_scripts_are_read(tmp_path: Path) -> None:
    (tmp_path / "anna.py").write_text(
        "# In[ ]:\n\n%matplotlib inline\n\n# In[12]:\nx = 1\n"
        '# %% [markdown] tags=["open:measured-ratio"]\n# Twice\n# as long.\n# %%\ny = 2\n'
    )
    one = taken(tmp_path / "anna.py")
    assert [code.strip() for code in one.cells] == ["", "%matplotlib inline", "x = 1", "y = 2"]
    assert one.open_answers == {"measured-ratio": "Twice\nas long.\n\n~~~python\ny = 2\n~~~"}


def test_of_several_notebooks_the_one_with_work_in_it_is_graded(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    blank, done = edition(ROOT, A1, "learner"), edition(ROOT, A1, "solution")
    (tmp_path / "anna/A1.ipynb").write_text(blank, encoding="utf-8")
    (tmp_path / "anna/A1 (1).ipynb").write_text(done, encoding="utf-8")
    one = taken(tmp_path / "anna")
    assert not one.problem and any("nan_to_num" in code for code in one.cells)
    assert one.note == "A1 (1).ipynb was graded; not graded: A1.ipynb."
    (tmp_path / "anna/A1.ipynb").rename(tmp_path / "anna/A1 (2).ipynb")
    (tmp_path / "anna/A1 (2).ipynb").write_text(done, encoding="utf-8")
    assert not taken(tmp_path / "anna").problem, "copies of one notebook"
    (tmp_path / "anna/A1 (2).ipynb").write_text(f"{done}\n", encoding="utf-8")
    assert "2 notebooks" in taken(tmp_path / "anna").problem, "a person has to decide"


@pytest.mark.parametrize("name", ["A2.ipynb", "notes.ipynb"])
def test_other_work_beside_a_notebook_that_is_filled_in_part_does_not_count(
    tmp_path: Path, name: str
) -> None:
    """Also where it is finished, or has the name, or an untouched copy is there, too."""
    (tmp_path / "anna").mkdir()
    blank = edition(ROOT, A1, "learner")
    part = json.loads(edition(ROOT, A1, "solution"))
    for one in part["cells"]:
        if "def block_operations" in "".join(one["source"]):
            one["source"] = ["def block_operations(height, width, channels):\n", "    ..."]
    other = edition(ROOT, A2, "solution") if name == "A2.ipynb" else notebook()
    for mine, theirs in (("A1.ipynb", name), ("mine.ipynb", "A1.ipynb")):
        files = {mine: json.dumps(part), theirs: other, "blank.ipynb": blank}
        for path, text in files.items():
            (tmp_path / "anna" / path).write_text(text, encoding="utf-8")
        one = taken(tmp_path / "anna")
        assert one.note.startswith(f"{mine} was graded; not graded: ")
        assert theirs in one.note and "blank.ipynb" in one.note
        (tmp_path / "anna" / mine).unlink()


def task(*names: str) -> str:
    """A notebook that does these tasks of A1."""
    return json.dumps({"cells": [cell(f"def {one}(): return 1", kind="code") for one in names]})


DONE, BLANK = task("attention_weights", "block_operations"), edition(ROOT, A1, "learner")
IMPORTS = json.dumps({"cells": [cell("from mine import *", kind="code")]})
RUNS = json.dumps({"cells": [cell("%run ./mine.ipynb", kind="code"), *json.loads(BLANK)["cells"]]})
SCRIPT = "def attention_weights(): return 1"


@pytest.mark.parametrize(
    ("files", "graded", "note"),
    [
        ({"A1.ipynb": BLANK, "A1.py": SCRIPT}, "A1.py", "not graded: A1.ipynb."),
        ({"A1.ipynb": BLANK, "tools.py": "x = 1"}, "A1.ipynb", "beside it: tools.py."),
        ({"A1.ipynb": DONE, "A1.py": SCRIPT}, "A1.ipynb", "beside it: A1.py."),
        ({"A1.ipynb": IMPORTS, "mine.py": SCRIPT}, "A1.ipynb", "beside it: mine.py."),
        ({"A1.ipynb": RUNS, "mine.ipynb": DONE}, "A1.ipynb", "beside it: mine.ipynb."),
        ({"A1.ipynb": "{", "A1.py": SCRIPT}, "A1.py", "not graded: A1.ipynb."),
        ({"w.ipynb": notebook(), "a.py": "x", "b.py": "y"}, "w.ipynb", "beside it: a.py, b.py."),
    ],
)
def test_work_in_a_script_counts_and_what_a_notebook_uses_is_not_graded_instead(
    tmp_path: Path, files: dict[str, str], graded: str, note: str
) -> None:
    write_zip(tmp_path / "anna.zip", **files)
    one = taken(tmp_path / "anna.zip")
    assert not one.problem and note in one.note
    assert (f"{graded} was graded" in one.note) == ("not graded" in note)
    write_zip(tmp_path / "anna.zip", **{graded: files[graded]})
    assert one.cells == taken(tmp_path / "anna.zip").cells


def test_what_is_another_assignment_is_said(tmp_path: Path) -> None:
    (tmp_path / "anna.ipynb").write_text(edition(ROOT, A2, "solution"), encoding="utf-8")
    words = "No task of A1 is in it, and its title is A2. Asymmetric attention with any pyramid."
    assert words in taken(tmp_path / "anna.ipynb").note
    for which in ("learner", "solution"):
        (tmp_path / "anna.ipynb").write_text(edition(ROOT, A1, which), encoding="utf-8")
        assert taken(tmp_path / "anna.ipynb").note == ""


@pytest.mark.parametrize("kind", ["ipynb", "# %%", "#%%"])
def test_an_answer_without_a_tag_is_found_below_the_heading_of_its_task(
    tmp_path: Path, kind: str
) -> None:
    cells = json.loads(edition(ROOT, A1, "learner"))["cells"]
    assert "".join(cells.pop()["source"]) == "*Your answer*"
    cells += [cell("## My answer"), cell("Because."), cell("x = 4", kind="code")]
    cells += [cell("## Task 2: The block"), cell("not this")]
    plain = [(one["cell_type"], "".join(one["source"])) for one in cells]
    if kind == "ipynb":
        text = json.dumps({"cells": [cell(source, kind=of) for of, source in plain]})
        (tmp_path / "anna.ipynb").write_text(text)
    else:
        heads = {"code": f"{kind}\n", "markdown": f"{kind} [markdown]\n# "}
        parts = [heads[of] + s.replace("\n", "\n# " * (of != "code") or "\n") for of, s in plain]
        (tmp_path / "anna.py").write_text("\n".join(parts), encoding="utf-8")
    one = taken(tmp_path / "anna.ipynb")
    answer = "## My answer\n\nBecause.\n\n~~~python\nx = 4\n~~~"
    assert one.open_answers == {"measured-ratio": answer}
    assert len(one.cells) - sum(of == "code" for of, _ in plain) == (kind != "ipynb")


RELEASED = template(ROOT, A1).open_answers[""]


def handed_in(folder: Path, where: str) -> Submission:
    """The released notebook, with the text "Because." at that place."""
    cells = json.loads(edition(ROOT, A1, "learner"))["cells"]
    for one in cells:
        one["source"] = "".join(one["source"])
    *others, heading, answer = cells
    mine = cell("Because.")
    added = {**heading, "source": f"{heading['source']}\n\nBecause."}
    points = {**heading, "source": heading["source"].replace("*5 points", "*7 points")}
    below = cell("x = 4", kind="code")
    found = {
        "nowhere": [*others, heading, answer],
        "nowhere, other points": [*others, points, answer],
        "above the cell": [*others, heading, mine, answer],
        "in the heading's cell": [*others, added, answer],
        "merged": [*others, added],
        "merged, code below": [*others, added, below],
        "another place": [*others, mine, heading, answer],
    }[where]
    (folder / "anna.ipynb").write_text(json.dumps({"cells": found}), encoding="utf-8")
    (one,) = collect(folder, A1, RELEASED)
    return one


@pytest.mark.parametrize(
    ("where", "answer", "note"),
    [
        ("nowhere", "*Your answer*", ""),
        ("nowhere, other points", "*Your answer*", ""),
        ("above the cell", "Because.\n\n*Your answer*", ""),
        ("in the heading's cell", "Because.\n\n*Your answer*", ""),
        ("merged", "Because.", ""),
        ("merged, code below", "Because.\n\n~~~python\nx = 4\n~~~", ""),
        ("another place", "*Your answer*", "text elsewhere in the notebook"),
    ],
)
def test_an_answer_beside_its_cell_is_read_or_noted(
    tmp_path: Path, where: str, answer: str, note: str
) -> None:
    one = handed_in(tmp_path, where)
    assert one.open_answers == {"measured-ratio": answer}
    assert note in one.note and bool(note) == bool(one.note)


def test_a_notebook_without_a_cell_for_an_answer_is_noted(tmp_path: Path) -> None:
    assert answers_in(tmp_path / "anna.ipynb", cell("Because.")) == ""
    words = "No answer cell found for measured-ratio: look into the notebook."
    assert taken(tmp_path / "anna.ipynb").note == words


def test_an_answer_that_is_cut_says_how_much_is_left_out(tmp_path: Path) -> None:
    pieces = [cell(letter * 15_000, "open:measured-ratio") for letter in "ab"]
    found = answers_in(tmp_path / "anna.ipynb", *pieces)
    text, _, note = found.rpartition("\n\n")
    assert text == "a" * 15_000 + "\n\n" + "b" * (20_000 - 15_000 - 2)
    assert note == "(cut here: 10,002 more letters in the notebook)"
    assert "cut here" not in answers_in(tmp_path / "anna.ipynb", cell("a", "open:measured-ratio"))


def test_what_jupyter_saves_by_itself_is_passed_over_in_zips_too(tmp_path: Path) -> None:
    files = {"A1/.ipynb_checkpoints/A1-checkpoint.ipynb": "{}", "A1/A1.ipynb": notebook()}
    one = taken(write_zip(tmp_path / "anna.zip", **files))
    assert one.cells == ("x = 1\ny = 2",) and "graded" not in one.note


def test_a_zip_of_endless_files_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "eve.zip", **{f"{number}.txt": "" for number in range(2001)})
    assert "more than 2000 files" in taken(tmp_path / "eve.zip").problem


def test_no_part_of_a_path_may_have_become_a_link(tmp_path: Path) -> None:
    """As if it was exchanged between looking and reading."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/A1.ipynb").write_text(notebook())
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/eve").symlink_to(tmp_path / "secret")
    (tmp_path / "inbox/A1.ipynb").symlink_to(tmp_path / "secret/A1.ipynb")
    for name in ("eve/A1.ipynb", "A1.ipynb"):
        with pytest.raises(Unreadable, match="link"):
            read(tmp_path / "inbox", tmp_path / "inbox" / name)
    assert read(tmp_path, tmp_path / "secret/A1.ipynb") == notebook().encode()


def test_hard_links_and_names_that_look_the_same_are_flagged(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name in ("anna", "аnna", "bert"):  # the second begins with a Cyrillic letter
        (inbox / f"{name}.ipynb").write_text(notebook())
    os.link(inbox / "bert.ipynb", tmp_path / "elsewhere")
    notes = {one.student: one.note for one in collect(inbox, A1)}
    assert "look the same" in notes["anna"] and r"\u0430nna" in notes["аnna"]
    assert "hard link" in notes["bert"] and "look the same" not in notes["bert"]
