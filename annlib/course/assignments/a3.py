"""Assignment A3, after lesson 08: an ablation in twenty CPU minutes; the checks of its table."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_hidden as hidden
from annlib.course.assignments import a3_tables as tables
from annlib.course.assignments.a1 import A1, FOLDER, MISCONCEPTIONS
from annlib.course.assignments.a3_tables import Row, Table
from annlib.grader.confine import Limits
from annlib.grader.judge import (
    NOT_STARTED,
    Answer,
    Assignment,
    Call,
    Check,
    Files,
    OpenQuestion,
    Task,
    close,
    failed,
    integer,
    numbers,
)

NAME, FILE = "ablation", "a3_table.csv"
STUDENT, STEPS, MOST_SEEDS = 4711, 2, 2  # what grading runs the notebook with
PARAMETERS = (
    f"student, steps, most_seeds, budget = {STUDENT}, {STEPS}, {MOST_SEEDS}, 1e6\n"
    "table_file = 'a3_rehearsal.csv'"
)
GRACE = 1.05  # a budget is planned with times that are estimates
AGAIN = 0.001  # scores of one run on two machines: double precision leaves far less
SMOOTH = 0.1  # between a run and the same run without its last step
CONFIDENCE = 0.95
reference_again = lru_cache(maxsize=256)(hidden.reference_run)


def check_parameters() -> Check:
    """The rows that the notebook has made with the parameters of grading; none without budget."""
    seeds = tables.seeds_of(STUDENT, MOST_SEEDS)

    def judge(answers: Sequence[Answer]) -> str:
        if found := failed(answers):
            return found
        rows, none = (answer.output for answer in answers)
        if none.numel():
            return "budget without effect"
        if rows.ndim != 2 or rows.shape[1] != len(Row._fields) or len(rows) > tables.MOST_ROWS:
            return "other rows"
        rows = rows.double()
        if not rows[:, :4].isfinite().all():
            return "other rows"
        given = torch.tensor([[STUDENT, STEPS]], dtype=torch.float64)
        if len(rows) == 0 or not (rows[:, [0, 3]] == given).all():
            return "parameters without effect"
        variants, left = divmod(len(rows), len(seeds))
        runs = [[float(variant), float(seed)] for seed in seeds for variant in range(variants)]
        if left or variants < 2 or rows[:, [1, 2]].tolist() != runs:
            return "other rows"
        expected = [reference_again(seed, STEPS) for seed in seeds]
        scores = torch.tensor(expected, dtype=torch.float64)
        same = close(rows[::variants, 5], scores, hidden.TOLERANCE)
        return "" if same else "other scores"

    arguments = (STUDENT, STEPS, MOST_SEEDS, 0.0, "none.csv")
    calls = [Call("rows", ()), Call(NAME, arguments)]
    return Check("made by its parameters", 1, calls, judge)


def agree(again: float, stated: float) -> bool:
    """Whether a run gives what the table says of it; a failed run fails again."""
    return abs(again - stated) <= AGAIN or not (isfinite(again) or isfinite(stated))


def check_baseline(rows: Sequence[Row]) -> Check:
    """Runs of the baseline, taken again by the grader itself."""

    def judge(answers: Sequence[Answer]) -> str:
        same = all(agree(reference_again(row.seed, row.steps), row.score) for row in rows)
        return "" if same else "baseline not found again"

    return Check("a baseline's run again", 1, [], judge)


def check_changed(rows: Sequence[Row]) -> Check:
    """Runs of changed variants, and the same but for their last step, by the student's code."""

    def judge(answers: Sequence[Answer]) -> str:
        found = numbers(answers)
        if isinstance(found, str):
            return found
        scores = [score for (score,) in found]
        pairs = list(zip(scores[::2], scores[1::2], strict=True))
        if not all(agree(again, row.score) for (again, _), row in zip(pairs, rows, strict=True)):
            return "change not found again"
        apart = [abs(again - before) for again, before in pairs if isfinite(again)]
        return "" if all(jump <= SMOOTH for jump in apart) else "a score that jumps"

    calls = [
        Call(hidden.RUN, (row.variant, row.seed, steps))
        for row in rows
        for steps in (row.steps, max(row.steps - 1, 1))
    ]
    return Check("a change's run again", 1, calls, judge)


def check_conclusion(table: Table) -> Check:
    """What the student concludes of each change, against the intervals of the student's table."""
    expected = hidden.verdicts(table.scores, CONFIDENCE)

    def judge(answers: Sequence[Answer]) -> str:
        found = numbers(answers, len(expected))
        if isinstance(found, str):
            return found
        for stated, shown in zip(found[0], expected, strict=True):
            if stated != shown:
                missed = "shown, but not claimed" if stated == 0 else "against the table"
                return "claimed, but not shown" if shown == 0 else missed
        return ""

    return Check("conclusion follows", 1, [Call("conclusion", ())], judge)


def note_on(files: Files) -> str:
    """What the table says, for the person who reads the report beside it."""
    found = tables.table_of(files.get(FILE, ""))
    if not isinstance(found, Table):
        return ""
    variants, seeds = found.scores.shape
    confidence = 1 - (1 - CONFIDENCE) / (variants - 1)

    def interval(changed: Tensor) -> str:
        ends = hidden.paired_interval(found.scores[0], changed, confidence)
        return "{:.4f} ({:.4f} to {:.4f})".format(*ends.tolist())

    changes = [f"change {n}: {interval(one)}" for n, one in enumerate(found.scores[1:5], 1)]
    return (
        f"student {found.rows[0].student}: {seeds} seeds, {found.rows[0].steps} steps, "
        f"{int(found.scores.isnan().sum())} failed; {'; '.join(changes)}"
        + (f"; {variants - 5} more changes" if variants > 5 else "")
    )


def draw(generator: Generator, files: Files) -> list[Check]:
    """Looks at the table and, once it is complete, at runs of it.  files: what was handed in"""

    def decided(name: str, found: str) -> Check:
        return Check(name, 1, [], lambda answers: found)

    def drawn(rows: list[Row]) -> list[Row]:
        """A run that went well and, if there is one, a run that is said to have failed."""
        failures = [row for row in rows if not isfinite(row.score)]
        kinds = ([row for row in rows if isfinite(row.score)], failures)
        return [kind[integer(generator, 0, len(kind) - 1)] for kind in kinds if kind]

    text = files.get(FILE, "")
    found = tables.table_of(text) if text.strip() else ""
    if not isinstance(found, Table):
        later = "table first" if found else NOT_STARTED
        names = ("a baseline's run again", "a change's run again", "conclusion follows")
        complete = decided("complete table", found or NOT_STARTED)
        return [complete, check_parameters(), *(decided(name, later) for name in names)]
    in_time = found.seconds <= GRACE * tables.BUDGET
    return [
        decided("complete table", "" if in_time else "over the budget of time"),
        check_parameters(),
        check_baseline(drawn([row for row in found.rows if row.variant == 0])),
        check_changed(drawn([row for row in found.rows if row.variant > 0])),
        check_conclusion(found),
    ]


A3 = Assignment(
    name="A3",
    title="An ablation in twenty minutes",
    folder=FOLDER,
    prelude=f"{A1.prelude}import a3_tables as tables\nimport a3_world as world\n{PARAMETERS}\n",
    public=("not_yet", "a3_tables", "a3_world", "a3_checks"),
    tasks=(
        Task(hidden.PLAN, "Which runs a budget pays", hidden.draw_plan_task),
        Task(hidden.INTERVAL, "What two variants differ by", hidden.draw_interval_task),
        Task(hidden.VERDICTS, "What several changes did", hidden.draw_verdicts_task),
        Task(hidden.RUN, "One run", hidden.draw_run_task),
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
    misconceptions=MISCONCEPTIONS | tables.UNFIT,
    parameters=PARAMETERS,
    files=(FILE,),
    note=note_on,
    install="torch jupyterlab papermill",
    limits=Limits(call_seconds=60, cells_seconds=200, questions_seconds=300, wall_seconds=1000),
)
