"""Marks one submission: a worker answers, the hidden checks judge, a plain record is left."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3
from annlib.course.assignments.base import (
    NO_ANSWER,
    NOT_JUDGED,
    NOT_STARTED,
    Answer,
    Assignment,
    Check,
    Misconception,
    Task,
    decoded,
    encoded,
)
from annlib.grader.confine import Limits
from annlib.grader.intake import Submission
from annlib.grader.sandbox import Sandbox, run_worker

ASSIGNMENTS = {one.name: one for one in (A1, A2, A3)}


SEEDS = 2  # numbers drawn twice: a check is passed if both sets of answers are right


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
    note: on the files handed in beside the notebook.
    """

    student: str
    files: tuple[str, ...]
    problem: str
    ended: str
    failures: tuple[dict, ...]
    marks: tuple[Mark, ...]
    open_answers: dict[str, str]
    note: str = ""

    @property
    def points(self) -> float:
        return sum(mark.points for mark in self.marks)

    def points_of(self, task: str) -> float:
        return sum(mark.points for mark in self.marks if mark.task == task)

    @property
    def started(self) -> bool:
        return any(mark.misconception != NOT_STARTED.name for mark in self.marks)


def own_seed(seed: int, assignment: str, student: str, number: int) -> int:
    """Fresh numbers for each student, whatever the order of grading."""
    text = f"{seed}/{assignment}/{student}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def mark(
    assignment: Assignment,
    submission: Submission,
    seed: int,
    sandbox: Sandbox,
    limits: Limits,
    public: Mapping[str, str],
) -> Result:
    """public: name -> source of the modules that the submission may import."""
    seeds = [own_seed(seed, assignment.name, submission.student, n) for n in range(SEEDS)]
    drawn = [
        (task, [task.checks(one, submission.attachments) for one in seeds])
        for task in assignment.tasks
    ]
    calls = [
        call for _, sets in drawn for checks in sets for check in checks for call in check.calls
    ]
    if submission.problem:
        answers, failures, ended = iter([]), [], "not run"
    else:
        transcript = run_worker(
            sandbox,
            limits,
            assignment.prelude,
            submission.cells,
            public,
            encoded(calls),
        )
        answers = iter([decoded(transcript.answers.get(n)) for n in range(len(calls))])
        failures, ended = transcript.failures, transcript.ended
    marks = [one for task, sets in drawn for one in marks_of(task, sets, answers)]
    return Result(
        submission.student,
        submission.files,
        submission.problem,
        ended,
        tuple(failures),
        tuple(marks),
        submission.open_answers,
        assignment.note(submission.attachments),
    )


def marks_of(task: Task, sets: Sequence[Sequence[Check]], answers) -> list[Mark]:
    """One mark a check; the answers come in the order in which the calls were put."""
    found = [[judged(check, answers) for check in checks] for checks in sets]
    return [
        Mark(
            task.name,
            check.name,
            0 if slip else check.points,
            check.points,
            slip.name if slip else "",
            slip.explanation if slip else "",
        )
        for check, *slips in zip(sets[0], *found, strict=True)
        for slip in [next((slip for slip in slips if slip), None)]
    ]


def judged(check: Check, answers) -> Misconception | None:
    """What the next answers show; no answer to any question is no answer."""
    given: list[Answer] = [answer for _, answer in zip(check.calls, answers, strict=False)]
    if len(given) < len(check.calls):
        return NO_ANSWER
    try:
        return check.judge(given)
    except Exception:  # a fault of ours costs one check, not the submission
        logging.getLogger(__name__).exception("The check %r could not judge", check.name)
        return NOT_JUDGED
