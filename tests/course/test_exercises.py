"""Every exercise of every lesson: correct answers pass, each misconception gets its advice."""

import ast
import time
from importlib import import_module
from pathlib import Path
from string import Formatter

import pytest
import torch
from exercises import Gallery, lesson_02

from annlib.course import checks
from annlib.course.authoring import read
from annlib.course.checks import base
from annlib.course.lesson import LINE
from annlib.experiments import town
from annlib.model.build import build_model

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks/source").glob("[0-9][0-9]_*.py"))
GALLERIES: dict[str, Gallery] = {
    f"{path.stem.removeprefix('lesson_')} {name}": gallery
    for path in sorted((ROOT / "tests/course/exercises").glob("lesson_*.py"))
    for name, gallery in import_module(f"exercises.{path.stem}").GALLERIES.items()
}
SECONDS = 1.0


def test_every_exercise_has_five_wrong_answers_with_their_misconception() -> None:
    for source in SOURCES:
        for name in read(source).with_role("check"):
            key = f"{source.stem[:2]} {name}"
            assert key in GALLERIES, f"tests/course/exercises has no gallery for {key}"
            assert len(GALLERIES[key].wrong) >= 5 and GALLERIES[key].right, key


def run_right(gallery: Gallery, capsys: pytest.CaptureFixture) -> None:
    for answer in gallery.right:
        capsys.readouterr()
        gallery.check(answer)
        assert len(capsys.readouterr().out) > 20, answer


def run_wrong(gallery: Gallery) -> None:
    missed = []
    for misconception, wrong in gallery.wrong.items():
        with pytest.raises(checks.NotYet) as caught:
            gallery.check(wrong.answer)
            pytest.fail(f"{misconception!r} is accepted")
        if wrong.advice.lower() not in str(caught.value).lower():
            missed.append(f"{misconception!r}: not {wrong.advice!r}, but {caught.value}")
    assert not missed, "\n".join(missed)


@pytest.mark.parametrize("key", GALLERIES)
def test_correct_answers_pass_and_the_learner_reads_what_they_have_shown(
    key: str, capsys: pytest.CaptureFixture
) -> None:
    run_right(GALLERIES[key], capsys)


@pytest.mark.parametrize("key", GALLERIES)
def test_each_wrong_answer_gets_its_own_advice(key: str) -> None:
    run_wrong(GALLERIES[key])


@pytest.mark.all
@pytest.mark.parametrize("key", GALLERIES)
def test_random_inputs_never_change_a_verdict_and_a_check_takes_under_a_second(
    key: str, capsys: pytest.CaptureFixture
) -> None:
    gallery = GALLERIES[key]
    run_right(gallery, capsys)  # the first call may import and warm up
    for _ in range(3):
        started = time.process_time()
        run_right(gallery, capsys)
        assert time.process_time() - started < SECONDS * len(gallery.right)
        run_wrong(gallery)


@pytest.mark.parametrize("key", GALLERIES)
def test_exercise_that_is_not_started_is_not_accepted(key: str) -> None:
    for nothing in (..., None):
        with pytest.raises(checks.NotYet):
            GALLERIES[key].check(nothing)


@pytest.mark.parametrize("nothing", [None, ...])
def test_a_value_that_is_not_filled_in_is_named(nothing: object) -> None:
    with pytest.raises(checks.NotYet, match="My exercise .*nothing yet"):
        base.given(nothing, "My exercise")


def test_training_steps_that_are_accepted_train_the_lessons_network() -> None:
    config = town("ann").model
    images, labels = torch.randn(2, 3, 32, 48), torch.randint(config.num_classes, (2, 16, 24))
    for step in GALLERIES["06 step"].right:
        torch.manual_seed(0)
        model = build_model(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
        losses = [float(step(model, optimizer, images, labels, 0.01)) for _ in range(5)]
        assert losses[-1] < losses[0]


def test_missing_click_says_what_to_do_and_does_not_stop_run_all(capsys) -> None:
    checks.click_arrived(False)
    assert "No click has arrived" in capsys.readouterr().out


def test_endless_loop_is_stopped_and_the_learner_reads_why(monkeypatch) -> None:
    monkeypatch.setattr(base, "PATIENCE", 0.2)

    def endless(num_bytes: int, channels: int) -> int:
        while num_bytes:
            pass
        return 0

    with pytest.raises(checks.NotYet, match="loop"):
        checks.largest_height(endless)


def test_checks_leave_the_lessons_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    checks.attention_weights(lesson_02.by_matmul)
    assert torch.equal(torch.get_rng_state(), before)


def test_advice_is_shown_without_the_checkers_lines_and_broken_between_words() -> None:
    advice = "Your rows sum to 1 along the wrong axis, so that each position " * 4
    (shown,) = checks.NotYet(advice)._render_traceback_()
    assert "Traceback" not in shown and max(map(len, shown.splitlines())) <= LINE
    assert " ".join(shown.split()) == f"✗ Not yet. {advice}".strip()


def names_with_values(path: Path) -> list[tuple[str, int]]:
    """The words that a checker gives to a function of messages, and how many values it adds."""
    place = {"NotYet": 0, "text": 0, "passed": 0, "expect": 1, "judge": 3}
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in place:
            told = node.args[place[node.func.id] :]
            known = not any(isinstance(one, ast.Starred) for one in told)
            if told and known and isinstance(told[0], ast.Constant):
                found.append((told[0].value, 0 if node.func.id == "judge" else len(told) - 1))
    return found


def test_every_message_of_the_table_is_used_with_as_many_values_as_it_shows() -> None:
    paths = sorted(Path(base.__file__).parent.glob("*.py"))
    sources = "".join(path.read_text(encoding="utf-8") for path in paths)
    for name, message in base.MESSAGES.items():
        assert f'"{name}"' in sources, name
        assert message.rstrip().endswith((".", "?", "!", ")", "}")), name
    for word, num_values in (one for path in paths for one in names_with_values(path)):
        fields = [
            field
            for _, field, *_ in Formatter().parse(base.MESSAGES.get(word, ""))
            if field is not None
        ]
        shown = max((int(field) + 1 for field in fields if field), default=len(fields))
        assert num_values == shown, word
        assert word in base.MESSAGES or word.endswith((".", "?")), word
