"""Checker of lesson 03: what a faster part does for the whole."""

from collections.abc import Callable
from math import isclose

from annlib.course.exercises.checking import draw, expect
from annlib.course.exercises.numbers import attempt_number
from annlib.course.lines import say


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
