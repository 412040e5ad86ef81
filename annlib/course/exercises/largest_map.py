"""Checker of lesson 03: the largest map whose N x N weights fit."""

from collections.abc import Callable, Sequence

from annlib.course.exercises.checking import NotYet, draw, expect
from annlib.course.exercises.numbers import attempt_number
from annlib.course.lines import say
from annlib.speed.formulas import Shape, nonlocal_bytes


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
    mistaken = [slips(*question) for question in questions]
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


def slips(num_bytes: int, channels: int) -> dict[str, int]:
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
