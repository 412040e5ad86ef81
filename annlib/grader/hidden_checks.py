"""Hidden checks: the calls they make, and how answers are compared with a reference's.

What an answer shows is "" for a correct one, or the name of a misconception.
"""

import builtins
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

NOT_STARTED, NOT_FOUND, OTHER_PARTS = "not started", "name not found", "other parts"
OUT_OF_TIME, NO_ANSWER = "out of time", "no answer"
WRONG_SHAPE, WRONG_TYPE, NOT_FINITE = "wrong shape", "wrong type", "nan or inf"
OTHER, WRONG_VALUES, GRADIENT_CUT = "other values", "wrong values", "gradient cut"
UNEXPLAINED = (WRONG_SHAPE, WRONG_TYPE, NOT_FINITE, OTHER, GRADIENT_CUT, OUT_OF_TIME)
# By the class that the worker raises.
ERRORS = dict(NothingBack=NOT_STARTED, NameNotFound=NOT_FOUND, OtherParts=OTHER_PARTS)
ERRORS |= dict(OutOfTime=OUT_OF_TIME, NoAnswer=NO_ANSWER)


class Call(NamedTuple):
    """One question: call `name` with these arguments (tensors, numbers, tuples).
    For a class: sizes are given to its constructor, weights then replace its parameters. upstream:
    the gradient of the output, to ask for the gradients of parameters and inputs. own: `name` is a
    function of the assignment's own code, which calls the student's."""

    name: str
    arguments: tuple[object, ...]
    sizes: tuple[object, ...] | None = None
    weights: Mapping[str, Tensor] | None = None
    upstream: Tensor | None = None
    own: bool = False

    def by(self, reference: Callable) -> object:
        """The answer of a reference: f(*arguments), for a class f(weights, sizes, *arguments)."""
        if self.sizes is None:
            return reference(*self.arguments)
        return reference(self.weights, self.sizes, *self.arguments)


class Answer(NamedTuple):
    """What came back. error: class of the error that came instead; "" if there was none."""

    output: Tensor | None
    gradients: Mapping[str, Tensor]
    error: str


class Check(NamedTuple):
    """Part of a task. judge: answers to its calls -> name of a misconception, "" for all points."""

    name: str
    points: float
    calls: Sequence[Call]
    judge: Callable[[Sequence[Answer]], str]


def integer(generator: Generator, low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Same shape, and the same numbers but for rounding; an empty list has no shape to compare."""
    if found.numel() == expected.numel() == 0:
        return True
    if found.shape != expected.shape or found.is_complex():
        return False
    found, expected = found.double(), expected.double()
    return torch.allclose(found, expected, atol=tolerance, rtol=10 * tolerance, equal_nan=True)


def shown(error: str) -> str:
    """The class of an error for students: a class of their own could carry what was asked."""
    kind = getattr(builtins, error, None)
    known = isinstance(kind, type) and issubclass(kind, BaseException)
    return error if known or error in ERRORS else "an error of its own"


def failed(answers: Sequence[Answer]) -> str:
    """What the first error among the answers means; "" if there is none."""
    error = next((answer.error for answer in answers if answer.error), "")
    return error and (ERRORS.get(error) or f"stops with {shown(error)}")


def numbers(answers: Sequence[Answer], count: int = 1) -> list[list[float]] | str:
    """The outputs as lists of so many numbers, or the misconception."""
    if found := failed(answers):
        return found
    outputs = [answer.output for answer in answers]  # as lists they would take many times the bytes
    if any(output.numel() != count or output.is_complex() for output in outputs):
        return WRONG_SHAPE
    return [output.double().flatten().tolist() for output in outputs]


def compared(
    answers: Sequence[Answer],
    reference: Callable[[], Sequence[Tensor]],
    mistakes: Mapping[str, Callable[[], Sequence[Tensor]]],
    tolerance: float = 1e-4,
    any_type: bool = False,
) -> str:
    """Compares all answers; a misconception is found if it explains all of them.
    any_type: 3, 3.0 and a tensor of it are the same; 3 + 7j is not."""
    if found := failed(answers):
        return found
    outputs = [answer.output for answer in answers]
    if any_type and any(output.is_complex() for output in outputs):
        return WRONG_TYPE

    def explained_by(others: Sequence[Tensor]) -> bool:
        return all(close(a, b, tolerance) for a, b in zip(outputs, others, strict=True))

    expected = reference()
    if explained_by(expected):
        same_type = all(a.dtype == b.dtype for a, b in zip(outputs, expected, strict=True))
        return "" if any_type or same_type else WRONG_TYPE
    if found := next((name for name, made in mistakes.items() if explained_by(made())), ""):
        return found
    if any(a.shape != b.shape for a, b in zip(outputs, expected, strict=True)):
        return WRONG_SHAPE
    return OTHER if all(bool(a.isfinite().all()) for a in outputs) else NOT_FINITE


def values(
    name: str,
    points: float,
    calls: Sequence[Call],
    reference: Callable,
    mistakes: Mapping[str, Callable],
    tolerance: float = 1e-4,
    any_type: bool = False,
) -> Check:
    """Compares all answers with a reference's and known mistakes', which Call.by takes."""

    def made_by(function: Callable) -> list[Tensor]:
        found = (call.by(function) for call in calls)
        return [f if isinstance(f, Tensor) else torch.tensor(f, dtype=torch.float64) for f in found]

    def judge(answers: Sequence[Answer]) -> str:
        others = {slip: partial(made_by, function) for slip, function in mistakes.items()}
        return compared(answers, lambda: made_by(reference), others, tolerance, any_type)

    return Check(name, points, calls, judge)


def gradients(points: float, call: Call, reference: Callable) -> Check:
    """Gradients of the inputs and of every parameter, against those of the reference."""

    def judge(answers: Sequence[Answer]) -> str:
        inputs = tuple(value.clone().requires_grad_() for value in call.arguments)
        weights = {name: value.clone().requires_grad_() for name, value in call.weights.items()}
        output = call._replace(arguments=inputs, weights=weights).by(reference)
        if found := compared(answers, lambda: [output.detach()], {}, tolerance=1e-3):
            return WRONG_VALUES if found == OTHER else found
        output.backward(call.upstream)
        given = answers[0].gradients
        leaves = {f"input {number}": value for number, value in enumerate(inputs)} | weights
        same = all(
            f"gradient of {name}" in given and close(given[f"gradient of {name}"], leaf.grad, 1e-3)
            for name, leaf in leaves.items()
        )
        return "" if same else GRADIENT_CUT

    return Check("gradients", points, [call], judge)


def followed_up(
    make: Callable[[Callable], Check],
    reference: Callable,
    earlier: Check,
    follows: Mapping[str, Callable],
) -> Check:
    """The check, in which also counts what follows from a mistake in an earlier task.
    make: the check, for what is correct. earlier: its judge finds that mistake. follows: mistake ->
    what is correct after it"""
    check = make(reference)

    def judge(answers: Sequence[Answer]) -> str:
        given, before = answers[: len(check.calls)], answers[len(check.calls) :]
        if found := check.judge(given):
            mistake = earlier.judge(before)
            if mistake in follows and not make(follows[mistake]).judge(given):
                return ""
        return found

    return check._replace(calls=[*check.calls, *earlier.calls], judge=judge)
