"""Marks one submission: what it is asked, and the points for its answers.

The worker that runs the submission gets the questions, never what is expected.
"""

import hashlib
import logging
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from annlib.grader.confine import Limits
from annlib.grader.hidden_checks import NO_ANSWER, NOT_STARTED, UNEXPLAINED, Answer, Call, Check
from annlib.grader.protocol import Message, readable
from annlib.grader.sandbox import Sandbox, run_worker

NOT_JUDGED = "not judged"
EXPLANATIONS = tomllib.loads(Path(__file__).with_name("misconceptions.toml").read_text("utf-8"))
PUBLIC_CHECK = Path(__file__).with_name("public_check.txt").read_text("utf-8")
Files = Mapping[str, str]  # handed in beside the notebook: name -> text
NUMBER = "student number"  # among the files: of the person, where the teacher has a list of them
SETS = 2  # of numbers: a check is passed if the answers to both are correct


class Task(NamedTuple):
    """One exercise: what the student defines, and how its hidden checks are drawn. public: its
    public check, if that takes no time; sets: of numbers, each of which has to be right"""

    name: str
    title: str
    draw: Callable[[Generator, Files], list[Check]]
    public: str = ""
    sets: int = SETS

    def checks(self, seed: int, files: Files) -> list[Check]:
        return self.draw(Generator().manual_seed(seed), files)

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks(0, {}))


class OpenQuestion(NamedTuple):
    """A question that a person grades. rubric: criterion -> points."""

    name: str
    title: str
    rubric: dict[str, float]

    @property
    def points(self) -> float:
        return sum(self.rubric.values())


class Assignment(NamedTuple):
    """folder: of its source; the files that students get beside the notebook are there, too.
    prelude: the imports that every submission starts with, should they have been deleted. public:
    modules for students, each standing alone or on those before it; the last has the public
    checks. misconceptions: name -> explanation. parameters: code for the end of the cell tagged so,
    as papermill would put it there. files: handed in beside the notebook. install: what students
    need, beside Python. note: what a teacher should know of the files. own: code with functions for
    calls that are the assignment's own; `names` there is what the notebook has defined."""

    name: str
    title: str
    folder: Path
    prelude: str
    public: tuple[str, ...]
    tasks: Sequence[Task]
    questions: Sequence[OpenQuestion]
    misconceptions: Mapping[str, str]
    parameters: str = ""
    files: tuple[str, ...] = ()
    install: str = "torch jupyterlab"
    note: Callable[[Files], str] = lambda files: ""
    limits: Limits = Limits()
    own: str = ""

    @property
    def points(self) -> float:
        return sum(part.points for part in (*self.tasks, *self.questions))

    def public_modules(self) -> dict[str, str]:
        """name -> source of what students get beside the notebook; it imports nothing of annlib."""
        return {one: (self.folder / f"{one}.py").read_text("utf-8") for one in self.public}


class Submission(NamedTuple):
    """cells: of code. open_answers: tag -> text. problem: why there is nothing to run, or "".
    attachments: the files of the assignment that were handed in beside the notebook. note: what a
    teacher should know of how it was handed in."""

    student: str
    files: tuple[str, ...]
    cells: tuple[str, ...]
    open_answers: dict[str, str]
    problem: str
    digest: str
    attachments: Files
    note: str = ""
    images: Mapping[str, str] = {}


def encoded(calls: Sequence[Call], number: int = 0, own: str = "") -> Message:
    """The questions as the worker reads them, numbered from `number` on; own: their code"""
    arrays, plain = {}, []

    def kept(value: object) -> dict:
        if isinstance(value, Tensor):
            arrays[f"a{len(arrays)}"] = value.numpy()
            return {"array": f"a{len(arrays) - 1}"}
        return {"tuple": value} if isinstance(value, tuple) else {"value": value}

    for call in calls:
        weights = {name: kept(value)["array"] for name, value in (call.weights or {}).items()}
        facts = {"name": call.name, "arguments": [*map(kept, call.arguments)], "weights": weights}
        facts["sizes"] = None if call.sizes is None else [*map(kept, call.sizes)]
        facts["upstream"] = None if call.upstream is None else kept(call.upstream)["array"]
        plain.append(facts)
    return Message({"calls": plain, "number": number, "own": own}, arrays)


def decoded(message: Message | None) -> Answer:
    """A worker's answer; a message that never came is one, too."""
    if message is None:
        return Answer(None, {}, "NoAnswer")
    error = message.facts.get("error")
    if error is not None or "output" not in message.arrays:
        name = error.get("type", "") if isinstance(error, dict) else ""
        return Answer(None, {}, readable(name, 60) or "NoAnswer")
    tensors = {name: torch.from_numpy(array) for name, array in message.arrays.items()}
    return Answer(tensors.pop("output"), tensors, "")


class Mark(NamedTuple):
    """Points for one check. misconception and explanation are "" where they are full."""

    task: str
    check: str
    points: float
    out_of: float
    misconception: str
    explanation: str


class Result(NamedTuple):
    """All that grading found out about one submission; what JSON can hold.

    problem: why nothing could be run. ended: how the worker ended. failures: cells that failed.
    note: on what was handed in, for the teacher. files_note: the part of it that equal files share.
    """

    student: str
    files: tuple[str, ...]
    problem: str
    ended: str
    failures: tuple[dict, ...]
    marks: tuple[Mark, ...]
    open_answers: dict[str, str]
    note: str = ""
    files_note: str = ""
    images: Mapping[str, str] = {}

    @property
    def points(self) -> float:
        return sum(mark.points for mark in self.marks)

    def points_of(self, task: str) -> float:
        return sum(mark.points for mark in self.marks if mark.task == task)

    @property
    def started(self) -> bool:
        return any(mark.misconception != NOT_STARTED for mark in self.marks)


LONGEST_NOTE = 500  # letters; a table may have thousands of changes


def own_seed(seed: int, assignment: str, submission: Submission, number: int) -> int:
    """Fresh numbers for each student and each version handed in, whatever the order of grading."""
    text = f"{seed}/{assignment}/{submission.student}/{submission.digest}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


Drawn = list[tuple[Task, list[list[Check]]]]  # each task, with its checks for each set of numbers


def drawn(assignment: Assignment, seeds: Sequence[int], files: Files, only: str = "") -> Drawn:
    """only: the name of one task, instead of all"""
    tasks = [task for task in assignment.tasks if only in ("", task.name)]
    return [(task, [task.checks(one, files) for one in seeds[: task.sets]]) for task in tasks]


def calls_of(sets: Sequence[Sequence[Check]]) -> list[Call]:
    return [call for checks in sets for check in checks for call in check.calls]


def requests(assignment: Assignment, tasks: Drawn) -> list[Message]:
    """The questions, and those to the assignment's own code."""
    calls = [call for _, sets in tasks for call in calls_of(sets)]
    put, own = ([call for call in calls if call.own is which] for which in (False, True))
    named = [(assignment.public[-1], task.public, task.name) for task, _ in tasks if task.public]
    own += [Call("public_check", names) for names in named]
    return [encoded(put), encoded(own, 2 * len(put), PUBLIC_CHECK + assignment.own)]


def marks(
    assignment: Assignment, tasks: Drawn, found: Mapping[int, Message], twice: bool = False
) -> tuple[list[Mark], bool]:
    """One mark a check, and whether one is for an earlier definition.  found: by question"""
    explanations = EXPLANATIONS | assignment.misconceptions
    calls = [calls_of(sets) for _, sets in tasks]
    num_put = sum(not call.own for some in calls for call in some)

    def made(first: int) -> list[list[Mark]]:
        put, own = count(first), count(2 * num_put)
        numbers = [[next(own if call.own else put) for call in some] for some in calls]
        public = [found.get(next(own)) if task.public else None for task, _ in tasks]
        parts = []
        for (task, sets), some, said in zip(tasks, numbers, public, strict=True):
            passes, answers = said and "error" not in said.facts, [found.get(n) for n in some]
            parts.append(marks_of(task, sets, map(decoded, answers), passes, explanations))
        return parts

    last = made(0)
    both = zip(last, made(num_put) if twice else last, strict=True)
    best = [max(two, key=lambda part: sum(mark.points for mark in part)) for two in both]
    return [one for part in best for one in part], best != last


def mark(
    assignment: Assignment, submission: Submission, seed: int, sandbox: Sandbox, limits: Limits
) -> Result:
    """Runs a submission in a worker and judges its answers; raises WorkerFault."""
    seeds = [own_seed(seed, assignment.name, submission, n) for n in range(SETS)]
    files = submission.attachments
    tasks = drawn(assignment, seeds, files)
    found, failures, ended, twice = {}, [], "not run", False
    if not submission.problem:
        names, public = [task.name for task in assignment.tasks], assignment.public_modules()
        public |= {name: text for name, text in files.items() if name.endswith((".py", ".ipynb"))}
        told = (assignment.prelude, submission.cells, public, names)
        transcript = run_worker(sandbox, limits, *told, *requests(assignment, tasks))
        failures, found, ended, twice = transcript
    given, earlier = marks(assignment, tasks, found, twice)
    files_note = assignment.note(files)[:LONGEST_NOTE]
    said = (submission.note, files_note, EXPLANATIONS["defined twice"] if earlier else "")
    notes = ". ".join(filter(None, said))
    facts = (submission.student, submission.files, submission.problem, ended, tuple(failures))
    opened = (submission.open_answers, notes[:LONGEST_NOTE], files_note, submission.images)
    return Result(*facts, tuple(given), *opened)


def marks_of(
    task: Task,
    sets: Sequence[Sequence[Check]],
    answers: Iterator[Answer],
    passes: bool | None,
    explanations: Mapping[str, str],
) -> list[Mark]:
    """One mark a check.  answers: in the order of the calls. passes: the public check, if it ran"""
    found = [[judged(check, answers) for check in checks] for checks in sets]
    slips = [next(filter(None, one), "") for one in zip(*found, strict=True)]
    marks = []
    for check, slip in zip(sets[0], slips, strict=True):
        told = explanations.get("stops" if slip.startswith("stops with") else slip, "")
        if slip.startswith("stops with") or slip in UNEXPLAINED:
            pairs = zip(sets[0], slips, strict=True)
            kinds = ", ".join(f"“{one.name}”" for one, other in pairs if other == slip)
            told = f"{told} {explanations[f'public check passes: {passes}'].format(kinds=kinds)}"
        points = 0 if slip else check.points
        marks.append(Mark(task.name, check.name, points, check.points, slip, told))
    return marks


def judged(check: Check, answers: Iterator[Answer]) -> str:
    """What the next answers show; without an answer to each of its calls there is none."""
    given = [answer for _, answer in zip(check.calls, answers, strict=False)]
    if len(given) < len(check.calls):
        return NO_ANSWER
    try:
        return check.judge(given)
    except Exception:  # a fault of ours costs one check, not the submission
        logging.getLogger(__name__).exception("The check %r could not judge", check.name)
        return NOT_JUDGED
