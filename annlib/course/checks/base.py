"""What the checkers share: NotYet, the student's result, and its comparison with slips.

A slip is the value that a named misconception leads to.
"""

import tomllib
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from numbers import Real
from pathlib import Path
from threading import Timer

import torch
from torch import Tensor

from annlib.course.lesson import show_box, wrapped

PATIENCE = 10.0  # seconds until a loop counts as endless
MESSAGES = tomllib.loads(Path(__file__).with_name("messages.toml").read_text("utf-8"))


def text(name: str, *values: object) -> str:
    """The message of this name with the values in it; words that are not a name are a message."""
    values = [tuple(one) if isinstance(one, torch.Size) else one for one in values]
    return MESSAGES[name].format(*values) if name in MESSAGES else name


class NotYet(AssertionError):
    """An answer that is not started or not correct yet; the message says what to look at next.

    White space in the message is collapsed, so its source may be broken over lines.
    """

    def __init__(self, advice: str, *values: object):
        super().__init__(" ".join(text(advice, *values).split()))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the advice, without the lines of the checker."""
        return [wrapped(f"✗ Not yet. {self}")]


def expect(claim: bool, advice: str, *values: object) -> None:
    """Raises NotYet with the advice, a message or its name and values, unless the claim holds."""
    if not claim:
        raise NotYet(advice, *values)


def passed(shown: str) -> None:
    show_box("Correct: " + " ".join(text(shown).split()), "pass")


def name_of(student: object) -> str:
    student = getattr(student, "func", student)  # of a functools.partial
    return getattr(student, "__name__", type(student).__name__)


def shown(value: object) -> str:
    """An input as a message shows it: numbers as they are, a tensor by its shape."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Real | tuple):
        return str(value)
    return f"{len(value)} values" if isinstance(value, list | dict) else name_of(value)


def given(value: object, name: str = "The exercise above") -> object:
    """The value itself; NotYet where an exercise returns nothing yet."""
    expect(value is not None and value is not ..., "nothing yet", name)
    return value


def result_of(student: Callable, *inputs: object, hint: str = "", in_place: str = "") -> object:
    """What the student's function returns for copies of the inputs; NotYet if it returns nothing.

    hint: what to say if it stops. in_place: what to say if it writes into its inputs.
    """
    expect(callable(student), "Nothing to check yet: write it in place of the three dots.")
    copies = [one.clone() if isinstance(one, Tensor) else one for one in inputs]
    try:
        result = student(*copies)
    except KeyboardInterrupt:  # by the learner, or by `patience`
        raise NotYet("interrupted", name_of(student)) from None
    except Exception as error:
        call = f"{name_of(student)}({', '.join(map(shown, inputs))})"
        message = str(error).rstrip(".")
        raise NotYet(f"{call} stopped with {type(error).__name__}: {message}. {hint}") from error
    given(result, name_of(student))
    tensors = [pair for pair in zip(copies, inputs, strict=True) if isinstance(pair[0], Tensor)]
    expect(not in_place or all(torch.equal(*pair) for pair in tensors), in_place)
    return result


@contextmanager
def patience() -> Iterator[None]:
    """Interrupts a student's function in the main thread that runs longer than PATIENCE."""
    timer = Timer(PATIENCE, interrupt_main)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def attempt(student: Callable[..., Tensor], *inputs: object, **advice: str) -> Tensor:
    """The student's tensor; NotYet if there is none.  advice: as of result_of"""
    result = result_of(student, *inputs, **advice)
    kind = type(result).__name__
    expect(isinstance(result, Tensor), f"{name_of(student)} returns a {kind}, not a tensor.")
    return result


def attempt_number(student: Callable[..., float], *inputs: object, finite: bool = True) -> float:
    """The student's number, also from a tensor that holds one; NotYet if there is none."""
    found = result_of(student, *inputs)
    call = f"{name_of(student)}({', '.join(map(shown, inputs))})"
    if isinstance(found, Tensor):
        expect(found.numel() == 1, "several numbers", call, found.shape)
        found = found.item()
    if not isinstance(found, Real) or isinstance(found, bool) or (finite and not isfinite(found)):
        raise NotYet(f"{call} gives {found!r}; a number is wanted.")
    return found


def judge(
    found: object, right: object, slips: Mapping, otherwise: str, where: str = "", **limits: float
) -> None:
    """Raises NotYet unless found equals right, with the advice of the slip that found equals.

    slips: advice -> what the misconception gives: a number, a shape, a tensor, a list of such, or a
    function that computes it; a RuntimeError in it (parts that do not fit) means "another one".
    limits: rtol and atol of torch.allclose
    """

    def same(value: object) -> bool:
        if isinstance(value, list):
            return any(map(same, value))
        try:
            value = torch.as_tensor(value() if callable(value) else value).detach().double()
        except RuntimeError:
            return False
        mine = torch.as_tensor(found).detach().double()
        return mine.shape == value.shape and torch.allclose(mine, value, equal_nan=True, **limits)

    if not same(right):
        raise NotYet(where + text(next((one for one in slips if same(slips[one])), otherwise)))


def check_pixel(pixel: tuple[int, int], size: tuple[int, int]) -> None:
    """NotYet unless the answer is (row, column) inside an image of this size."""
    given(pixel, "The pixel")
    two = isinstance(pixel, tuple) and len(pixel) == 2 and all(isinstance(n, int) for n in pixel)
    expect(two, f"A pixel is (row, column): two whole numbers. You wrote {pixel!r}.")
    inside = 0 <= pixel[0] < size[0] and 0 <= pixel[1] < size[1]
    expect(inside, "pixel outside", pixel[0], pixel[1], size[0] - 1, size[1] - 1)
