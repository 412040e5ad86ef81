"""What an assignment is: tasks that a worker is asked about, open questions, and their points."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from annlib.course.grading.questions import Check

Draw = Callable[[torch.Generator], list[Check]]


class Task(NamedTuple):
    """One exercise: what the student defines, and how its hidden checks are drawn."""

    name: str
    title: str
    draw: Draw

    def checks(self, seed: int) -> list[Check]:
        return self.draw(torch.Generator().manual_seed(seed))

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks(0))


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

    public: module of the public checks, which stands alone and goes to the students.
    """

    name: str
    title: str
    prelude: str
    public: str
    tasks: Sequence[Task]
    questions: Sequence[OpenQuestion]

    @property
    def points(self) -> float:
        return sum(part.points for part in (*self.tasks, *self.questions))


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator)
