"""Checkers of lesson 03: FLOPs, the largest map, speed-up of a part, fair timing."""

from collections.abc import Callable, Sequence
from itertools import count
from math import isclose
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from annlib.course.checks.base import NotYet, attempt_number, draw, expect
from annlib.course.implementations import Shape, nonlocal_bytes
from annlib.course.lesson import say
from annlib.engine.profiler import operation_counter
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention


def attention_operations(student: Callable[[int, int, int, int], int]) -> None:
    """student(N, S, C_X, C) -> operations of one forward pass"""
    for _ in range(3):
        wide, channels, scale, size = telling_sizes()
        positions = size[0] * size[1]
        compare(
            student, positions, positions, wide, channels, counted_ordinary(wide, channels, size)
        )
        counted = counted_asymmetric(wide, channels, scale, size)
        compare(student, positions, scale**2, wide, channels, counted)
    say(
        "Right: your formula gives what torch's counter counts in annlib's non-local attention "
        "(S = N) and in its asymmetric one, for maps and channels drawn anew."
    )


def telling_sizes() -> tuple[int, int, int, tuple[int, int]]:
    """C_X, C, the side of the grid and the map; no two mistakes give the same number with them."""
    while True:
        wide, channels, scale = draw(20, 60), draw(4, 15), draw(2, 4)
        size = (draw(5, 9), draw(10, 14))
        positions = size[0] * size[1]
        given = [
            operation_slips(positions, asked, wide, channels) for asked in (positions, scale**2)
        ]
        right = [
            6 * positions * wide * channels + 4 * positions * asked * channels
            for asked in (positions, scale**2)
        ]
        wrong = [
            [number for number in one.values() if number != expected]
            for one, expected in zip(given, right, strict=True)
        ]
        if all(len(set(numbers)) == len(numbers) for numbers in wrong):
            return wide, channels, scale, size


def counted_ordinary(wide: int, channels: int, size: tuple[int, int]) -> int:
    with torch.device("meta"):  # shapes only: nothing is computed
        module, features = NonLocalAttention(wide, channels, channels), torch.empty(1, wide, *size)
    return counted(module, features)


def counted_asymmetric(wide: int, channels: int, scale: int, size: tuple[int, int]) -> int:
    with torch.device("meta"):
        module = AsymmetricAttention(wide, wide, channels, channels, (scale,), True)
        features = torch.empty(1, wide, *size)
    return counted(module, features, features)


def counted(module: nn.Module, *features: torch.Tensor) -> int:
    with operation_counter() as counter, torch.no_grad():
        module(*features)
    return counter.get_total_flops()


def compare(
    student: Callable[[int, int, int, int], int],
    positions: int,
    asked: int,
    wide: int,
    channels: int,
    expected: int,
) -> None:
    given = f"N = {positions}, S = {asked}, C_X = {wide}, C = {channels}"
    found = attempt_number(student, positions, asked, wide, channels)
    if found == expected:
        return
    for advice, slip in operation_slips(positions, asked, wide, channels).items():
        expect(found != slip, advice)
    raise NotYet(
        f"With {given} the counter says something else than {found:,}. Write one term for each of "
        "the five steps: three 1 x 1 convolutions, two products. Which of them hold N, which S?"
    )


def operation_slips(n: int, s: int, wide: int, c: int) -> dict[str, int]:
    """Advice -> what the formula gives with that mistake."""
    convolutions, products = 3 * n * wide * c, 2 * n * s * c
    return {
        "Half of it: a multiply-add is two operations, one product and one sum.": (
            convolutions + products
        ),
        "The 1 x 1 convolutions are missing: query and key (shared), value, output.": 2 * products,
        "The two products are missing: scores, then weights times values.": 2 * convolutions,
        "One product is missing: the weights are made (scores), and they are used (values).": (
            2 * convolutions + products
        ),
        "One convolution too many: query and key share one, which runs once.": (
            2 * (convolutions + n * wide * c + products)
        ),
        "One convolution is missing: query and key share one, then come value and output.": (
            2 * (convolutions - n * wide * c + products)
        ),
        "Your scores compare N with N even when S answer: the matrix is N x S.": (
            2 * convolutions + 4 * n * n * c
        ),
        "You project the values at S anchors. The plain block projects all N, then samples them; "
        "that saving is the topic of lesson 11.": (
            2 * (2 * n * wide * c + s * wide * c) + 2 * products
        ),
    }


def largest_height(student: Callable[[int, int], int]) -> None:
    """student(num_bytes, channels) -> H of the largest map H x 2 H"""
    exactly = needed(draw(20, 90), 64)
    questions = [(draw(2**20, 2**30) * 4, draw(1, 40) * 8) for _ in range(3)]
    questions += [(draw(2**24, 2**26), draw(512, 2048)) for _ in range(2)]  # keys weigh most
    questions += [(exactly, 64), (exactly - 1, 64), (10, 64)]
    found = [whole_number(student, *question) for question in questions]
    right = [largest_of(*question) for question in questions]
    if found != right:
        explain(questions, found, right)
    say(
        "Right: your map fits and the next larger does not, for memory and channels drawn anew, "
        "for memory that is just enough, and for memory that holds no map at all."
    )


def needed(height: int, channels: int) -> int:
    """Bytes of the non-local block, written out, on a map of height x 2 height."""
    wide, size = 8 * channels, (height, 2 * height)
    return nonlocal_bytes(Shape(wide, wide, channels, channels, size))


def largest_of(num_bytes: int, channels: int) -> int:
    return largest(lambda height: needed(height, channels), num_bytes)


def whole_number(student: Callable[[int, int], int], num_bytes: int, channels: int) -> int:
    found = attempt_number(student, num_bytes, channels)
    expect(
        found == int(found) and found >= 0,
        f"With {num_bytes:,} bytes and C = {channels} you get {found}; a map has a whole number of "
        "rows, 0 or more.",
    )
    return int(found)


def explain(
    questions: Sequence[tuple[int, int]], found: Sequence[int], right: Sequence[int]
) -> None:
    """Raises NotYet with the one slip that explains all answers, if there is one."""
    mistaken = [largest_map_slips(*question) for question in questions]
    for advice in mistaken[0]:
        expect([each[advice] for each in mistaken] != list(found), advice)
    (num_bytes, channels), rows = next(
        (question, f) for question, f, r in zip(questions, found, right, strict=True) if f != r
    )
    fits = needed(rows, channels) <= num_bytes
    raise NotYet(
        f"With {num_bytes:,} bytes and C = {channels} your map of {rows} rows "
        f"{'fits, but so does a larger' if fits else 'does not fit'}. Four bytes for each number; "
        "N x N twice (scores and weights), N x C twice (keys and values); N is H times 2 H."
    )


def largest(cost: Callable[[int], int], num_bytes: int) -> int:
    """The largest number of rows whose cost is within the bytes."""
    rows = 0
    while cost(rows + 1) <= num_bytes:
        rows += 1
    return rows


def largest_map_slips(num_bytes: int, channels: int) -> dict[str, int]:
    """Advice -> the rows that come out with that mistake."""

    def rows(factor: int = 4, squares: int = 2, wide: int = 2, sides: int = 2) -> int:
        def cost(height: int) -> int:
            n = wide * height * height
            return factor * n * (squares * n + sides * channels)

        return largest(cost, num_bytes)

    right = rows()
    return {
        "One byte for a number? float32 takes four.": rows(factor=1),
        "Two N x N matrices stand in memory at once: the scores, and their softmax.": rows(
            squares=1
        ),
        "Your map is square; here it is twice as wide as high.": rows(wide=1),
        "Keys and values are missing: two matrices of N x C.": rows(sides=0),
        "One row too many: that map needs more than there is. Go up as long as the next fits.": (
            right + 1
        ),
        "A row too few: with exactly as many bytes as are needed, the map fits.": largest_of(
            num_bytes - 1, channels
        ),
        "That is N, the number of positions; the height is asked for.": 2 * right * right,
        "That is the width; the height is asked for.": 2 * right,
    }


def whole_speed_up(student: Callable[[float, float], float]) -> None:
    """student(share, times) -> how many times faster the whole becomes"""
    expect(
        isclose(attempt_number(student, 1.0, 7.0), 7.0),
        "If the part is all there is (share 1), the whole gains what the part gains.",
    )
    expect(
        isclose(attempt_number(student, 0.0, 7.0), 1.0),
        "If the part takes no time (share 0), nothing changes: 1, not 0.",
    )
    for _ in range(5):
        share, times = draw(1, 99) / 100, 1 + draw(1, 400) / 10
        check_one(student, share, times)
    expect(
        isclose(attempt_number(student, 0.8, 1e12), 5.0, rel_tol=1e-6),
        "Even a part that takes no time any more leaves the rest: 1 / (1 - share) is the limit.",
    )
    say(
        "Right: the rest keeps its time, the part takes its share divided by how much faster it "
        "became, and the whole is what it was over that sum."
    )


def check_one(student: Callable[[float, float], float], share: float, times: float) -> None:
    found = attempt_number(student, share, times)
    left = 1 - share + share / times
    given = f"With share {share} and a part {times:.1f} times faster"
    slips = {
        "That is the time that is left, as a share of the old one. Turn it around.": (left),
        "You average the speed-ups (1 for the rest, `times` for the part). Average the times: what "
        "is slow takes most of them.": 1 - share + share * times,
        "You forget that the part still takes time, if less.": 1 / (1 - share),
        "You forget the rest, which stays as slow as it was.": times / share,
    }
    for advice, slip in slips.items():
        expect(not isclose(found, slip, rel_tol=1e-6), f"{given}: {advice}")
    expect(
        isclose(found, 1 / left, rel_tol=1e-6),
        f"{given} you get {found:.4g}. Begin with what is left of one second: the rest, and the "
        "part.",
    )


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
