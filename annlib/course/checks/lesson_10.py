"""Checkers of lesson 10: a registered claim, its seeds, and the decision.

The rule is the learner's own; the check tests properties that any sensible rule has.
"""

import re
from collections.abc import Callable, Sequence

import torch

from annlib.course.checks.base import attempt_number, expect, judge, passed, result_of, text
from annlib.course.checks.inputs import draw, fresh, normal
from annlib.course.lesson import say
from annlib.course.statistics import DIRECTIONS, METRICS, VERDICTS, Registration

HEDGES = re.compile(
    r"\b(may|might|could|can|sometimes|(?<!more )often|potentially|tends?|somewhat|good(?! as))\b",
    re.IGNORECASE,
)
SUPPORTED, REFUTED, OPEN = VERDICTS
FEWEST_SEEDS = 3
GRANTED = 0.1  # of the scale of a share: a larger loss is not "no worse"
STUDIES = 800
RARELY = 0.145  # share of bold decisions: 0.05 or 0.1 is meant, the rest is chance; 1.96 gives 0.19


def seeds_in_budget(student: Callable[[float, float, int], int]) -> None:
    """student(minutes, seconds_a_run, arms) -> seeds for each arm"""

    def run(minutes: float, seconds: float, arms: int) -> int:
        seeds = attempt_number(student, minutes, seconds, arms)
        expect(isinstance(seeds, int), "seeds not counted", seeds)
        return seeds

    for _ in range(3):
        seconds, arms, seeds = 7.0 * draw(3, 12), draw(2, 4), draw(3, 9)
        exact, spare = seeds * arms * seconds / 60, 0.4 * arms * seconds / 60
        for minutes in (exact + 1e-6, exact + 2 * spare):
            got, runs = run(minutes, seconds, arms), int(60 * minutes / seconds)
            slips = {
                f"{got} is the number of runs. Each seed needs {arms}.": runs,
                "minutes are not seconds.": int(minutes / seconds / arms),
                f"with {got} seeds the time runs out before the last is done.": seeds + 1,
            }
            otherwise = f"{got} seeds would take {got * arms * seconds / 60:.1f} minutes."
            where = f"{minutes:.1f} minutes, {seconds:.0f} s a run and {arms} conditions: "
            judge(got, seeds, slips, otherwise, where)
        otherwise = text("seeds not rounded down", exact - spare, seeds)
        judge(run(exact - spare, seconds, arms), seeds - 1, {}, otherwise)
    expect(run(1.0, 100.0, 2) == 0, "seeds in one minute")
    passed("seeds_in_budget")


def registration(student: Callable[[], Registration]) -> None:
    """student() -> a claim of the learner's own"""
    told = result_of(student)
    expect(isinstance(told, Registration), "no registration", type(told).__name__)
    expect(told.smallest_effect not in (None, ...), "no smallest effect")
    for name in ("claim", "source", "treatment", "control", "metric", "direction"):
        value = getattr(told, name)
        control = " What is the number compared with?" if name == "control" else ""
        expect(isinstance(value, str) and value.strip(), "field missing", name, control)
    hedge = HEDGES.search(told.claim)
    expect(not hedge, "hedge", hedge and hedge[0])
    expect(len(told.claim.split()) >= 6, "short claim", told.claim)
    none = ("none", "no", "-", told.treatment.strip().lower())
    expect(told.control.strip().lower() not in none, "no control")
    expect(told.direction in DIRECTIONS, "no direction", told.direction, DIRECTIONS)
    expect(told.metric in METRICS, "no metric", told.metric, ", ".join(METRICS))
    largest, effect, seeds = METRICS[told.metric], told.smallest_effect, told.seeds
    expect(isinstance(effect, int | float) and effect != 0, "any trace counts")
    expect(abs(effect) < largest, "effect out of reach", effect, told.metric, largest)
    expect(largest > 1 or effect >= -GRANTED, "loss granted", effect, -effect, GRANTED)
    whole = isinstance(seeds, tuple | list | range) and all(isinstance(s, int) for s in seeds)
    expect(whole, "seeds not whole", seeds)
    expect(len(set(seeds)) == len(seeds), "seed twice")
    expect(len(seeds) >= FEWEST_SEEDS, "few seeds", len(seeds), FEWEST_SEEDS)
    minutes = told.budget_minutes
    expect(isinstance(minutes, int | float) and 0 < minutes <= 600, "no budget")
    say(f"Registered as {told.fingerprint}. It is refuted if {told.refuted_if}.")


def decide(student: Callable[[Sequence[float], float], str]) -> None:
    """student(differences, smallest_effect) -> one of VERDICTS"""
    effect = 0.01 * draw(2, 9)

    def ask(differences: Sequence[float], effect: float = effect) -> str:
        hint = "One seed has no spread: what does it show?" if len(differences) == 1 else ""
        answer = result_of(student, list(differences), effect, hint=hint)
        expect(answer in VERDICTS, f"decide gave {answer!r}; it must be one of {VERDICTS}.")
        return answer

    def five(middle: float, spread: float) -> list[float]:
        order = torch.randperm(5, generator=fresh()).tolist()
        return [middle + spread * (place - 2) for place in order]

    cases = {  # advice -> the verdict on these differences, in smallest effects
        "clear effect": (SUPPORTED, five(3, 0.05)),
        "opposite effect": (REFUTED, five(-3, 0.05)),
        "smaller effect": (REFUTED, five(0.3, 0.05)),
        "wide spread": (OPEN, [-3, 2, 8]),
        "at the threshold": (OPEN, five(1, 0.1)),
        "one seed": (OPEN, [3]),
        "many seeds": (SUPPORTED, [-2, 6] * 60),
    }
    for advice, (verdict, shares) in cases.items():
        expect(ask([effect * share for share in shares]) == verdict, advice)
    for _ in range(20):  # other units, another order, the opposite claim
        values = normal(draw(3, 6), dtype=torch.float64)
        differences = (effect * (1 + 2 * values)).tolist()
        answer = ask(differences)
        expect(ask([100 * d for d in differences], 100 * effect) == answer, "percent")
        expect(ask(differences[::-1]) == answer, "order of the seeds")
        expect(answer != SUPPORTED or ask([-d for d in differences]) == REFUTED, "opposite signs")
    # The truth is exactly at the threshold: either decision is wrong or bold.
    draws = normal(STUDIES, 3, dtype=torch.float64)
    bold = sum(ask((effect * (1 + row)).tolist()) != OPEN for row in draws)
    expect(bold / STUDIES < RARELY, "too sure", STUDIES, bold)
    passed("decide")
