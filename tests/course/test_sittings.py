"""How long a lesson takes stands the same everywhere; the second sitting runs after a restart."""

import re
from pathlib import Path

import pytest

from annlib.course.authoring import Lesson, read, sources
from annlib.course.checks.base import NotYet
from tools.check_lessons import stated_times, times

ROOT = Path(__file__).parents[2]
LESSONS = {source.stem: read(source) for source in sources(ROOT)}
TIMES = {name: stated_times(lesson.cells[0].text) for name, lesson in LESSONS.items()}
CORE = [name for name in LESSONS if int(name[:2]) < 8]
TWO = [name for name, one in TIMES.items() if len(one.sittings) == 2]


def text_of(name: str) -> str:
    return " ".join(
        (ROOT / "notebooks" / name).read_text(encoding="utf-8").replace("# ", "").split()
    )


def test_sums_of_the_headers_are_stated_equally_everywhere() -> None:
    core = f"{sum(TIMES[name].total for name in CORE)} minutes"
    whole = f"{sum(one.total for one in TIMES.values())} minutes"
    for page in ("README.md", "source/00_start_here.py"):
        assert core in text_of(page) and whole in text_of(page), page
    assert core in text_of("teaching/guide.md")


@pytest.mark.parametrize("name", LESSONS)
def test_row_of_a_lesson_has_the_minutes_of_its_header(name: str) -> None:
    one = TIMES[name]
    numbers = [one.total, one.reading, one.exercises, one.running, one.more or ""]
    row = " | ".join(map(str, numbers))
    assert re.search(
        rf"\]\({name}.ipynb\) \| {row} ?\|", text_of("README.md").replace("|  |", "| |")
    )
    if name in CORE:
        assert re.search(rf"/{name}.ipynb\) \| {one.total} \|", text_of("teaching/guide.md"))
        number = int(name[:2])
        assert re.search(
            rf"\| {number + 1} \|[^|]+\|[^|]+\| {one.total} \|", text_of("source/00_start_here.py")
        )


def with_header(text: str) -> Lesson:
    lesson = LESSONS[TWO[0]]
    return lesson._replace(cells=[lesson.cells[0]._replace(text=text), *lesson.cells[1:]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"\*\*Time:\*\* \d+", "**Time:** 999", "do not add up"),
        (r"reading \d+", "reading 5", "by the rule"),
        (r"exercises \d+", "exercises 5", "by the rule"),
        (r"sittings,\s+\d+", "sittings, 7", "the sittings do not add up"),
        (r"\*\*Time:\*\* \d+ min", "**Time:** an hour", "write `- **Time:**"),
    ],
)
def test_time_that_differs_from_the_rule_is_found(old: str, new: str, message: str) -> None:
    header = LESSONS[TWO[0]].cells[0].text
    assert not list(times(with_header(header)))
    assert message in "\n".join(times(with_header(re.sub(old, new, header))))


@pytest.mark.slow
@pytest.mark.parametrize("edition", ["solution", pytest.param("learner", marks=pytest.mark.all)])
@pytest.mark.parametrize(
    "name", [TWO[0], *(pytest.param(name, marks=pytest.mark.all) for name in TWO[1:])]
)
def test_second_sitting_runs_after_parameters_and_setup_alone(name: str, edition: str) -> None:
    cells = LESSONS[name].cells
    start = next(n for n, cell in enumerate(cells) if "## Sitting 2 of 2" in cell.text)
    known: dict = {}
    for cell in (
        *LESSONS[name].tagged("parameters"),
        *LESSONS[name].tagged("setup"),
        *cells[start:],
    ):
        if cell.kind != "code":
            continue
        text = cell.text.replace('mode = "learn"', 'mode = "quick"')
        if edition == "learner":
            text = re.sub(r"= .*  # solution$", "= ...", text, flags=re.MULTILINE)
        try:
            exec(compile(text, cell.place, "exec"), known)
        except NotYet:
            assert edition == "learner"
