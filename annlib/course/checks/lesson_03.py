"""Checkers of lesson 03: FLOPs, the largest map, speed-up of a part, fair timing."""

from collections.abc import Callable
from functools import partial
from itertools import count
from statistics import median

import torch

from annlib.course.checks.base import NotYet, attempt_number, draw, expect, judge, passed
from annlib.course.implementations import Shape, nonlocal_bytes
from annlib.course.profiler import operation_counter
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention


def attention_operations(student: Callable[[int, int, int, int], int]) -> None:
    """student(N, S, C_X, C) -> operations of one forward pass"""
    for _ in range(3):
        wide, channels, scale, size = distinct_sizes()
        positions = size[0] * size[1]
        with torch.device("meta"):  # shapes only: nothing is computed
            ordinary = NonLocalAttention(wide, channels, channels)
            pyramid = AsymmetricAttention(wide, wide, channels, channels, (scale,), True)
            features = torch.empty(1, wide, *size)
        for module, maps, keys in ((ordinary, 1, positions), (pyramid, 2, scale**2)):
            with operation_counter() as counter, torch.no_grad():
                module(*[features] * maps)
            found = attempt_number(student, positions, keys, wide, channels)
            slips = operation_slips(positions, keys, wide, channels)
            otherwise = f"""With N = {positions}, S = {keys}, C_X = {wide}, C = {channels} the
                counter does not give {found:,}. Write one term for each of the five steps: three 1
                x 1 convolutions, two products. Which of them depend on N, which on S?"""
            judge(found, counter.get_total_flops(), slips, otherwise, rtol=1e-9)
    passed("""your formula gives what torch's counter counts in annlib's non-local attention (S = N)
        and in its asymmetric one, for random sizes and channels.""")


def distinct_sizes() -> tuple[int, int, int, tuple[int, int]]:
    """C_X, C, the side of the grid and the map, such that no two slips give the same number."""
    while True:
        wide, channels, scale = draw(20, 60), draw(4, 15), draw(2, 4)
        size = (draw(5, 9), draw(10, 14))
        positions = size[0] * size[1]
        for keys in (positions, scale**2):
            right = 6 * positions * wide * channels + 4 * positions * keys * channels
            slips = operation_slips(positions, keys, wide, channels).values()
            wrong = [number for number in slips if number != right]
            if len(set(wrong)) < len(wrong):
                break
        else:
            return wide, channels, scale, size


def operation_slips(n: int, s: int, wide: int, c: int) -> dict[str, int]:
    """Advice -> what the formula gives with that mistake."""

    def made(convs: int, products: int = 2) -> int:
        return convs * 2 * n * wide * c + products * 2 * n * s * c

    return {
        "Half of it: a multiply-add is two operations, one product and one sum.": made(3) // 2,
        "The 1 x 1 convolutions are missing: query and key (shared), value, output.": made(0),
        "The two products are missing: scores, then weights times values.": made(3, 0),
        "One product is missing: weights are computed (scores), then used (values).": made(3, 1),
        "One convolution too many: query and key share one, which runs once.": made(4),
        "One convolution is missing: query and key share one, then value and output.": made(2),
        "Your scores compare N with N even when there are only S keys: the matrix is N x S.": made(
            3, 0
        )
        + 4 * n * n * c,
        "You project the values at S anchors. The plain block projects all N, then samples them; "
        "that saving is the topic of lesson 11.": made(2) + 2 * s * wide * c,
    }


def largest_height(student: Callable[[int, int], int]) -> None:
    """student(num_bytes, channels) -> H of the largest map H x 2 H"""
    exactly = needed(draw(20, 90), 64)
    questions = [(draw(2**20, 2**30) * 4, draw(1, 40) * 8) for _ in range(3)]
    questions += [(draw(2**24, 2**26), draw(512, 2048)) for _ in range(2)]  # keys need most
    questions += [(exactly, 64), (exactly - 1, 64), (10, 64)]
    found = [attempt_number(student, *question) for question in questions]
    for (num_bytes, channels), rows in zip(questions, found, strict=True):
        if rows != int(rows) or rows < 0:
            raise NotYet(f"""With {num_bytes:,} bytes and C = {channels} you get {rows}; a map has a
                whole number of rows.""")
    right = [largest(m, lambda h, c=c: needed(h, c)) for m, c in questions]
    if found != right:
        slips = [largest_map_slips(*question) for question in questions]
        for advice in slips[0]:  # one slip that explains all answers
            expect([each[advice] for each in slips] != found, advice)
        wrong = next(i for i in range(len(found)) if found[i] != right[i])
        (num_bytes, channels), rows = questions[wrong], int(found[wrong])
        fits = needed(rows, channels) <= num_bytes
        raise NotYet(f"""With {num_bytes:,} bytes and C = {channels} your map of {rows} rows
            {"fits, but so does a larger" if fits else "does not fit"}. Four bytes for each number;
            N x N twice (scores and weights), N x C twice (keys and values); N is H times 2 H.""")
    passed("""your map fits and the next larger does not, for random memory and channels, for memory
        that is just enough, and for memory that is too small for any map.""")


def needed(height: int, channels: int) -> int:
    """Bytes of the non-local block, written out, on a map of height x 2 height."""
    wide, size = 8 * channels, (height, 2 * height)
    return nonlocal_bytes(Shape(wide, wide, channels, channels, size))


def largest(num_bytes: int, cost: Callable[[int], int]) -> int:
    """The largest number of rows whose cost is within the bytes."""
    rows = 0
    while cost(rows + 1) <= num_bytes:
        rows += 1
    return rows


def largest_map_slips(num_bytes: int, channels: int) -> dict[str, int]:
    """Advice -> the rows that result from that mistake."""

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
        "One row too many: that map needs more than there is.": right + 1,
        "A row too few: with exactly as many bytes as are needed, the map fits.": rows(less=1),
        "That is N, the number of positions; the height is wanted.": 2 * right * right,
        "That is the width; the height is wanted.": 2 * right,
    }


def whole_speed_up(student: Callable[[float, float], float]) -> None:
    """student(share, times) -> how many times faster the whole becomes"""
    if abs(attempt_number(student, 1.0, 7.0) - 7.0) >= 1e-6:
        raise NotYet("If the part is all there is (share 1), the whole gains what the part gains.")
    if abs(attempt_number(student, 0.0, 7.0) - 1.0) >= 1e-6:
        raise NotYet("If the part takes no time (share 0), nothing changes: 1, not 0.")
    for _ in range(5):
        share, times = draw(1, 99) / 100, 1 + draw(1, 400) / 10
        found, left = attempt_number(student, share, times), 1 - share + share / times
        slips = {
            "That is the time that is left, as a share of the old one. Take its inverse.": left,
            "You average the speed-ups (1 for the rest, `times` for the part). Average the times: "
            "the slow part takes most of them.": 1 - share + share * times,
            "You forget that the part still takes time, if less.": 1 / (1 - share),
            "You forget the rest, which stays as slow as it was.": times / share,
        }
        where = f"With share {share} and a part {times:.1f} times faster: "
        otherwise = f"""you get {found:.4g}. Begin with what is left of one second: the rest, and
            the part."""
        judge(found, 1 / left, slips, otherwise, where)
    if abs(attempt_number(student, 0.8, 1e12) - 5.0) >= 1e-5:
        raise NotYet("The rest always remains: 1 / (1 - share) is the limit.")
    passed("""the rest keeps its time, the part takes its share divided by how much faster it
        became, and the speed-up is the old time divided by that sum.""")


WARM_UP = 2
Compare = Callable[[Callable[[], None], Callable[[], None], int, Callable[[], float]], float]


class Machine:
    """A simulated machine: its first calls are slow, and it slows down while it works."""

    def __init__(self, seconds: tuple[float, float], cold: float, drift: float, odd: dict):
        """cold: times longer in warm-up. drift: growth a call. odd: which -> factor of one call."""
        self.now, self.calls, self.seconds = 0.0, [], seconds
        self.cold, self.drift, self.odd = cold, drift, odd
        self.numbers = (count(), count())

    def call(self, which: int) -> None:
        """Number 0 is the slow one, number 1 the fast one."""
        number = next(self.numbers[which])
        factor = self.cold if number < WARM_UP else 1 + self.drift * len(self.calls)
        if number == WARM_UP + 2:  # the call that takes unusually long, or short
            factor *= self.odd.get(which, 1)
        self.calls.append(which)
        self.now += self.seconds[which] * factor


def times_faster(student: Compare) -> None:
    """student(slow, fast, repeat, clock) -> how many times faster `fast` is"""
    for repeat in (5, 7):
        error, calls = measured(student, repeat)
        if abs(error) >= 0.03:
            raise NotYet(f"""On a simulated machine your ratio is {abs(error):.0%} off. Read the
                clock before and after each single call, and subtract.""")
        each = [calls.count(which) for which in (0, 1)]
        if min(each) < repeat + WARM_UP:
            raise NotYet(f"""With repeat = {repeat} each is called {WARM_UP} times without the clock
                and {repeat} times with it; you called them {each[0]} and {each[1]} times.""")
        error, _ = measured(student, repeat, cold=60)
        if abs(error) >= 0.03:
            raise NotYet(f"""A cold start counts in your times: the first calls of each fetch memory
                and choose kernels. Call each {WARM_UP} times before the clock runs.""")
        for which, name in enumerate(("slow", "fast")):
            error, _ = measured(student, repeat, odd={which: 40})
            if abs(error) >= 0.03:
                raise NotYet(f"""One call of the {name} one was interrupted (something else ran).
                    One outlier changes a mean, but not a median: use that.""")
            error, _ = measured(student, repeat, odd={which: 1 / 40})
            if abs(error) >= 0.03:
                raise NotYet(f"""One call of the {name} one was far quicker than all others. One
                    outlier changes a minimum, but not a median: use that.""")
        error, calls = measured(student, repeat, drift=0.2)
        turns = sum(a != b for a, b in zip(calls, calls[1:], strict=False))
        if turns < repeat or abs(error) >= 0.4 / median([1, 1 + 0.2 * len(calls)]):
            raise NotYet("""This machine slows down while it works, and your answer attributes that
                to one of the two. Let them take turns: one call of each in every round.""")
    passed("""two calls of each do not count, then both take turns, and the medians are compared; a
        cold start, an outlier and a machine that slows down do not change the result.""")


def measured(
    student: Compare, repeat: int, cold: float = 1, drift: float = 0, odd: dict | None = None
) -> tuple[float, list[int]]:
    """The relative error of the student's ratio on such a machine, and which was called when."""
    fast = draw(10, 30) / 100_000  # so short that no difference looks like a ratio
    ratio = draw(3, 9) + draw(1, 9) / 10
    machine = Machine((ratio * fast, fast), cold, drift, odd or {})
    slow, quick = partial(machine.call, 0), partial(machine.call, 1)
    found = attempt_number(student, slow, quick, repeat, lambda: machine.now)
    expect(bool(machine.calls), "Neither of the two was called.")
    if abs(found * ratio - 1) <= 0.03:
        raise NotYet("Inverted: divide the time of the slow one by that of the fast one.")
    return found / ratio - 1, machine.calls
