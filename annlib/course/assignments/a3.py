"""Assignment A3, after lesson 08: an ablation in twenty CPU minutes; the checks of its table."""

from collections.abc import Sequence
from itertools import repeat
from math import isfinite

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_hidden as hidden
from annlib.course.assignments import a3_tables as tables
from annlib.course.assignments.a1 import A1, FOLDER, MISCONCEPTIONS, questions_of
from annlib.course.assignments.a3_hidden import AGAIN, INTERVAL, PLAN, RUN, VERDICTS
from annlib.course.assignments.a3_tables import Row, Table
from annlib.grader import judge as grading
from annlib.grader.confine import Limits
from annlib.grader.hidden_checks import NOT_STARTED, Answer, Call, Check, failed, integer, numbers
from annlib.grader.judge import Files

NAME, FILE = "ablation", "a3_table.csv"
STUDENT, STEPS, MOST_SEEDS = 4711, 2, 2  # what grading runs the notebook with
PARAMETERS = (
    f"student, steps, most_seeds, budget = {STUDENT}, {STEPS}, {MOST_SEEDS}, 1e6\n"
    "table_file = 'a3_rehearsal.csv'"
)
GRACE = 1.05  # a budget is planned with times that are estimates
AS_STATED = 0.001  # scores of one run on two machines: double precision leaves far less
# Between a difference on a fresh seed and the mean of the table, in deviations of one difference,
# which few seeds may underestimate: a network may begin to learn a little later, or earlier.
FAR, LEAST_DEVIATION = 5, 0.06
CONFIDENCE = 0.95
SHORT = Call(RUN, (0, STUDENT, 2))  # a run of the baseline that shows which recipe `run` has


def mistake(answer: Answer) -> str:
    """The known mistake that a short run shows; "" if there is none."""
    found = numbers([answer])
    slip = "" if isinstance(found, str) else hidden.recipe(found[0][0], *SHORT.arguments[1:])
    return slip if slip in hidden.RUNS else ""


def check_parameters(student: int, steps: int) -> Check:
    """The rows of the notebook, and those that it makes for another student; none without budget.
    Rows follow the student's own plan and run, with the mistakes that these may have."""
    seeds = tables.seeds_of(student, MOST_SEEDS)
    plan = hidden.draw_plan_task(Generator().manual_seed(student), {})[0]

    def other(rows: Tensor, student: int, steps: int) -> str:
        fits = rows.ndim == 2 and rows.shape[1] == len(Row._fields) and len(rows) < tables.MOST_ROWS
        if not fits or not rows[:, :4].isfinite().all():
            return "other rows"
        same = len(rows) and (rows[:, [0, 3]] == torch.tensor([[student, steps]])).all()
        return "" if same else "parameters without effect"

    def judge(answers: Sequence[Answer]) -> str:
        *first, planned = answers
        if found := failed(first):
            return found
        own, fresh, none = (answer.output for answer in first)
        if none.numel():
            return "budget without effect"
        if found := other(own, STUDENT, STEPS) or other(fresh, student, steps):
            return found
        runs, variants = [*map(tuple, fresh[:, [1, 2]].tolist())], int(fresh[:, 1].max()) + 1
        plans = hidden.plan, hidden.PLAN_MISTAKES.get(plan.judge([planned]), hidden.plan)
        if not 2 <= variants <= len(runs) + 1 or not any(
            made((1.0,) * variants, 1e6, tuple(seeds)) == runs for made in plans
        ):
            return "other rows"
        scores = [(int(row[2]), float(row[5])) for row in fresh if row[1] == 0]
        same = (
            all(
                hidden.repeated(score, [hidden.again(slip, seed, steps)], hidden.TOLERANCE)
                for seed, score in scores
            )
            for slip in hidden.RUNS
        )
        return "" if any(same) else "other scores"

    calls = [Call("rows", ()), Call(NAME, (student, steps, MOST_SEEDS, 1e6, "fresh.csv"))]
    calls += [Call(NAME, (student, steps, MOST_SEEDS, 0.0, "none.csv")), *plan.calls]
    return Check("made by its parameters", 1, calls, judge)


def check_baseline(rows: Sequence[Row]) -> Check:
    """Runs of the baseline, taken again by the grader itself, with a mistake that `run` has."""

    def judge(answers: Sequence[Answer]) -> str:
        slip = mistake(answers[0])
        found = [[hidden.again(slip, row.seed, row.steps)] for row in rows]
        same = map(hidden.repeated, [row.score for row in rows], found, repeat(AS_STATED))
        return "" if all(same) else "baseline not found again"

    return Check("a baseline's run again", 1, [SHORT], judge)


def check_changed(rows: Sequence[Row], table: Table, seed: int) -> Check:
    """Runs of changed variants, by the worker itself; one by the student's code on a fresh seed.
    Where `run` has a mistake, which has lost its points, only the fresh one is looked at."""
    variant, steps = rows[0].variant, rows[0].steps

    def judge(answers: Sequence[Answer]) -> str:
        fresh, made = numbers(answers[1:2]), numbers(answers[2:], 2)
        if isinstance(fresh, str) or isinstance(made, str):
            return fresh if isinstance(fresh, str) else made
        slip = mistake(answers[0])
        for row, scores in zip(rows, made, strict=True):
            if not slip and not hidden.repeated(row.score, scores, AS_STATED):
                return "change not found again"
        apart = table.scores[variant] - table.scores[0]
        apart, found = apart[apart.isfinite()], fresh[0][0] - hidden.again(slip, seed, steps)
        deviation = max(float(apart.std()) if len(apart) > 1 else 0, LEAST_DEVIATION)
        far = abs(found - float(apart.mean())) > FAR * deviation if len(apart) else False
        return "not so on a fresh seed" if far and isfinite(found) else ""

    calls = [SHORT, Call(RUN, (variant, seed, steps))]
    calls += [Call(AGAIN, (row.variant, row.seed, row.steps), own=True) for row in rows]
    return Check("a change's run again", 1, calls, judge)


def check_conclusion(table: Table) -> Check:
    """What the student concludes of each change, against the intervals of the student's table. What
    the student's own `verdicts` says counts, too, if a mistake that lost points explains it."""
    expected = hidden.verdicts(table.scores, CONFIDENCE)
    known = [*hidden.VERDICT_MISTAKES.values(), *hidden.AFTER_INTERVAL.values()]

    def judge(answers: Sequence[Answer]) -> str:
        found = numbers(answers[:1], len(expected))
        if isinstance(found, str):
            return found
        own = numbers(answers[1:], len(expected))
        if own == found and any(made(table.scores, CONFIDENCE) == own[0] for made in known):
            return ""
        for stated, shown in zip(found[0], expected, strict=True):
            if stated != shown:
                missed = "shown, but not claimed" if stated == 0 else "against the table"
                return "claimed, but not shown" if shown == 0 else missed
        return ""

    calls = [Call("conclusion", ()), Call(VERDICTS, (table.scores, CONFIDENCE))]
    return Check("conclusion follows", 1, calls, judge)


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
        + (f"; left out: {found.left_out}" if found.left_out else "")
    )


def draw(generator: Generator, files: Files) -> list[Check]:
    """Looks at the table and, once it is complete, at runs of it.  files: what was handed in"""

    def decided(name: str, found: str) -> Check:
        return Check(name, 1, [], lambda answers: found)

    def drawn(rows: list[Row], count: int) -> list[Row]:
        """Runs that went well and, if there is one, a run that is said to have failed."""
        order = torch.randperm(len(rows), generator=generator).tolist()
        finite = [rows[n] for n in order if isfinite(rows[n].score)]
        return finite[:count] + [rows[n] for n in order if not isfinite(rows[n].score)][:1]

    text = files.get(FILE, "")
    found = tables.table_of(text) if text.strip() else ""
    number = "".join(filter(str.isdecimal, files.get(grading.NUMBER, "")))
    if isinstance(found, Table) and number and int(number) != found.rows[0].student:
        found = "number of somebody else"
    made = check_parameters(integer(generator, 10**5, 10**6), integer(generator, 2, 3))
    if not isinstance(found, Table):
        later = "table first" if found else NOT_STARTED
        names = ("a baseline's run again", "a change's run again", "conclusion follows")
        complete = decided("complete table", found or NOT_STARTED)
        return [complete, made, *(decided(name, later) for name in names)]
    in_time, fresh = found.seconds <= GRACE * tables.BUDGET, integer(generator, 10**6, 10**7)
    return [
        decided("complete table", "" if in_time else "over the budget of time"),
        made,
        check_baseline(drawn([row for row in found.rows if row.variant == 0], 1)),
        check_changed(drawn([row for row in found.rows if row.variant > 0], 2), found, fresh),
        check_conclusion(found),
    ]


A3 = grading.Assignment(
    name="A3",
    title="An ablation in twenty minutes",
    folder=FOLDER,
    prelude=f"{A1.prelude}import a3_tables as tables\nimport a3_world as world\n{PARAMETERS}\n",
    public=("not_yet", "a3_tables", "a3_world", "a3_checks"),
    tasks=(
        grading.Task(PLAN, "Which runs a budget pays", hidden.draw_plan_task, PLAN),
        grading.Task(INTERVAL, "What two variants differ by", hidden.draw_interval_task, INTERVAL),
        grading.Task(VERDICTS, "What several changes did", hidden.draw_verdicts_task, VERDICTS),
        grading.Task(RUN, "One run", hidden.draw_run_task, sets=1),
        grading.Task(NAME, "The table, and what it says", draw, sets=1),
    ),
    questions=questions_of("A3"),
    misconceptions=MISCONCEPTIONS | tables.UNFIT,
    parameters=PARAMETERS,
    files=(FILE,),
    note=note_on,
    install="torch jupyterlab papermill",
    own=hidden.OWN_RUN,
    limits=Limits(call_seconds=60, cells_seconds=200, questions_seconds=300, wall_seconds=1000),
)
