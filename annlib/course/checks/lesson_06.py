"""Checkers of lesson 06: the first loss and the learning rate."""

from collections.abc import Callable
from math import log, log2, log10
from typing import TypeVar

import torch
from torch import Tensor

from annlib.course.exercises.checking import NotYet, draw, expect, fresh
from annlib.course.lines import say

Rate = Callable[[int, int, float, float, float], float]
Value = TypeVar("Value")


def given(value: Value) -> Value:
    """The value itself; NotYet where an exercise has none to give yet."""
    expect(
        value is not None and value is not ...,
        "Nothing comes back yet: the exercise above is still to be written, or lacks its `return`.",
    )
    return value


def number_of(student: Callable[..., float | Tensor], *inputs: object) -> float:
    """What the student's function gives for these inputs, as one number."""
    name = getattr(student, "__name__", type(student).__name__)
    try:
        result = student(*inputs)
    except Exception as error:
        raise NotYet(f"{name} stopped with {type(error).__name__}: {error}") from error
    given(result)
    if isinstance(result, Tensor) and result.numel() == 1:
        return float(result.detach())
    expect(
        isinstance(result, float | int),
        f"{name} should give one number; it gives a {type(result).__name__}.",
    )
    return float(result)


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=fresh()))


def near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-12)


def first_loss(student: Callable[[int, float, float], float]) -> None:
    """num_classes, share of labelled pixels, aux_weight -> loss of a network that knows nothing"""
    for _ in range(2):
        classes, labelled, aux = draw(5, 150), uniform(0.55, 0.95), uniform(0.2, 0.5)
        found, right = (
            number_of(student, classes, labelled, aux),
            (1 + aux) * labelled * log(classes),
        )
        for value, advice in slips_of_the_first(classes, labelled, aux).items():
            expect(abs(found - right) < 1e-5 * right or abs(found - value) > 1e-6 * right, advice)
        expect(
            abs(found - right) < 1e-5 * right,
            f"For {classes} classes, {labelled:.2f} labelled and weight {aux:.2f} you get "
            f"{found:.3g}. What does one labelled pixel cost if all classes are equally likely?",
        )
    say(
        "Right: each labelled pixel costs ln K, ignored ones only dilute the mean, and the "
        "auxiliary output adds its weighted share. Any other first loss is a symptom."
    )


def slips_of_the_first(classes: int, labelled: float, aux: float) -> dict[float, str]:
    """Numbers that plausible mistakes lead to, and advice."""
    each, outputs = log(classes), 1 + aux
    return {
        outputs * each: "The share of labelled pixels is missing: ignored pixels add nothing to "
        "the sum, but they are counted in the mean.",
        outputs * each / labelled: "You divide by the share of labelled pixels. Ignored pixels add "
        "0 to the sum and 1 to the count, so they make the mean smaller.",
        labelled * each: "The auxiliary loss is missing: a second output guesses, too.",
        (labelled + aux) * each: "Both outputs are compared with the same labels: the share "
        "belongs to both losses.",
        aux * labelled * each: "Only the auxiliary loss is there: the main loss counts once.",
        2 * labelled * each: "Both losses count once with you; the auxiliary one is weighted.",
        outputs * labelled * log2(classes): "That is in bits: cross-entropy here uses the natural "
        "logarithm.",
        outputs * labelled * log10(classes): "log10 counts digits: cross-entropy here uses the "
        "natural logarithm.",
        outputs * labelled / classes: "1/K is the probability of each class. The loss of a pixel "
        "is minus the logarithm of it.",
        -outputs * labelled * each: "The sign: the logarithm of 1/K is negative, the loss is minus "
        "that.",
    }


def poly_rate(student: Rate) -> None:
    """step, steps, base, power, floor -> learning rate of that step"""
    steps, base, power = draw(60, 90), uniform(0.01, 0.05), uniform(0.6, 0.85)
    floor = base * uniform(0.1, 0.2)
    rates = [number_of(student, step, steps, base, power, floor) for step in range(steps)]
    check_slips(rates, base, power, floor)
    check_ends(rates, base, floor)
    right = curve(steps, lambda done: (base - floor) * (1 - done) ** power + floor)
    expect(
        all(near(a, b) for a, b in zip(rates, right, strict=True)),
        "Start and fall are right, but the curve between them is another one. Compare with the "
        "formula: what falls, with which power of which share, and what is added in the end.",
    )
    last = number_of(student, steps, steps, base, power, floor)
    expect(
        near(last, floor),
        f"Once all {steps} steps are done nothing is left but the floor, {floor:.2g}; you have "
        f"{last:.2g}. Is the rate divided by the number of steps, or by one less?",
    )
    straight = number_of(student, steps // 2, 2 * (steps // 2), base, 1.0, 0.0)
    expect(near(straight, base / 2), "With power 1 and no floor half of the rate is left half way.")
    say(
        "Right: it starts at base, falls in every step, bends as the power says, and ends at the "
        "floor."
    )


def check_ends(rates: list[float], base: float, floor: float) -> None:
    expect(
        rates[0] <= base * 1.0001,
        "Step 0 has more than the base rate: the floor lifts the end, so what falls is base - "
        "floor, not base.",
    )
    expect(
        near(rates[0], base),
        f"Step 0 must have the base rate, {base:.3g}; yours has {rates[0]:.3g}. Which share of "
        "the steps is still to come at step 0?",
    )
    expect(
        all(after < before for before, after in zip(rates, rates[1:], strict=False)),
        "The rate must fall in every step; yours does not. Is there a `//` in it?",
    )
    expect(
        all(rate > floor for rate in rates),
        "Your rate goes below the floor before the end: add the floor to what falls.",
    )


def curve(steps: int, rule: Callable[[float], float]) -> list[float]:
    """What a rule makes of the share of steps that is done."""
    return [rule(step / steps) for step in range(steps)]


def check_slips(rates: list[float], base: float, power: float, floor: float) -> None:
    """Tells plausible other curves apart."""
    steps, falls = len(rates), base - floor
    one_less = steps / max(1, steps - 1)
    slips = {
        "The power is missing: you fall along a straight line.": lambda done: (
            falls * (1 - done) + floor
        ),
        "The power belongs to what is left, 1 - step / steps, not to what is done.": lambda done: (
            falls * (1 - done**power) + floor
        ),
        "max(rate, floor) cuts the curve off. Here the floor is added to what falls: "
        "(base - floor) times the rest to the power, plus the floor.": lambda done: max(
            base * (1 - done) ** power, floor
        ),
        "The floor is missing: the rate ends at 0.": lambda done: base * (1 - done) ** power,
        "That is a power of the whole rate, base and all: only the rest gets the power.": (
            lambda done: (falls * (1 - done)) ** power + floor
        ),
        "You divide by steps - 1, as newer code does. The recipe of the released weights divides "
        "by steps.": lambda done: falls * max(0.0, 1 - done * one_less) ** power + floor,
    }
    for advice, rule in slips.items():
        alike = all(near(a, b) for a, b in zip(rates, curve(steps, rule), strict=True))
        expect(not alike, advice)
