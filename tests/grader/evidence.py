"""Writes data/results/grader.md: what the grader has been shown to do, by doing it.

PYTHONPATH=tests/grader python tests/grader/evidence.py
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import a1_answers
import a2_answers
import a3_answers
import torch
from attacks import ATTACKS, NOTHING, REFUSED, cells_of, outcomes
from cheats import CHEATS, attempted
from in_process import AS_USER, ROOT, lost, marks_for, solutions
from known import FILES, REMEMBERED, Gallery, changed_files, mistaken, until

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3
from annlib.engine.results import device_name
from annlib.grader.intake import parsed
from annlib.grader.judge import Assignment
from annlib.grader.release import edition
from annlib.grader.sandbox import open_sandbox, stage_worker, why_not

PAGE = ROOT / "data/results/grader.md"
KNOWN = ((A1, a1_answers.GALLERIES), (A2, a2_answers.GALLERIES), (A3, a3_answers.GALLERIES))


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def known_answers() -> list[str]:
    """A line for each answer that is known: what it gets, and by which checks."""
    return [
        line
        for assignment, galleries in KNOWN
        for part in (blank(assignment), *(answers_to(assignment, one) for one in galleries))
        for line in part
    ]


def blank(assignment: Assignment) -> list[str]:
    """The notebook as students get it."""
    name = f"{assignment.name}.ipynb"
    cells, _ = parsed(edition(ROOT, assignment, "learner").encode(), name, assignment)
    marks = marks_for("\n".join(cell for cell in cells if "checks" not in cell), assignment)
    points = f"{sum(m.points for m in marks):g} of {sum(m.out_of for m in marks):g}"
    found = "; ".join({mark.misconception for mark in marks})
    return [row(assignment.name, "all", "blank", points, found)]


def answers_to(assignment: Assignment, gallery: Gallery) -> list[str]:
    """The lines of one task: answers, right and wrong; files beside the right one."""
    reference, files = solutions(assignment), FILES.get(assignment.name)
    if gallery.task == "ablation":
        reference["run"] += REMEMBERED
    whole = until(reference, gallery.cell)
    codes = {"the reference": whole} | {n: f"{whole}\n{code}" for n, code in gallery.right.items()}
    codes |= {n: mistaken(reference, gallery.cell, one) for n, one in gallery.wrong.items()}
    asked = [(name, code, files) for name, code in codes.items()]
    asked += [
        (f"table: {name}", whole, changed_files(assignment.name, one))
        for name, one in gallery.wrong_files.items()
    ]
    lines = []
    for name, code, beside in asked:
        marks = marks_for(code, assignment, files=beside, only=gallery.task)
        points = f"{sum(m.points for m in marks):g} of {sum(m.out_of for m in marks):g}"
        found = "; ".join(f"{check}: {slip}" for check, slip in lost(marks, gallery.task).items())
        lines.append(row(assignment.name, gallery.task, name, points, found or "right"))
    return lines


def cheats(folder: Path) -> list[str]:
    """A line for each cheat: what it got, what it reached, how it ended."""
    sandbox = open_sandbox(stage_worker(folder / "stage"), unsafe=False, user=AS_USER)
    lines = []
    alone = {one.name: cells_of(one) for one in ATTACKS if one.must == NOTHING}
    for name, cells in (CHEATS | alone).items():
        result, reached = attempted(cells, sandbox, folder)
        errors = ", ".join(dict.fromkeys(failure["type"] for failure in result.failures))
        stopped = ", ".join(reached) or "nothing"
        lines.append(row(name, f"{result.points:g}", stopped, result.ended, errors or "-"))
    return lines


def refused() -> list[str]:
    """What became of the attacks that run in one worker, and of grading as root."""
    tried = [one for one in ATTACKS if one.must == REFUSED]
    with tempfile.TemporaryDirectory() as name:
        sandbox = open_sandbox(stage_worker(Path(name) / "stage"), unsafe=False, user=AS_USER)
        found = outcomes(tried, sandbox)
    got = [one.name for one, outcome in zip(tried, found, strict=True) if outcome != 1]
    said = why_not() if AS_USER else "not tried: this was not started by root"
    return [
        f"{len(tried)} more, all in one worker: {len(got)} were not refused{': ' * bool(got)}"
        f"{', '.join(got)}. Started by root, without a user for the workers: {said}"
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [
            "# The grader, tried out",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {device_name(torch.device('cpu'))}. "
            "Written by `tests/grader/evidence.py`.",
            "",
            "## Answers, right and wrong",
            "",
            row("assignment", "task", "answer", "points", "found"),
            "|---|---|---|---|---|",
            *known_answers(),
            "",
            "## Cheats, in the sandbox",
            "",
            row("what it tries", "points", "reached", "ended", "errors"),
            "|---|---|---|---|---|",
            *cheats(folder),
            "",
            *refused(),
        ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
