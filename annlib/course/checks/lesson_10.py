"""Checkers of lesson 10: how many seeds a budget allows, and a claim that could be refuted."""

import re
from collections.abc import Callable

from annlib.course.capstone import DIRECTIONS, METRICS, Registration
from annlib.course.exercises.checking import NotYet, draw, expect
from annlib.course.lines import say

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
