"""The site of the project: what its pages are made of, and what the check of its links finds."""

import re
import shutil
from pathlib import Path

import pytest
import small_site

from annlib.course.authoring import sources
from tools import site


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a small project, without explorer and interface."""
    folder = tmp_path_factory.mktemp("site")
    project, executed = small_site.make(folder)
    site.build(project, folder / "out", executed, with_api=False, with_explorer=False)
    return folder / "out"


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "copy")


def test_every_link_of_a_small_site_leads_somewhere(built: Path) -> None:
    findings, seen = site.check(built)
    assert findings == [] and seen > 150
    assert len(list(built.rglob("*.html"))) == 18


def test_links_of_documents_lead_to_pages_copies_and_lists(built: Path) -> None:
    page = (built / "CONTRIBUTING.html").read_text()
    for link in ("tools/x.py.txt", "tools/index.html", "notebooks/reference.html#a-new-term"):
        assert f'href="{link}"' in page
    assert (built / "tools/x.py.txt").read_text() == "x = 1\n"
    assert "<li>x.py</li>" in (built / "tools/index.html").read_text()
    assert 'href="../tools/x.py.txt"' in (built / "notebooks/reference.html").read_text()


def test_lesson_keeps_images_formulas_and_anchors_and_gets_a_notebook(built: Path) -> None:
    page = (built / "notebooks/90_fixture.html").read_text()
    assert '<img alt="A dot" src="data:image/png;base64,' in page
    assert 'id="exercise-901-is-it-here"' in page and 'href="#exercise-901-is-it-here"' in page
    assert "<math" in (built / "notebooks/reference.html").read_text()
    assert (built / "notebooks/90_fixture.ipynb").is_file()
    assert "20 min" in (built / "notebooks/index.html").read_text()


def test_hint_is_folded(built: Path) -> None:
    page = (built / "notebooks/90_fixture.html").read_text()
    (folded,) = re.findall(r"<details>(.*?)</details>", page, re.DOTALL)
    assert "Hint 1: the idea</summary>" in folded and "It is <math" in folded


@pytest.mark.parametrize(
    ("added", "finding"),
    [
        ('<a href="nowhere.html">x</a>', "nowhere.html does not exist"),
        ('<a href="notebooks/reference.html#no">x</a>', "#no: the page has no such anchor"),
        ('<a href="../away.html">x</a>', "../away.html leads out of the site"),
        ('<img alt="" src="https://example.org/x.png">', "loads https://example.org/x.png"),
        ('<script src="//example.org/x.js"></script>', "loads //example.org/x.js"),
        ("<style>a { background: url(http://a.org/b) }</style>", "loads http://a.org/b"),
        (
            '<iframe srcdoc="&lt;img src=&quot;http://a.org/c&quot;>"></iframe>',
            "loads http://a.org/c",
        ),
        ('<p id="content"></p>', "two elements have the id 'content'"),
    ],
)
def test_check_finds_what_is_wrong_with_a_page(copied: Path, added: str, finding: str) -> None:
    path = copied / "CHANGELOG.html"
    path.write_text(path.read_text().replace("</main>", f"{added}</main>"))
    findings, _ = site.check(copied)
    assert len(findings) == 1 and finding in findings[0] and "CHANGELOG.html" in findings[0]


def test_link_to_another_site_is_no_request(copied: Path) -> None:
    path = copied / "CHANGELOG.html"
    path.write_text(path.read_text().replace("</main>", '<a href="https://a.org/b#c">x</a></main>'))
    assert site.check(copied)[0] == []


def test_folder_that_is_not_a_site_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="not a site: name a new folder"):
        site.build(tmp_path, tmp_path, tmp_path, False, False)
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_header_without_its_minutes_is_reported() -> None:
    assert site.lesson_minutes("- **Time:** 80 min: reading 25, exercises 50, running 5") == 80
    with pytest.raises(ValueError, match="no line .*Time"):
        site.lesson_minutes("- **Reading:** 5 min")


def test_time_of_the_course_is_the_sum_of_its_headers() -> None:
    readme = (site.ROOT / "README.md").read_text(encoding="utf-8")
    texts = {p.stem: p.read_text(encoding="utf-8") for p in sources(site.ROOT)}
    minutes = {name: site.lesson_minutes(text.replace("\n#", "\n")) for name, text in texts.items()}
    assert site.course_time(minutes) in " ".join(readme.split())
    rows = re.findall(r"^\| \[.*?\]\(notebooks/(\w+)\.ipynb\) \| (\d+) \|", readme, re.MULTILINE)
    assert {name: int(number) for name, number in rows} == minutes


def test_course_time_is_a_sum_by_parts() -> None:
    found = site.course_time({"00_a": 40, "07_b": 80, "08_c": 60, "12_e": 70})
    assert "core path, take 120 minutes (about 2 hours)" in found and "4 take 250 (" in found


@pytest.mark.all
@pytest.mark.timeout(3600)
def test_the_whole_site_has_no_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    problems = site.run_missing(site.ROOT, tmp_path / "course", print)
    assert [one for one in problems if "[time]" not in one] == []
    assert site.build(site.ROOT, tmp_path / "site", tmp_path / "course") > 180
    assert site.check(tmp_path / "site")[0] == []
