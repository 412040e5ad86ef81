"""Checker of lesson 09: the memory of a training step, from one small measurement."""

from collections.abc import Callable

from annlib.course.exercises.checking import draw, expect
from annlib.course.exercises.numbers import attempt_number
from annlib.course.lines import say

WITHIN = 0.2


def step_bytes(student: Callable[[int, int, int], float]) -> None:
    """(parameters, bytes measured with one picture, batch) -> bytes of a step with that batch"""
    for _ in range(4):
        parameters, batch = draw(2, 60) * 1_000_000, draw(6, 16)
        maps = parameters * draw(51, 140) // 10  # bytes for one picture
        measured = 12 * parameters + maps
        found = attempt_number(student, parameters, measured, batch)
        check_estimate(found, parameters, maps, batch)
    one = attempt_number(student, parameters, measured, 1)
    expect(
        abs(one / measured - 1) < 0.01,
        f"For a batch of one you say {one / 2**20:,.0f} MiB, but {measured / 2**20:,.0f} were "
        "measured: an estimate has to agree with the measurement it leans on.",
    )
    say(
        "Right: weights, gradients and momentum once, whatever the batch; the maps once for each "
        "picture. Now see whether a real network keeps to it."
    )


def slips_of(parameters: int, maps: int, batch: int) -> dict[float, str]:
    """Estimate -> the misconception that leads to it."""
    measured = 12 * parameters + maps
    everything, maps_only, twice = (
        batch * measured,
        batch * maps,
        12 * parameters + batch * measured,
    )
    slips = {
        everything: "You multiply everything by the batch. Weights, gradients and momentum are "
        "there once, however many pictures there are.",
        measured: "Your estimate does not grow with the batch; the maps do, one set a picture.",
        maps_only: "You took the weights off and did not add them again: 12 bytes a parameter.",
        twice: "The measurement holds weights, gradients and momentum already: take them off "
        "before you multiply, or they count once more for each picture.",
    }
    for fixed, what in (
        (4, "only the weights; the gradient of each takes as much, and so does its momentum"),
        (8, "two numbers a parameter; SGD with momentum keeps three: weight, gradient, momentum"),
        (16, "four numbers a parameter, as Adam does; SGD with momentum keeps three"),
        (3, "three bytes a parameter; three numbers of four bytes each make 12"),
    ):
        rest = measured - fixed * parameters
        slips[fixed * parameters + batch * rest] = f"You count {what}."
    return slips


def check_estimate(found: float, parameters: int, maps: int, batch: int) -> None:
    right = 12 * parameters + batch * maps
    measured = 12 * parameters + maps
    if abs(found / right - 1) < 0.01:
        return
    for slip, advice in slips_of(parameters, maps, batch).items():
        expect(abs(found - slip) > 0.001 * abs(slip), advice)
    expect(
        False,
        f"{parameters:,} parameters, {measured / 2**20:,.0f} MiB with one picture: {batch} take "
        f"{right / 2**20:,.0f} MiB, you say {found / 2**20:,.0f}. What is needed once, and "
        "what once for each picture?",
    )
