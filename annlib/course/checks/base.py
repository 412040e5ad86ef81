"""What every exercise checker uses: NotYet, conditions, and freshly drawn inputs."""

from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor, nn

from annlib.course.lesson import wrapped


class NotYet(AssertionError):
    """An answer that is not started or not right yet; the message says what to look at next."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the advice, without the lines of the checker that gave it."""
        return [wrapped(f"Not yet. {self}")]


def expect(claim: bool, advice: str) -> None:
    """Raises NotYet with the advice unless the claim holds."""
    if not claim:
        raise NotYet(advice)


def attempt(student: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """The student's result; NotYet if there is none, with the shapes that went in."""
    name = getattr(student, "__name__", type(student).__name__)
    shapes = " and ".join(str(tuple(value.shape)) for value in inputs)
    try:
        result = student(*inputs)
    except Exception as error:
        raise NotYet(
            f"{name} was given {shapes} and stopped with {type(error).__name__}: {error}"
        ) from error
    expect(
        result is not None and result is not ...,
        f"{name} gives nothing back yet. Put your code in place of the three dots; if you have, is "
        "the last line `return ...`?",
    )
    expect(isinstance(result, Tensor), f"{name} gives back a {type(result).__name__}, no tensor.")
    return result


def build(student: Callable[..., nn.Module], *sizes: int | tuple[int, ...]) -> nn.Module:
    """The student's module of these sizes; NotYet if there is none."""
    name = getattr(student, "__name__", type(student).__name__)
    call = f"{name}({', '.join(map(str, sizes))})"
    try:
        module = student(*sizes)
    except Exception as error:
        raise NotYet(f"{call} cannot be built: {type(error).__name__}: {error}") from error
    expect(
        isinstance(module, nn.Module),
        f"{call} gives a {type(module).__name__}: write a class that is an nn.Module.",
    )
    return module


def fresh() -> torch.Generator:
    """Random numbers of its own, so that a check leaves the lesson's seed alone."""
    generator = torch.Generator()
    generator.seed()
    return generator


def draw(low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=fresh()))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=fresh())


def attempt_number(student: Callable[..., float], *inputs: object) -> float:
    """The student's number; NotYet if there is none, with the numbers that went in."""
    name = getattr(student, "__name__", type(student).__name__)
    given = ", ".join(f"{value:,}" for value in inputs if isinstance(value, int | float))
    given = f" With {given}" if given else ""
    expect(callable(student), "Put your function in place of the three dots.")
    try:
        found = student(*inputs)
    except Exception as error:
        raise NotYet(f"{name} stopped with {type(error).__name__}: {error}.{given}.") from error
    expect(
        found is not None and found is not ...,
        f"{name} gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    number = isinstance(found, int | float) and not isinstance(found, bool)
    expect(number and isfinite(found), f"{name} gives {found!r}; a number is wanted.{given}.")
    return found
