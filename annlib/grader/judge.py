"""Marks one submission: what it is asked, how its answers are compared, and the points.

The worker that runs the submission gets the questions, never what is expected.
"""

import builtins
import hashlib
import logging
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from annlib.grader.confine import Limits
from annlib.grader.protocol import Message, readable
from annlib.grader.sandbox import Sandbox, run_worker

NOT_STARTED, NOT_FOUND, OTHER_PARTS = "not started", "name not found", "other parts"
OUT_OF_TIME, NO_ANSWER, NOT_JUDGED = "out of time", "no answer", "not judged"
WRONG_SHAPE, WRONG_TYPE, NOT_FINITE = "wrong shape", "wrong type", "nan or inf"
OTHER, WRONG_VALUES, GRADIENT_CUT = "other values", "wrong values", "gradient cut"
UNEXPLAINED = (WRONG_SHAPE, WRONG_TYPE, NOT_FINITE, OTHER, GRADIENT_CUT, OUT_OF_TIME)
EXPLANATIONS = tomllib.loads(Path(__file__).with_name("misconceptions.toml").read_text("utf-8"))
STOPS_WITH = "Your code stops with this error. Call it with inputs of the kind asked for to see it."
PUBLIC = {  # whether the public check passes; None: it takes time, so it was not run
    True: "The public check passes, but asks for less than {kinds}: try inputs of that kind.",
    False: "The public check fails, too: begin there.",
    None: "The public check may pass: it asks for less than {kinds}.",
}
PUBLIC_CHECK = Path(__file__).with_name("public_check.txt").read_text("utf-8")
BETTER = "A name is defined more than once: the definition with more points counts."
ERRORS = {  # by the class that the worker raises
    "NothingBack": NOT_STARTED,
    "NameNotFound": NOT_FOUND,
    "OtherParts": OTHER_PARTS,
    "OutOfTime": OUT_OF_TIME,
    "NoAnswer": NO_ANSWER,
}
Files = Mapping[str, str]  # handed in beside the notebook: name -> text
NUMBER = "student number"  # among the files: of the person, where the teacher has a list of them
SETS = 2  # of numbers: a check is passed if the answers to both are correct


class Call(NamedTuple):
    """One question: call `name` with these arguments (tensors, numbers, tuples).

    For a class: sizes are given to its constructor, weights then replace its parameters. upstream:
    the gradient of the output, to ask for the gradients of parameters and inputs. own: `name` is a
    function of the assignment's own code, which calls the student's.
    """

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


class Task(NamedTuple):
    """One exercise: what the student defines, and how its hidden checks are drawn.

    public: its public check, if that takes no time; sets: of numbers, each of which has to be right
    """

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
    calls that are the assignment's own; `names` there is what the notebook has defined.
    """

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
    teacher should know of how it was handed in.
    """

    student: str
    files: tuple[str, ...]
    cells: tuple[str, ...]
    open_answers: dict[str, str]
    problem: str
    digest: str
    attachments: Files
    note: str = ""
    images: Mapping[str, str] = {}


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
    """The outputs as lists of so many numbers, or the misconception.

    The count comes first: an answer of a few MiB would become lists of many times its size.
    """
    if found := failed(answers):
        return found
    outputs = [answer.output for answer in answers]
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

    any_type: 3, 3.0 and a tensor of it are the same; 3 + 7j is not.
    """
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
    """A check that compares all answers with a reference's, then with those of known mistakes.

    reference, mistakes: as Call.by takes them; they return a tensor, or numbers
    """

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
    what is correct after it
    """
    check = make(reference)

    def judge(answers: Sequence[Answer]) -> str:
        given, before = answers[: len(check.calls)], answers[len(check.calls) :]
        if found := check.judge(given):
            mistake = earlier.judge(before)
            if mistake in follows and not make(follows[mistake]).judge(given):
                return ""
        return found

    return check._replace(calls=[*check.calls, *earlier.calls], judge=judge)


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
    """One mark a check, and whether one is for an earlier definition, where these were asked, too.

    found: the worker's messages by the number of the question
    """
    explanations = EXPLANATIONS | assignment.misconceptions
    calls = [calls_of(sets) for _, sets in tasks]
    num_put = sum(not call.own for some in calls for call in some)

    def made(first: int) -> list[list[Mark]]:
        put, own = count(first), count(2 * num_put)
        numbers = [[next(own if call.own else put) for call in some] for some in calls]
        public = [found.get(next(own)) if task.public else None for task, _ in tasks]
        return [
            marks_of(
                *(task, sets, iter([decoded(found.get(n)) for n in some])),
                *(said and "error" not in said.facts, explanations),
            )
            for (task, sets), some, said in zip(tasks, numbers, public, strict=True)
        ]

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
        told = (assignment.prelude, submission.cells, public, names)
        transcript = run_worker(sandbox, limits, *told, *requests(assignment, tasks))
        failures, found, ended, twice = transcript
    given, earlier = marks(assignment, tasks, found, twice)
    files_note = assignment.note(files)[:LONGEST_NOTE]
    notes = ". ".join(filter(None, (submission.note, files_note, earlier and BETTER)))
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
    """One mark a check; the answers come in the order in which the calls were put.

    passes: whether the public check does, None where it was not run
    """
    found = [[judged(check, answers) for check in checks] for checks in sets]
    slips = [next(filter(None, one), "") for one in zip(*found, strict=True)]
    marks = []
    for check, slip in zip(sets[0], slips, strict=True):
        told = STOPS_WITH if slip.startswith("stops with") else explanations.get(slip, "")
        if slip.startswith("stops with") or slip in UNEXPLAINED:
            pairs = zip(sets[0], slips, strict=True)
            kinds = ", ".join(f"“{one.name}”" for one, other in pairs if other == slip)
            told = f"{told} {PUBLIC[passes].format(kinds=kinds)}"
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
