"""Every exercise of every lesson: right answers pass, each misconception is met with advice."""

import time
from importlib import import_module
from pathlib import Path

import pytest
from gallery import Gallery, Wrong

from annlib.course.authoring.source import Cell, read
from annlib.course.checks.base import NotYet

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/source").glob("[0-9][0-9]_*.py"))
GALLERIES: dict[tuple[str, str], Gallery] = {
    (path.stem.removeprefix("lesson_"), name): gallery
    for path in sorted((ROOT / "tests/exercises").glob("lesson_*.py"))
    for name, gallery in import_module(f"exercises.{path.stem}").GALLERIES.items()
}
RIGHT = [(key, index) for key, one in GALLERIES.items() for index in range(len(one.right))]
WRONG = [(key, name) for key, one in GALLERIES.items() for name in one.wrong]
SECONDS = 1.0


def closed_exercises(source: Path) -> dict[str, Cell]:
    """The exercises of a lesson that have a check."""
    lesson = read(source)
    return {name: lesson.with_role("exercise")[name] for name in lesson.with_role("check")}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_exercise_has_five_wrong_answers_with_their_misconception(source: Path) -> None:
    for name in closed_exercises(source):
        gallery = GALLERIES.get((source.stem[:2], name))
        assert gallery, f"tests/exercises/lesson_{source.stem[:2]}.py has no gallery for {name!r}"
        assert len(gallery.wrong) >= 5 and gallery.right, name


@pytest.mark.parametrize(("key", "index"), RIGHT, ids=str)
def test_right_answer_passes_in_under_a_second_and_hears_what_it_has_shown(
    key: tuple[str, str], index: int, capsys: pytest.CaptureFixture
) -> None:
    gallery = GALLERIES[key]
    gallery.check(gallery.right[index])  # the first call may import and warm up
    for _ in range(3):
        capsys.readouterr()
        started = time.process_time()
        gallery.check(gallery.right[index])
        assert time.process_time() - started < SECONDS
        assert len(capsys.readouterr().out) > 20


@pytest.mark.parametrize(("key", "name"), WRONG, ids=str)
def test_wrong_answer_is_met_with_its_advice(key: tuple[str, str], name: str) -> None:
    gallery = GALLERIES[key]
    wrong: Wrong = gallery.wrong[name]
    for _ in range(3):  # inputs are drawn anew: none of them lets it pass
        with pytest.raises(NotYet) as caught:
            gallery.check(wrong.answer)
        assert wrong.advice.lower() in str(caught.value).lower()


@pytest.mark.parametrize("key", GALLERIES, ids=str)
@pytest.mark.parametrize("nothing", [..., None], ids=["three dots", "None"])
def test_exercise_that_is_not_started_is_told_so(key: tuple[str, str], nothing: object) -> None:
    with pytest.raises(NotYet):
        GALLERIES[key].check(nothing)
