"""What all checkers of exercises have in common."""

import torch
from exercises import lesson_02

from annlib.course import checks
from annlib.course.lesson import LINE


def test_checks_leave_the_lessons_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    checks.attention_weights(lesson_02.by_matmul)
    assert torch.equal(torch.get_rng_state(), before)


def test_advice_is_shown_without_the_checkers_lines_and_broken_between_words() -> None:
    advice = "Your rows sum to 1 along the wrong axis, so that each position " * 4
    (shown,) = checks.NotYet(advice)._render_traceback_()
    assert "Traceback" not in shown and max(map(len, shown.splitlines())) <= LINE
    assert " ".join(shown.split()) == f"Not yet. {advice}".strip()
