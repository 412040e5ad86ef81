"""Checker of lesson 10: supported, refuted, or cannot tell.

The rule is the learner's own; what is checked is what any sensible rule does.
"""

from collections.abc import Callable, Sequence

import torch

from annlib.course.capstone import OPEN, REFUTED, SUPPORTED, VERDICTS
from annlib.course.exercises.checking import NotYet, draw, expect, fresh
from annlib.course.lines import say

Student = Callable[[Sequence[float], float], str]
STUDIES = 800
RARELY = 0.145  # share of bold decisions: 0.05 or 0.1 is meant, the rest is chance; 1.96 gives 0.19


def decide(student: Student) -> None:
    """student(differences, smallest_effect) -> one of VERDICTS"""
    expect(callable(student), "Write the function decide in place of the three dots.")
    effect = 0.01 * draw(2, 9)
    check_clear(student, effect)
    check_unclear(student, effect)
    check_more_seeds(student, effect)
    check_same_question(student, effect)
    check_rarely_wrong(student, effect)
    say(
        "Right: clear cases are decided, large spread and few seeds are not, scale and order do "
        "not matter, and where the truth lies on the line your rule is rarely wrong."
    )


def ask(student: Student, differences: Sequence[float], effect: float) -> str:
    try:
        answer = student(list(differences), effect)
    except Exception as error:
        raise NotYet(
            f"decide was given {len(differences)} differences and stopped with "
            f"{type(error).__name__}: {error}. One seed has no spread: what can it tell?"
        ) from error
    expect(
        answer is not None and answer is not ...,
        "decide gives nothing back yet: put your code in place of the three dots.",
    )
    expect(answer in VERDICTS, f"decide gave {answer!r}; it must be one of {VERDICTS}.")
    return answer


def around(middle: float, spread: float) -> list[float]:
    """Five seeds, in an order drawn anew."""
    order = torch.randperm(5, generator=fresh()).tolist()
    return [middle + spread * (place - 2) for place in order]


def check_clear(student: Student, effect: float) -> None:
    """Five seeds that agree."""
    tight = 0.05 * effect
    expect(
        ask(student, around(3 * effect, tight), effect) == SUPPORTED,
        f"Five seeds agree on about three times the smallest effect of {effect:g}: supported.",
    )
    expect(
        ask(student, around(-3 * effect, tight), effect) == REFUTED,
        "Five seeds agree on the opposite: refuted. The sign of a difference counts.",
    )
    expect(
        ask(student, around(0.3 * effect, tight), effect) == REFUTED,
        f"Five seeds agree on a third of the smallest effect of {effect:g}. There is an effect, "
        "but not the one that was claimed: refuted. Compare with the smallest effect, not with 0.",
    )


def check_unclear(student: Student, effect: float) -> None:
    """What nobody can decide."""
    wide = [-3 * effect, 2 * effect, 8 * effect]
    expect(
        ask(student, wide, effect) == OPEN,
        "Three seeds from far below to far above: their mean lies above the smallest effect by "
        "chance. Large spread, few seeds: cannot tell. Where does the spread enter your rule?",
    )
    expect(
        ask(student, around(effect, 0.1 * effect), effect) == OPEN,
        "Five seeds lie close around the smallest effect itself, on both sides: cannot tell.",
    )
    expect(
        ask(student, [3 * effect], effect) == OPEN,
        "One seed shows no spread, so it decides nothing: cannot tell.",
    )


def check_more_seeds(student: Student, effect: float) -> None:
    """The same scatter, many more seeds: the mean is known better."""
    many = [2 * effect + 4 * effect * sign for sign in (-1, 1)] * 60
    expect(
        ask(student, many, effect) == SUPPORTED,
        "With 120 seeds the mean is known well, however far single seeds scatter: what shrinks "
        "with √n is the standard error, and it is the mean that is claimed.",
    )


def check_same_question(student: Student, effect: float) -> None:
    """Other units, another order, the claim turned round."""
    for _ in range(20):
        values = torch.randn(draw(3, 6), generator=fresh(), dtype=torch.float64)
        differences = (effect * (1 + 2 * values)).tolist()
        answer = ask(student, differences, effect)
        scaled = ask(student, [100 * d for d in differences], 100 * effect)
        expect(
            scaled == answer,
            "The same numbers in percent give another decision. Only ratios may matter: no fixed "
            "number belongs into the rule.",
        )
        expect(
            ask(student, differences[::-1], effect) == answer,
            "The order of the seeds changes the decision. Seeds are names, not times: mean and "
            "spread do not know an order.",
        )
        if answer == SUPPORTED:
            expect(
                ask(student, [-d for d in differences], effect) == REFUTED,
                "The same differences support the claim and, turned round, do not refute it.",
            )


def check_rarely_wrong(student: Student, effect: float) -> None:
    """The truth lies exactly on the line: either decision is wrong or bold."""
    draws = torch.randn(STUDIES, 3, generator=fresh(), dtype=torch.float64)
    bold = sum(ask(student, (effect * (1 + row)).tolist(), effect) != OPEN for row in draws)
    expect(
        bold / STUDIES < RARELY,
        f"Of {STUDIES} studies of 3 seeds, whose true effect was exactly the smallest that counts, "
        f"your rule decided {bold}: too sure for three seeds. 1.96 is for many; with few, "
        "Student's t is much larger. annlib.course.intervals.interval knows it.",
    )
