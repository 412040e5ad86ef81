"""Checkers of lesson 10: a registered claim, its seeds, and the decision.

The rule is the learner's own; what is checked is what any sensible rule does.
"""

import re
from collections.abc import Callable, Sequence

import torch

from annlib.course.checks.base import NotYet, draw, expect, fresh
from annlib.course.lesson import say
from annlib.course.statistics import (
    DIRECTIONS,
    METRICS,
    OPEN,
    REFUTED,
    SUPPORTED,
    VERDICTS,
    Registration,
)

HEDGES = re.compile(
    r"\b(may|might|could|can|sometimes|(?<!more )often|potentially|tends?|somewhat|good(?! as))\b",
    re.IGNORECASE,
)
FEWEST_SEEDS = 3
GRANTED = 0.1  # of the scale of a share: who loses more is not "no worse"
UNTOLD = (None, ...)


def seeds_in_budget(student: Callable[[float, float, int], int]) -> None:
    """student(minutes, seconds_a_run, arms) -> seeds for each arm"""
    expect(callable(student), "Write the function seeds_in_budget in place of the three dots.")
    for _ in range(3):
        seconds, arms, seeds = 7.0 * draw(3, 12), draw(2, 4), draw(3, 9)
        exact = seeds * arms * seconds / 60
        spare = 0.4 * arms * seconds / 60
        check_number(student, exact + 1e-6, seconds, arms, seeds)
        check_number(student, exact + 2 * spare, seconds, arms, seeds)
        expect(
            ask_number(student, exact - spare, seconds, arms) == seeds - 1,
            f"{exact - spare:.1f} minutes end before seed {seeds} has run in every arm, and a seed "
            "counts only when all arms have it: round down.",
        )
    expect(
        ask_number(student, 1.0, 100.0, 2) == 0,
        "One minute is too short for two runs of 100 seconds: 0 seeds, not one or less than none.",
    )
    say("Right: a seed costs one run in each arm, and only whole ones count.")


def ask_number(
    student: Callable[[float, float, int], int], minutes: float, seconds: float, arms: int
) -> int:
    try:
        seeds = student(minutes, seconds, arms)
    except Exception as error:
        raise NotYet(f"seeds_in_budget stopped with {type(error).__name__}: {error}") from error
    expect(
        seeds is not None and seeds is not ...,
        "seeds_in_budget gives nothing back yet: put your code in place of the three dots.",
    )
    expect(
        isinstance(seeds, int) and not isinstance(seeds, bool),
        f"Seeds are counted: a whole number (int), not {seeds!r}.",
    )
    return seeds


def check_number(
    student: Callable[[float, float, int], int],
    minutes: float,
    seconds: float,
    arms: int,
    wanted: int,
) -> None:
    """Names the slip if the number is that of a known one."""
    got = ask_number(student, minutes, seconds, arms)
    case = f"{minutes:.1f} minutes, {seconds:.0f} s a run and {arms} arms"
    expect(
        got != int(60 * minutes / seconds),
        f"{case}: {got} is the number of runs. Every seed runs once in each arm.",
    )
    expect(got != int(minutes / seconds / arms), f"{case}: minutes are not seconds.")
    expect(
        got != wanted + 1, f"{case}: with {got} seeds the time runs out before the last is done."
    )
    expect(
        got == wanted, f"{case}: {got} seeds would take {got * arms * seconds / 60:.1f} minutes."
    )


def registration(student: Callable[[], Registration]) -> None:
    """student() -> a claim of the learner's own"""
    expect(callable(student), "Write the function my_registration in place of the three dots.")
    try:
        told = student()
    except Exception as error:
        raise NotYet(f"my_registration stopped with {type(error).__name__}: {error}") from error
    expect(
        isinstance(told, Registration),
        "my_registration gives back no Registration yet: put one in place of the three dots.",
    )
    check_all_told(told)
    check_words(told)
    check_metric(told)
    check_seeds(told)
    say(f"Registered as {told.fingerprint}. It is refuted if {told.refuted_if}.")


def check_all_told(told: Registration) -> None:
    expect(
        told.smallest_effect not in UNTOLD,
        "No smallest effect: a threshold that is chosen after the fact fits any result. Fix a "
        "number now.",
    )
    for name in ("claim", "source", "treatment", "control", "metric", "direction"):
        value = getattr(told, name)
        expect(
            isinstance(value, str) and bool(value.strip()),
            f"{name} is not told. Without it nobody could repeat your test"
            + (", or know what the number is compared with." if name == "control" else "."),
        )


def check_words(told: Registration) -> None:
    """A claim that any result would fit is none."""
    found = HEDGES.search(told.claim)
    expect(
        not found,
        f"The claim says {found[0] if found else ''!r}: any result would fit, so nothing could "
        "refute it. Say what is higher or lower than what.",
    )
    expect(
        len(told.claim.split()) >= 6,
        f"{told.claim!r} is short for a claim: who is higher or lower than whom, at what?",
    )
    expect(
        told.control.strip().lower() not in ("none", "no", "-", told.treatment.strip().lower()),
        "There is no control: a number alone is neither high nor low. Name the same network "
        "without the one thing that you claim makes the difference.",
    )
    expect(
        told.direction in DIRECTIONS,
        f"direction is {told.direction!r}: one of {DIRECTIONS}. 'Different' fits nearly any "
        "result.",
    )


def check_metric(told: Registration) -> None:
    expect(
        told.metric in METRICS,
        f"{told.metric!r} is not measured here. What is: {', '.join(METRICS)}.",
    )
    largest = METRICS[told.metric]
    expect(
        isinstance(told.smallest_effect, int | float) and told.smallest_effect != 0,
        "With a smallest effect of 0 the faintest trace counts, which no number of seeds can "
        "exclude. How much would matter to somebody? (Negative: how much loss is still no worse.)",
    )
    expect(
        abs(told.smallest_effect) < largest,
        f"A smallest effect of {told.smallest_effect:g} in {told.metric} cannot be reached: the "
        f"scale ends at {largest:g}. Shares lie between 0 and 1.",
    )
    expect(
        largest > 1 or told.smallest_effect >= -GRANTED,
        f"A smallest effect of {told.smallest_effect:g} lets a loss of {-told.smallest_effect:g} "
        f"pass as no worse, so hardly anything could refute it. Grant {GRANTED:g} at most.",
    )


def check_seeds(told: Registration) -> None:
    seeds = told.seeds
    expect(
        isinstance(seeds, tuple | list | range) and all(isinstance(s, int) for s in seeds),
        f"seeds are whole numbers in a tuple, (0, 1, 2); you wrote {seeds!r}.",
    )
    expect(
        len(set(seeds)) == len(seeds),
        "A seed is there twice: the same run counted twice is no new evidence.",
    )
    expect(
        len(seeds) >= FEWEST_SEEDS,
        f"{len(seeds)} seed(s) show hardly any spread: take {FEWEST_SEEDS} at least.",
    )
    expect(
        isinstance(told.budget_minutes, int | float) and 0 < told.budget_minutes <= 600,
        "budget_minutes: how long may it run, between 1 and 600?",
    )


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
        "Student's t is much larger. annlib.course.statistics.interval knows it.",
    )
