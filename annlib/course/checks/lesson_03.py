"""Checkers of lesson 03: FLOPs, the largest map, speed-up of a part, fair timing."""

from collections.abc import Callable
from functools import partial
from itertools import count
from statistics import median

import torch

from annlib.course.checks.base import NotYet, attempt_number, expect, judge, passed, patience, text
from annlib.course.checks.inputs import draw
from annlib.course.implementations import Shape, nonlocal_bytes
from annlib.course.profiler import operation_counter
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention

PRIMES = (23, 29, 31, 37, 41, 43, 47, 53, 59)  # as C_X, no two slips give the same number


def attention_operations(student: Callable[[int, int, int, int], int]) -> None:
    """student(N, S, C_X, C) -> operations of one forward pass"""
    for _ in range(3):
        wide, channels, scale = PRIMES[draw(0, 8)], draw(4, 15), draw(2, 4)
        size = (draw(5, 9), draw(10, 14))
        positions = size[0] * size[1]
        with torch.device("meta"):  # shapes only: nothing is computed
            ordinary = NonLocalAttention(wide, channels, channels)
            pyramid = AsymmetricAttention(wide, wide, channels, channels, (scale,), True)
            features = torch.empty(1, wide, *size)
        for module, maps, keys in ((ordinary, 1, positions), (pyramid, 2, scale**2)):
            with operation_counter() as counter, torch.no_grad():
                module(*[features] * maps)
            found = attempt_number(student, positions, keys, wide, channels)
            conv, product = 2 * positions * wide * channels, 2 * positions * keys * channels
            slips = {
                "multiply-add is one operation": (3 * conv + 2 * product) // 2,
                "no convolutions": 2 * product,
                "no products": 3 * conv,
                "one product": 3 * conv + product,
                "four convolutions": 4 * conv + 2 * product,
                "two convolutions": 2 * conv + 2 * product,
                "scores of all pairs": 3 * conv + 4 * positions**2 * channels,
                "values projected at the anchors": conv * (2 + keys / positions) + 2 * product,
            }
            otherwise = text("another number of operations", positions, keys, wide, channels, found)
            judge(found, counter.get_total_flops(), slips, otherwise, rtol=1e-9)
    passed("attention_operations")


def largest_height(student: Callable[[int, int], int]) -> None:
    """student(num_bytes, channels) -> H of the largest map H x 2 H"""
    exactly = needed(draw(20, 90), 64)
    questions = [(draw(2**20, 2**30) * 4, draw(1, 40) * 8) for _ in range(3)]
    questions += [(draw(2**24, 2**26), draw(512, 2048)) for _ in range(2)]  # keys need most
    questions += [(exactly, 64), (exactly - 1, 64), (10, 64)]
    with patience():
        found = [attempt_number(student, *question) for question in questions]
    for (num_bytes, channels), rows in zip(questions, found, strict=True):
        expect(rows == int(rows) and rows >= 0, "no whole rows", num_bytes, channels, rows)
    right = [largest(num_bytes, lambda h, c=c: needed(h, c)) for num_bytes, c in questions]
    slips = [largest_map_slips(*question) for question in questions]
    for advice in slips[0]:  # one slip that explains all answers
        expect(found == right or [each[advice] for each in slips] != found, advice)
    for (num_bytes, channels), rows, most in zip(questions, map(int, found), right, strict=True):
        fits = "fits, but so does a larger" if rows < most else "does not fit"
        expect(rows == most, "another height", num_bytes, channels, rows, fits)
    passed("largest_height")


def needed(height: int, channels: int) -> int:
    """Bytes of the non-local block, written out, on a map of height x 2 height."""
    wide, size = 8 * channels, (height, 2 * height)
    return nonlocal_bytes(Shape(wide, wide, channels, channels, size))


def largest(num_bytes: int, cost: Callable[[int], int]) -> int:
    return next(rows for rows in count() if cost(rows + 1) > num_bytes)


def largest_map_slips(num_bytes: int, channels: int) -> dict[str, int]:
    def rows(factor: int = 4, squares: int = 2, wide: int = 2, sides: int = 2, less: int = 0):
        def cost(height: int) -> int:
            n = wide * height * height
            return factor * n * (squares * n + sides * channels)

        return largest(num_bytes - less, cost)

    right = rows()
    return {
        "One byte for a number? float32 takes four.": rows(factor=1),
        "Two N x N matrices are in memory: the scores, and their softmax.": rows(squares=1),
        "Your map is square; here it is twice as wide as high.": rows(wide=1),
        "Keys and values are missing: two matrices of N x C.": rows(sides=0),
        "One row too many: that map needs more memory than there is.": right + 1,
        "One row too few: if the map needs exactly `num_bytes`, it fits.": rows(less=1),
        "That is N, the number of positions; return the height.": 2 * right * right,
        "That is the width; return the height.": 2 * right,
    }


def whole_speed_up(student: Callable[[float, float], float]) -> None:
    """student(share, times) -> how many times faster the whole becomes"""
    judge(attempt_number(student, 1.0, 7.0), 7, {}, "part is all")
    judge(attempt_number(student, 0.0, 7.0), 1, {}, "part is nothing")
    for _ in range(5):
        share, times = draw(1, 99) / 100, 1 + draw(1, 400) / 10
        found, left = attempt_number(student, share, times), 1 - share + share / times
        slips = {
            "time instead of speed-up": left,
            "speed-ups averaged": 1 - share + share * times,
            "part takes no time": 1 / (1 - share),
            "rest forgotten": times / share,
        }
        where = f"With share {share} and a part {times:.1f} times faster: "
        judge(found, 1 / left, slips, text("another speed-up", found), where)
    judge(attempt_number(student, 0.8, 1e12), 5, {}, "rest remains")
    passed("whole_speed_up")


WARM_UP = 2
Compare = Callable[[Callable[[], None], Callable[[], None], int, Callable[[], float]], float]


def times_faster(student: Compare) -> None:
    """student(slow, fast, repeat, clock) -> how many times faster `fast` is"""
    for repeat in (5, 7):
        error, calls = measured(student, repeat)
        expect(error < 0.03, "ratio off", error)
        each = [calls.count(which) for which in (0, 1)]
        expect(min(each) >= repeat + WARM_UP, "too few calls", repeat, WARM_UP, each[0], each[1])
        cases = {text("cold start", WARM_UP): {"cold": 60}}
        for which, name in enumerate(("slow", "fast")):
            cases[text("interrupted call", name)] = {"odd": {which: 40}}
            cases[text("quick call", name)] = {"odd": {which: 1 / 400}}
        for advice, case in cases.items():
            expect(measured(student, repeat, **case)[0] < 0.03, advice)
        error, calls = measured(student, repeat, drift=0.2)
        turns = sum(a != b for a, b in zip(calls, calls[1:], strict=False))
        if turns < repeat or error >= 0.4 / median([1, 1 + 0.2 * len(calls)]):
            raise NotYet("one after the other")
    passed("times_faster")


def measured(
    student: Compare, repeat: int, cold: float = 1, drift: float = 0, odd: dict | None = None
) -> tuple[float, list[int]]:
    """The relative error of the student's ratio on a simulated machine, and which ran when.

    cold: times longer in warm-up. drift: growth a call. odd: which -> factor of one call.
    """
    now, calls = 0.0, []
    fast = draw(10, 30) / 100_000  # so short that no difference looks like a ratio
    ratio = draw(3, 9) + draw(1, 9) / 10

    def call(which: int) -> None:
        """Number 0 is the slow one, number 1 the fast one."""
        nonlocal now
        number = calls.count(which)
        factor = cold if number < WARM_UP else 1 + drift * len(calls)
        if number == WARM_UP + 2:  # the call that takes unusually long, or short
            factor *= (odd or {}).get(which, 1)
        calls.append(which)
        now += (fast if which else ratio * fast) * factor

    found = attempt_number(student, partial(call, 0), partial(call, 1), repeat, lambda: now)
    expect(bool(calls), "Neither of the two was called.")
    expect(abs(found * ratio - 1) > 0.03, "inverted")
    return abs(found / ratio - 1), calls
