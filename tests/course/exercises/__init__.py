"""Right and wrong answers to one exercise, with the misconception behind each wrong one."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Wrong(NamedTuple):
    """An answer that a learner might give, and words of the advice that it must get."""

    answer: object
    advice: str


class Gallery(NamedTuple):
    """check: what the lesson calls with an answer. wrong: misconception -> answer."""

    check: Callable[[object], None]
    right: Sequence[object]
    wrong: Mapping[str, Wrong]
