"""The pages in a browser: screen readers find their way, nothing is loaded, nothing overflows."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from annlib.course.assignments.a1 import A1
from annlib.grader.batch import kept_seed, write_all
from annlib.grader.by_hand import Given
from annlib.grader.gradebook import Gradebook
from annlib.grader.judge import Mark, Result
from annlib.grader.roster import Student
from tests.grader.test_by_hand import DOT, NAME, TASK

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
ANSWER = """# My measurement

| size | ratio |
|---|---|
| 32 | 3.9 |

~~~python
x = 1
~~~

![output 1](image:1) <img src="https://example.org/x.png" onerror="document.title = 'run'">
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names as long as they come, every section filled."""
    out = tmp_path_factory.mktemp("pages")
    names = ("Anna", "Zoë " + "Hohenschwangau-" * 6, "X" * 100, "<script>document.title='run'")
    roster = {str(n): Student(str(n), name, "red") for n, name in enumerate((*names, "Nobody"))}
    mark = Mark(TASK, "operations of small maps", 0, 2, "one product", "Two products.")
    failed = ({"cell": 3, "type": "ValueError", "message": ""},)
    answers, images = {NAME: ANSWER}, {"image:1": DOT}
    results = [
        Result(str(n), (), "", "finished", failed, (mark,), answers, "same", "same", images)
        for n in range(len(names))
    ]
    given = {("0", NAME): Given(3, "Good", "", (1, 1, 1, 0), ("0", NAME, "1+1+1+0", "Good"))}
    book = Gradebook(
        roster,
        {"0": 1},
        given=given,
        requests={("2", TASK): "Please look"},
        similar=[("1", "2", "code", "80 %")],
        unknown=["late list: carl is not known here"],
    )
    kept_seed(out, "A1", 7)
    write_all(A1, results, out, book)
    return out


@pytest.mark.parametrize("width", [1100, 400])
@pytest.mark.parametrize("name", ["report.html", "answers.html", "feedback.html", "feedback/0-*"])
def test_page_is_accessible_loads_nothing_and_fits(
    browser: Browser, folder: Path, name: str, width: int
) -> None:
    (path,) = folder.glob(name)
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(path.as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.title() != "run"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(Axe().axe_script + ";0")
    found = page.evaluate("() => axe.run()")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    page.close()


def test_every_page_is_in_the_index(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / "feedback.html").as_uri())
    links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
    assert sorted(links) == sorted(f"feedback/{p.name}" for p in (folder / "feedback").iterdir())
    page.click("a")
    assert "The non-local block" in page.inner_text("h1")
    page.close()
