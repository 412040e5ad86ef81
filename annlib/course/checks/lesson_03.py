"""Checker of lesson 03: a comparison of two calls, on a clock that is made up."""

from collections.abc import Callable
from itertools import count
from statistics import median
from typing import NamedTuple

from annlib.course.exercises.checking import draw, expect
from annlib.course.exercises.numbers import attempt_number
from annlib.course.lines import say

WARM_UP = 2
ODD_ONE = WARM_UP + 2  # the call that stumbles, or is cut short
Call = Callable[[], None]
Compare = Callable[[Call, Call, int, Callable[[], float]], float]


class Machine:
    """A made-up machine: its first calls are slow, and it slows down while it works."""

    def __init__(
        self, seconds: tuple[float, float], cold: float, drift: float, odd: dict[int, float]
    ) -> None:
        """cold: times longer in warm-up. drift: growth a call. odd: which -> factor of one call."""
        self.now, self.calls, self.seconds = 0.0, [], seconds
        self.cold, self.drift, self.odd = cold, drift, odd
        self.numbers = (count(), count())

    def clock(self) -> float:
        return self.now

    def call(self, which: int) -> None:
        """Number 0 is the slow one, number 1 the fast one."""
        number = next(self.numbers[which])
        factor = self.cold if number < WARM_UP else 1 + self.drift * len(self.calls)
        if number == ODD_ONE:
            factor *= self.odd.get(which, 1)
        self.calls.append(which)
        self.now += self.seconds[which] * factor


class Trial(NamedTuple):
    """What came out on a made-up machine, and what should have."""

    found: float
    machine: Machine
    ratio: float


def times_faster(student: Compare) -> None:
    """student(slow, fast, repeat, clock) -> how many times faster `fast` is"""
    for repeat in (5, 7):
        check_plain(student, repeat)
        check_calls(student, repeat)
        check_warm_up(student, repeat)
        check_median(student, repeat)
        check_turns(student, repeat)
    say(
        "Right: two calls of each do not count, then both take turns, and the medians are "
        "compared; neither a cold start, nor a stumble, nor a machine that slows down misleads it."
    )


def on(
    student: Compare,
    repeat: int,
    cold: float = 1,
    drift: float = 0,
    odd: dict[int, float] | None = None,
) -> Trial:
    """Lets the student's function compare two calls on such a machine."""
    fast = draw(10, 30) / 100_000  # so short that no difference looks like a ratio
    ratio = draw(3, 9) + draw(1, 9) / 10
    machine = Machine((ratio * fast, fast), cold, drift, odd or {})
    found = attempt_number(
        student, lambda: machine.call(0), lambda: machine.call(1), repeat, machine.clock
    )
    return Trial(found, machine, ratio)


def near(trial: Trial, ratio: float) -> bool:
    return abs(trial.found / ratio - 1) < 0.03


def check_plain(student: Compare, repeat: int) -> None:
    trial = on(student, repeat)
    expect(bool(trial.machine.calls), "Neither of the two was called.")
    expect(
        not near(trial, 1 / trial.ratio),
        "Upside down: how many times faster is time of the slow one over time of the fast one.",
    )
    expect(
        near(trial, trial.ratio),
        f"On a made-up machine where one call takes {trial.ratio:.1f} times the other you find "
        f"{trial.found:.3g}. Read the clock before and after each single call, and subtract.",
    )


def check_calls(student: Compare, repeat: int) -> None:
    calls = on(student, repeat).machine.calls
    each = [calls.count(which) for which in (0, 1)]
    expect(
        min(each) >= repeat + WARM_UP,
        f"With repeat = {repeat} each is to be called {WARM_UP} times for nothing and {repeat} "
        f"times with the clock; you called them {each[0]} and {each[1]} times.",
    )


def check_warm_up(student: Compare, repeat: int) -> None:
    trial = on(student, repeat, cold=60)
    expect(
        near(trial, trial.ratio),
        "A cold start counts in your times: the first calls of each fetch memory and choose "
        f"kernels. Call each {WARM_UP} times before the clock runs.",
    )


def check_median(student: Compare, repeat: int) -> None:
    for which, name in enumerate(("slow", "fast")):
        trial = on(student, repeat, odd={which: 40})
        expect(
            near(trial, trial.ratio),
            f"One call of the {name} one stumbled (something else ran), and your answer went with "
            "it. A mean follows such a stumble; a median does not.",
        )
        trial = on(student, repeat, odd={which: 1 / 40})
        expect(
            near(trial, trial.ratio),
            f"One call of the {name} one was far quicker than all others, and your answer believes "
            "it alone. A minimum follows one odd call; a median does not.",
        )


def check_turns(student: Compare, repeat: int) -> None:
    trial = on(student, repeat, drift=0.2)
    counted = trial.machine.calls
    turns = sum(a != b for a, b in zip(counted, counted[1:], strict=False))
    slowest = 1 + 0.2 * len(counted)
    middle = median([1, slowest])
    expect(
        turns >= repeat and abs(trial.found / trial.ratio - 1) < 0.4 / middle,
        "This machine slows down while it works, and your answer blames one of the two for it. "
        "Let them take turns: one call of each in every round.",
    )
