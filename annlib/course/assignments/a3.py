"""Assignment A3, after lesson 08: an ablation in twenty CPU minutes; the checks of its table."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_hidden
from annlib.course.assignments import a3_misconceptions as slips
from annlib.course.assignments import a3_tables as tables
from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a3_hidden import TOLERANCE, reference_run, verdicts
from annlib.course.assignments.a3_hidden import reference_interval as paired_interval
from annlib.course.assignments.a3_tables import Row, Table
from annlib.course.assignments.base import (
    NOT_STARTED,
    WRONG_SHAPE,
    Answer,
    Assignment,
    Call,
    Check,
    Files,
    Misconception,
    OpenQuestion,
    Task,
    close,
    failed,
    integer,
    task,
)
from annlib.grader.confine import Limits

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
reference_again = lru_cache(maxsize=256)(reference_run)


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


A3 = Assignment(
    name="A3",
    title="An ablation in twenty minutes",
    prelude=(f"{A1.prelude}import a3_tables as tables\nimport a3_world as world\n{PARAMETERS}\n"),
    public=("not_yet", "a3_tables", "a3_world", "a3_checks"),
    tasks=(
        task(a3_hidden.PLAN_TASK, "Which runs a budget pays", a3_hidden.draw_plan_task),
        task(a3_hidden.INTERVAL_TASK, "What two variants differ by", a3_hidden.draw_interval_task),
        task(a3_hidden.VERDICTS_TASK, "What several changes did", a3_hidden.draw_verdicts_task),
        task(a3_hidden.RUN_TASK, "One run", a3_hidden.draw_run_task),
        Task(NAME, "The table, and what it says", draw),
    ),
    questions=(
        OpenQuestion(
            "report",
            "The report",
            {
                "The prediction: which change, better or worse, by how much, and why": 1,
                "What was found, with intervals, seeds, steps, and failed runs": 1,
                "The conclusion goes no further than table and world": 1,
                "One thing that could have made this result without the change being the reason": 1,
                "The command that makes the table again": 1,
            },
        ),
    ),
    parameters=PARAMETERS,
    files=(FILE,),
    note=noted,
    install="torch jupyterlab papermill",
    limits=Limits(call_seconds=60, cpu_seconds=400, wall_seconds=900),
)
