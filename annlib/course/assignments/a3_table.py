"""Hidden checks of assignment A3, fifth task: the table, runs of it taken again, what it says."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

import torch
from torch import Generator

from annlib.course.assignments import a3_slips as slips
from annlib.course.assignments import a3_world as world
from annlib.course.assignments.a3_rows import FILE, Row, Table, table_of
from annlib.course.assignments.a3_run import TOLERANCE, reference
from annlib.course.assignments.a3_verdicts import verdicts
from annlib.course.grading.assignment import Files, integer
from annlib.course.grading.questions import (
    NOT_STARTED,
    WRONG_SHAPE,
    Answer,
    Call,
    Check,
    Misconception,
    close,
    failed,
)

NAME = "ablation"
REHEARSED = {"student": 4711, "steps": 2, "most_seeds": 2}  # what grading runs the notebook with
PARAMETERS = (
    f"student, steps, most_seeds, budget = {REHEARSED['student']}, {REHEARSED['steps']}, "
    f"{REHEARSED['most_seeds']}, 1e6\ntable_file = 'a3_rehearsal.csv'"
)
AGAIN = 0.005  # scores of one run on two machines: double precision leaves far less
SMOOTH = 0.1  # between a run and the same run without its last step
CONFIDENCE = 0.95
reference_again = lru_cache(maxsize=256)(reference)


def decides(name: str, found: Misconception | None) -> Check:
    """A check that needs to ask nothing."""
    return Check(name, 1, [], lambda answers: found)


def check_parameters() -> Check:
    """The rows that the notebook has made with the parameters of grading."""
    seeds = world.seeds_of(REHEARSED["student"], REHEARSED["most_seeds"])

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        rows = answers[0].output.double()
        if rows.ndim != 2 or rows.shape[1] != len(Row._fields) or len(rows) == 0:
            return slips.NO_ROWS
        variants = 1 + int(rows[:, 1].max())
        runs = [(variant, seed) for seed in seeds for variant in range(variants)]
        said = torch.tensor([(REHEARSED["student"], REHEARSED["steps"])], dtype=torch.float64)
        if not (rows[:, [0, 3]] == said).all() or len(rows) > len(runs):
            return slips.OVERRIDDEN
        if rows[:, [1, 2]].tolist() != [list(map(float, run)) for run in runs]:
            return slips.NO_ROWS
        right = [reference(seed, REHEARSED["steps"]) for seed in seeds]
        scores = torch.tensor(right, dtype=torch.float64)
        return None if close(rows[::variants, 5], scores, TOLERANCE) else slips.OTHER_SCORES

    return Check("made by its parameters", 1, [Call("rows", ())], judge)


def check_baseline(row: Row) -> Check:
    """A run of the baseline, taken again by the grader itself."""

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        again = reference_again(row.seed, row.steps)
        return None if abs(again - row.score) <= AGAIN else slips.BASELINE_DIFFERS

    return Check("a baseline's run again", 1, [], judge)


def check_changed(row: Row) -> Check:
    """A run of a changed variant, and the same but for its last step, by the student's code."""
    steps = (row.steps, max(row.steps - 1, 1))

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        if any(answer.output.numel() != 1 for answer in answers):
            return WRONG_SHAPE
        again, before = (answer.output.double().item() for answer in answers)
        if not abs(again - row.score) <= AGAIN:  # nan is not near anything
            return slips.CHANGE_DIFFERS
        return None if abs(again - before) <= SMOOTH else slips.JUMP

    calls = [Call("run", (row.variant, row.seed, count)) for count in steps]
    return Check("a change's run again", 1, calls, judge)


def check_conclusion(table: Table) -> Check:
    """What the student says of each change, against the intervals of the student's own table."""
    expected = verdicts(table.scores, CONFIDENCE)

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        said = answers[0].output.double().flatten().tolist()
        if len(said) != len(expected):
            return WRONG_SHAPE
        for one, right in zip(said, expected, strict=True):
            if one != right:
                return slips.CLAIMED if right == 0 else slips.MISSED if one == 0 else slips.AGAINST
        return None

    return Check("conclusion follows", 1, [Call("conclusion", ())], judge)


def drawn_row(generator: Generator, rows: Sequence[Row]) -> Row:
    finite = [row for row in rows if isfinite(row.score)]
    return finite[integer(generator, 0, len(finite) - 1)]


def draw(generator: Generator, files: Files) -> list[Check]:
    """Looks at the table and, once it is complete, at runs of it.  files: what was handed in"""
    found = table_of(files[FILE]) if files.get(FILE, "").strip() else NOT_STARTED
    if not isinstance(found, Table):
        later = NOT_STARTED if found is NOT_STARTED else slips.TABLE_FIRST
        names = ("a baseline's run again", "a change's run again", "conclusion follows")
        rest = [decides(name, later) for name in names]
        return [decides("complete table", found), check_parameters(), *rest]
    return [
        decides("complete table", None),
        check_parameters(),
        check_baseline(drawn_row(generator, [row for row in found.rows if row.variant == 0])),
        check_changed(drawn_row(generator, [row for row in found.rows if row.variant > 0])),
        check_conclusion(found),
    ]
