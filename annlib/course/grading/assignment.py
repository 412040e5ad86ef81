"""What an assignment is: tasks that a worker is asked about, open questions, and their points."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from annlib.course.grading.confine import Limits
from annlib.course.grading.questions import Check

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
