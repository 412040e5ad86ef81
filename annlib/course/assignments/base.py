"""Assignments: tasks, open questions, points, and how answers are compared with misconceptions."""

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from annlib.grader.confine import Limits
from annlib.grader.protocol import Message, readable


class Call(NamedTuple):
    """One question: call `name` with these arguments (tensors, numbers, tuples).

    For a class: sizes are given to its constructor, weights then replace its parameters. upstream:
    the gradient of the output, to ask for the gradients of parameters and inputs.
    """

    name: str
    arguments: tuple[object, ...]
    sizes: tuple[object, ...] | None = None
    weights: Mapping[str, Tensor] | None = None
    upstream: Tensor | None = None


class Answer(NamedTuple):
    """What came back. error: class of the error that came instead; "" if there was none."""

    output: Tensor | None
    gradients: Mapping[str, Tensor]
    error: str


class Misconception(NamedTuple):
    """A mistake by its name, and what a student is told: why it matters, and what to look at."""

    name: str
    explanation: str


class Check(NamedTuple):
    """Part of a task that earns points if `judge` finds nothing in the answers to its calls."""

    name: str
    points: float
    calls: Sequence[Call]
    judge: Callable[[Sequence[Answer]], Misconception | None]


NOT_STARTED = Misconception(
    "not started",
    "Nothing comes back: the three dots are still there, or the last line is no `return ...`.",
)
NOT_FOUND = Misconception(
    "name not found",
    "Nothing of this name is in your notebook after all cells have run. Keep the names of the "
    "assignment; if the name is there, the cell that defines it has failed.",
)
OTHER_PARTS = Misconception(
    "other parts",
    "The parts of your module have other names or sizes than the assignment gives. They are "
    "needed to put numbers into it: leave `__init__` as it was.",
)
OUT_OF_TIME = Misconception("out of time", "It took far longer than needed: is there a loop?")
WRONG_SHAPE = Misconception(
    "wrong shape", "The result has another shape than the docstring says: follow it line by line."
)
WRONG_TYPE = Misconception(
    "wrong type", "The result has another type or precision than asked for; keep that of the input."
)
NOT_FINITE = Misconception(
    "nan or inf", "The result holds nan or inf. Which step divides by zero, or grows too large?"
)
OTHER = Misconception(
    "other values",
    "The numbers are not the ones that the docstring describes, and no usual slip explains them. "
    "Try a small example that you can work out by hand.",
)
NO_ANSWER = Misconception(
    "no answer", "Your notebook was stopped before this was asked: too slow, or it ended Python."
)
NOT_JUDGED = Misconception(
    "not judged", "The grader could not compare what came back. Tell your teacher: it may be right."
)
ERRORS = {
    "NothingBack": NOT_STARTED,
    "NameNotFound": NOT_FOUND,
    "OtherParts": OTHER_PARTS,
    "OutOfTime": OUT_OF_TIME,
    "WrongType": WRONG_TYPE,
}
BUILT_IN = {
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


def encoded(calls: Sequence[Call]) -> Message:
    """The questions as the worker reads them."""
    arrays, plain = {}, []

    def kept(value: object) -> dict:
        if isinstance(value, Tensor):
            arrays[f"a{len(arrays)}"] = value.numpy()
            return {"array": f"a{len(arrays) - 1}"}
        return {"tuple": value} if isinstance(value, tuple) else {"value": value}

    for call in calls:
        weights = {name: kept(value)["array"] for name, value in (call.weights or {}).items()}
        plain.append(
            {
                "name": call.name,
                "arguments": [kept(value) for value in call.arguments],
                "sizes": None if call.sizes is None else [kept(size) for size in call.sizes],
                "weights": weights,
                "upstream": None if call.upstream is None else kept(call.upstream)["array"],
            }
        )
    return Message({"calls": plain}, arrays)


def decoded(message: Message | None) -> Answer:
    """A worker's answer; no answer is one, too."""
    if message is None:
        return Answer(None, {}, "NoAnswer")
    error = message.facts.get("error")
    if error is not None or "output" not in message.arrays:
        name = error.get("type", "") if isinstance(error, dict) else ""
        return Answer(None, {}, readable(name, 60) or "NoAnswer")
    try:
        tensors = {name: torch.from_numpy(array) for name, array in message.arrays.items()}
    except (TypeError, ValueError):  # numbers of a kind that an older torch has not
        return Answer(None, {}, "WrongType")
    return Answer(tensors.pop("output"), tensors, "")


def shown(error: str) -> str:
    """The class of an error as students read it: a class of their own could tell what was asked."""
    return error if error in BUILT_IN or error in ERRORS else "an error of its own"


def failed(answers: Sequence[Answer]) -> Misconception | None:
    """What the first error among the answers means; None if there is none."""
    error = next((answer.error for answer in answers if answer.error), "")
    if not error:
        return None
    if error == "NoAnswer":
        return NO_ANSWER
    return ERRORS.get(error) or Misconception(
        f"stops with {shown(error)}",
        "Your code stops with this error; run the public check to see where.",
    )


def as_numbers(answers: Sequence[Answer]) -> list[Answer]:
    """Answers whose type does not matter: 3, 3.0 and a tensor of it are the same; 3 + 7j is not."""

    def as_number(answer: Answer) -> Answer:
        if answer.output is None:
            return answer
        if answer.output.is_complex():  # double() would leave the imaginary part out
            return Answer(None, {}, "WrongType")
        return answer._replace(output=answer.output.double())

    return [as_number(answer) for answer in answers]


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Same shape, and the same numbers but for rounding."""
    if found.shape != expected.shape or found.is_complex():
        return False
    found, expected = found.double(), expected.double()
    return torch.allclose(found, expected, atol=tolerance, rtol=10 * tolerance, equal_nan=True)


def compared(
    answers: Sequence[Answer],
    expected: Sequence[Tensor],
    slips: Mapping[Misconception, Sequence[Tensor]],
    tolerance: float = 1e-4,
) -> Misconception | None:
    """Compares all answers; a slip is found if it explains all of them."""
    if found := failed(answers):
        return found
    outputs = [answer.output for answer in answers]

    def all_close(others: Sequence[Tensor]) -> bool:
        return all(close(a, b, tolerance) for a, b in zip(outputs, others, strict=True))

    same_type = all(a.dtype == b.dtype for a, b in zip(outputs, expected, strict=True))
    if all_close(expected):
        return None if same_type else WRONG_TYPE
    if slip := next((slip for slip, others in slips.items() if all_close(others)), None):
        return slip
    if any(a.shape != b.shape for a, b in zip(outputs, expected, strict=True)):
        return WRONG_SHAPE
    return OTHER if all(bool(a.isfinite().all()) for a in outputs) else NOT_FINITE


Files = Mapping[str, str]  # what was handed in beside the notebook: name -> text
Draw = Callable[[torch.Generator, Files], list[Check]]


class Task(NamedTuple):
    """One exercise: what the student defines, and how its hidden checks are drawn."""

    name: str
    title: str
    draw: Draw

    def checks(self, seed: int, files: Files) -> list[Check]:
        return self.draw(torch.Generator().manual_seed(seed), files)

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks(0, {}))


def task(name: str, title: str, draw: Callable[[torch.Generator], list[Check]]) -> Task:
    """A task whose checks depend on nothing that was handed in beside the notebook."""
    return Task(name, title, lambda generator, files: draw(generator))


class OpenQuestion(NamedTuple):
    """A question that a person grades. rubric: criterion -> points."""

    name: str
    title: str
    rubric: dict[str, float]

    @property
    def points(self) -> float:
        return sum(self.rubric.values())


class Assignment(NamedTuple):
    """prelude: the imports that every submission starts with, should they have been deleted.

    public: modules that go to the students, each standing alone or on those before it; the last
    has the public checks. parameters: code for the end of the cell tagged so, as papermill would
    put it there. files: handed in beside the notebook. install: what students need, beside Python.
    note: what a teacher should know of the files.
    """

    name: str
    title: str
    prelude: str
    public: tuple[str, ...]
    tasks: Sequence[Task]
    questions: Sequence[OpenQuestion]
    parameters: str = ""
    files: tuple[str, ...] = ()
    install: str = "torch jupyterlab"
    note: Callable[[Files], str] = lambda files: ""
    limits: Limits = Limits()

    @property
    def points(self) -> float:
        return sum(part.points for part in (*self.tasks, *self.questions))


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator)
