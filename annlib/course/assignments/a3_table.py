"""Hidden checks of assignment A3, fifth task: the table, runs of it taken again, what it says."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_slips as slips
from annlib.course.assignments import a3_tables as tables
from annlib.course.assignments.a3_interval import reference as paired_interval
from annlib.course.assignments.a3_run import TOLERANCE, reference
from annlib.course.assignments.a3_tables import Row, Table
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
FILE = "a3_table.csv"
GRACE = 1.05  # a budget is planned with times that are estimates
AGAIN = 0.001  # scores of one run on two machines: double precision leaves far less
SMOOTH = 0.1  # between a run and the same run without its last step
CONFIDENCE = 0.95
reference_again = lru_cache(maxsize=256)(reference)


def decides(name: str, found: Misconception | None) -> Check:
    """A check that needs to ask nothing."""
    return Check(name, 1, [], lambda answers: found)


def check_parameters() -> Check:
    """The rows that the notebook has made with the parameters of grading; none without budget."""
    seeds = tables.seeds_of(REHEARSED["student"], REHEARSED["most_seeds"])

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        rows, none = (answer.output.double() for answer in answers)
        if none.numel():
            return slips.BUDGET_IGNORED
        return wrong_with(rows, seeds)

    arguments = (REHEARSED["student"], REHEARSED["steps"], REHEARSED["most_seeds"], 0.0, "none.csv")
    calls = [Call("rows", ()), Call(NAME, arguments)]
    return Check("made by its parameters", 1, calls, judge)


def wrong_with(rows: Tensor, seeds: Sequence[int]) -> Misconception | None:
    """rows: from a stranger, of any shape.  seeds: that all variants have to have, in turn"""
    if rows.ndim != 2 or rows.shape[1] != len(Row._fields) or not rows[:, :4].isfinite().all():
        return slips.NO_ROWS
    said = torch.tensor([[REHEARSED["student"], REHEARSED["steps"]]], dtype=torch.float64)
    if len(rows) == 0 or not (rows[:, [0, 3]] == said).all():
        return slips.OVERRIDDEN
    variants, left = divmod(len(rows), len(seeds))
    runs = [[float(variant), float(seed)] for seed in seeds for variant in range(variants)]
    if left or variants < 2 or rows[:, [1, 2]].tolist() != runs:
        return slips.NO_ROWS
    right = [reference_again(seed, REHEARSED["steps"]) for seed in seeds]
    scores = torch.tensor(right, dtype=torch.float64)
    return None if close(rows[::variants, 5], scores, TOLERANCE) else slips.OTHER_SCORES


def agree(again: float, stated: float) -> bool:
    """Whether a run gives what the table says of it; a failed run fails again."""
    return abs(again - stated) <= AGAIN or not (isfinite(again) or isfinite(stated))


def check_baseline(rows: Sequence[Row]) -> Check:
    """Runs of the baseline, taken again by the grader itself."""

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        right = all(agree(reference_again(row.seed, row.steps), row.score) for row in rows)
        return None if right else slips.BASELINE_DIFFERS

    return Check("a baseline's run again", 1, [], judge)


def check_changed(rows: Sequence[Row]) -> Check:
    """Runs of changed variants, and the same but for their last step, by the student's code."""

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        if any(answer.output.numel() != 1 for answer in answers):
            return WRONG_SHAPE
        found = [answer.output.double().item() for answer in answers]
        pairs = list(zip(found[::2], found[1::2], strict=True))
        if not all(agree(again, row.score) for (again, _), row in zip(pairs, rows, strict=True)):
            return slips.CHANGE_DIFFERS
        apart = [abs(again - before) for again, before in pairs if isfinite(again)]
        return None if all(jump <= SMOOTH for jump in apart) else slips.JUMP

    calls = [
        Call("run", (row.variant, row.seed, steps))
        for row in rows
        for steps in (row.steps, max(row.steps - 1, 1))
    ]
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


def noted(files: Files) -> str:
    """What the table says, for the person who reads the report beside it."""
    found = tables.table_of(files.get(FILE, ""))
    if not isinstance(found, Table):
        return ""
    variants, seeds = found.scores.shape
    share = (1 - CONFIDENCE) / (variants - 1)
    changes = "; ".join(
        f"change {number}: {{:.4f}} ({{:.4f}} to {{:.4f}})".format(*interval.tolist())
        for number, changed in enumerate(found.scores[1:], 1)
        for interval in [paired_interval(found.scores[0], changed, 1 - share)]
    )
    return (
        f"student {found.rows[0].student}: {seeds} seeds, {found.rows[0].steps} steps, "
        f"{int(found.scores.isnan().sum())} failed; {changes}"
    )


def drawn(generator: Generator, rows: Sequence[Row]) -> list[Row]:
    """A run that went well and, if there is one, a run that is said to have failed."""
    kinds = (
        [row for row in rows if isfinite(row.score)],
        [row for row in rows if not isfinite(row.score)],
    )
    return [kind[integer(generator, 0, len(kind) - 1)] for kind in kinds if kind]


def draw(generator: Generator, files: Files) -> list[Check]:
    """Looks at the table and, once it is complete, at runs of it.  files: what was handed in"""
    text = files.get(FILE, "")
    found = tables.table_of(text) if text.strip() else NOT_STARTED
    if not isinstance(found, Table):
        later = NOT_STARTED if found is NOT_STARTED else slips.TABLE_FIRST
        names = ("a baseline's run again", "a change's run again", "conclusion follows")
        rest = [decides(name, later) for name in names]
        return [decides("complete table", Misconception(*found)), check_parameters(), *rest]
    in_time = found.seconds <= GRACE * tables.BUDGET
    return [
        decides("complete table", None if in_time else slips.OVER_BUDGET),
        check_parameters(),
        check_baseline(drawn(generator, [row for row in found.rows if row.variant == 0])),
        check_changed(drawn(generator, [row for row in found.rows if row.variant > 0])),
        check_conclusion(found),
    ]
