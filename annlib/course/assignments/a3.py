"""Assignment A3, after lesson 08: an ablation of one's own, in twenty minutes of a processor."""

from annlib.course.assignments import a3_interval, a3_plan, a3_run, a3_table, a3_verdicts
from annlib.course.assignments.a1 import A1
from annlib.course.grading.assignment import Assignment, OpenQuestion, Task, task
from annlib.course.grading.confine import Limits

A3 = Assignment(
    name="A3",
    title="An ablation in twenty minutes",
    prelude=(
        f"{A1.prelude}import a3_tables as tables\nimport a3_world as world\n{a3_table.PARAMETERS}\n"
    ),
    public=("not_yet", "a3_tables", "a3_world", "a3_checks"),
    tasks=(
        task(a3_plan.NAME, "Which runs a budget pays", a3_plan.draw),
        task(a3_interval.NAME, "What two variants differ by", a3_interval.draw),
        task(a3_verdicts.NAME, "What several changes did", a3_verdicts.draw),
        task(a3_run.NAME, "One run", a3_run.draw),
        Task(a3_table.NAME, "The table, and what it says", a3_table.draw),
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
    parameters=a3_table.PARAMETERS,
    files=(a3_table.FILE,),
    note=a3_table.noted,
    install="torch jupyterlab papermill",
    limits=Limits(call_seconds=60, cpu_seconds=400, wall_seconds=900),
)
