"""The course as it is handed out: every notebook current, executed, and through every gate."""

from pathlib import Path

import pytest

from annlib.course.authoring.build import check_current
from annlib.course.running.release import release
from tools.check_lessons import lint_all

ROOT = Path(__file__).parents[2]


def test_every_notebook_is_what_its_source_says() -> None:
    assert check_current(ROOT) == []


def test_every_source_keeps_the_rules() -> None:
    assert lint_all(ROOT) == []


@pytest.mark.notebooks
@pytest.mark.timeout(900)
def test_every_lesson_runs_in_both_editions_and_passes_every_gate() -> None:
    parameters = {"mode": "quick", "device": "cpu", "seed": 0}
    assert release(ROOT, ROOT / "build/course", parameters, print) == []
