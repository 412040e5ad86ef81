"""The table of the rubric says what is there, and what is not."""

import json
from pathlib import Path

import pytest

from annlib.course.running.release import chosen
from tools.rubric import JUDGED, POINTS, read_judgements, rubric_findings, rubric_page, scores

ROOT = Path(__file__).parents[2]
FIXTURE = Path(__file__).parents[1] / "lessons/90_fixture.py"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A project folder with one lesson that a person found good, and its gallery."""
    source = tmp_path / "notebooks/source/90_fixture.py"
    source.parent.mkdir(parents=True)
    source.write_text(FIXTURE.read_text())
    gallery = tmp_path / "tests/course/exercises/lesson_90.py"
    gallery.parent.mkdir(parents=True)
    gallery.write_text('GALLERIES = {"mean": None}')
    judge(tmp_path, {})
    (tmp_path / "notebooks/RUBRIC.md").write_text(rubric_page(tmp_path))
    return tmp_path


def judged(first: int, second: int, cell: str = "header", for_3: str = "More.") -> dict:
    return {"first": first, "second": second, "cell": cell, "evidence": "-", "for_3": for_3}


def judge(root: Path, changes: dict[str, dict]) -> None:
    """Full points with a cell each, but for `changes`."""
    points = {
        p: {"first": 3, "second": 3, "cell": "header", "evidence": f"Seen {p}."} for p in JUDGED
    }
    text = json.dumps({"90_fixture": points | changes})
    (root / "notebooks/rubric.json").write_text(text)


def source_of(root: Path) -> Path:
    return root / "notebooks/source/90_fixture.py"


def test_lesson_that_meets_all_has_all_points_and_its_evidence_is_quoted(course: Path) -> None:
    assert rubric_findings(course) == []
    page = (course / "notebooks/RUBRIC.md").read_text()
    assert f"| 90_fixture | {' | '.join('3' * len(POINTS))} | 100% |" in page
    assert "- R7, 3: Seen R7. (cell `header`)" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R7": judged(3, 0)}, "R7 (Interaction has a job) scores 0"),
        ({"R7": judged(3, 3, cell="gone")}, "is in 'gone'"),
        ({p: judged(2, 1) for p in JUDGED}, "58% of the rubric"),
        ({"R7": judged(2, 3, for_3="")}, "R7 is below 3; say what would make it a 3"),
    ],
)
def test_judgement_that_is_too_low_or_leans_on_nothing_is_found(course, change, message) -> None:
    judge(course, change)
    findings = "\n".join(rubric_findings(course))
    assert message in findings and "RUBRIC.md is out of date" in findings


def test_lower_of_two_scores_counts_and_both_are_shown(course: Path) -> None:
    judge(course, {"R4": judged(3, 2)})
    assert scores(source_of(course), read_judgements(course)["90_fixture"])["R4"] == 2
    page = rubric_page(course)
    assert "| 3/2 |" in page and "- R4, 3/2: - (cell `header`) *For a 3:* More." in page


def test_point_that_nobody_judged_is_none(course: Path) -> None:
    (course / "notebooks/rubric.json").unlink()
    assert read_judgements(course) == {}
    assert "nobody has judged R3" in "\n".join(rubric_findings(course))
    assert scores(source_of(course), {})["R3"] == 0


def test_point_that_the_lint_faults_is_none_whoever_praised_it(course: Path) -> None:
    text = source_of(course).read_text().replace("widgets.SetUp()", "None")
    source_of(course).write_text(text)
    assert scores(source_of(course), read_judgements(course)["90_fixture"])["R7"] == 0


def test_checker_without_a_gallery_costs_its_point(course: Path) -> None:
    (course / "tests/course/exercises/lesson_90.py").unlink()
    assert "R12 (Checks cannot be fooled) scores 0" in "\n".join(rubric_findings(course))


@pytest.mark.parametrize("name", ["90", "90_fixture", "90_fixture.ipynb"])
def test_lesson_is_chosen_by_number_or_name(course: Path, name: str) -> None:
    assert chosen(course, (name,)) == chosen(course, ()) == [source_of(course)]


def test_lesson_that_does_not_exist_is_refused_with_those_that_do(course: Path) -> None:
    with pytest.raises(ValueError, match="No lesson '91'.*90_fixture"):
        chosen(course, ("91",))


@pytest.mark.slow
def test_rubric_of_the_course_is_current_and_met() -> None:
    assert rubric_findings(ROOT) == []
