"""What all checkers of exercises have in common."""

import torch
from exercises import lesson_02

from annlib.course import checks


def test_checks_leave_the_lessons_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    checks.attention_weights(lesson_02.by_matmul)
    assert torch.equal(torch.get_rng_state(), before)
