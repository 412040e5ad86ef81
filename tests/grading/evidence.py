"""Writes data/results/grader.md: what the grader has been shown to do, by doing it.

PYTHONPATH=tests/grading python tests/grading/evidence.py [number of submissions]
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import a1_answers as answers
import nbformat
from cheats import CHEATS, SHORT, attempted
from in_process import ROOT, lost, marks_for, solutions

from annlib.course.assignments.a1 import A1
from annlib.course.grading.batch import grade
from annlib.course.grading.intake import collect
from annlib.course.grading.releasing import edition
from annlib.course.grading.sandbox import open_sandbox, stage_worker
from annlib.course.grading.tables import grades_csv
from annlib.engine.provenance import cpu_name

PAGE = ROOT / "data/results/grader.md"
REFERENCE = solutions(A1)
GALLERIES = (
    (answers.WEIGHTS, "weights", answers.RIGHT_WEIGHTS, answers.WRONG_WEIGHTS),
    (answers.BLOCK, "block", answers.RIGHT_BLOCK, answers.WRONG_BLOCK),
    (answers.COST, "operations", answers.RIGHT_COST, answers.WRONG_COST),
)


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def mistaken(cell: str, wrong: answers.Wrong) -> str:
    before = REFERENCE[cell]
    return "\n".join(REFERENCE.values()).replace(before, before.replace(wrong.old, wrong.new))


def gallery() -> list[str]:
    """A line for each answer that is known: what it gets, and by which checks."""
    whole = "\n".join(REFERENCE.values())
    lines = []
    for task, cell, right, wrong in GALLERIES:
        codes = {"the reference": whole} | {n: f"{whole}\n{code}" for n, code in right.items()}
        codes |= {name: mistaken(cell, one) for name, one in wrong.items()}
        for name, code in codes.items():
            marks = [mark for mark in marks_for(code) if mark.task == task]
            points = f"{sum(m.points for m in marks):g} of {sum(m.out_of for m in marks):g}"
            found = "; ".join(f"{check}: {slip}" for check, slip in lost(marks, task).items())
            lines.append(row(task, name, points, found or "right"))
    return lines


def cheats(folder: Path) -> list[str]:
    """A line for each cheat: what it got, what it reached, how it ended."""
    sandbox = open_sandbox(stage_worker(folder / "stage"), unsafe=False)
    lines = []
    for name in CHEATS:
        result, reached = attempted(name, sandbox, folder)
        errors = ", ".join(dict.fromkeys(failure["type"] for failure in result.failures))
        stopped = ", ".join(reached) or "nothing"
        lines.append(row(name, f"{result.points:g}", stopped, result.ended, errors or "-"))
    return lines


def handed_in(folder: Path, count: int) -> Path:
    """A class as it comes: right, wrong, blank, broken and hostile, the same every time."""
    folder.mkdir()
    dice = random.Random(0)
    wrong = [mistaken(cell, one) for _, cell, _, some in GALLERIES for one in some.values()]
    hostile = [cells for name, cells in CHEATS.items() if "for ever" not in name]
    for number in range(count):
        kind = number % 10
        path = folder / f"student-{number:03}.ipynb"
        if kind in (0, 1):
            path.write_text(edition(ROOT, A1, ("solution", "learner")[kind]), encoding="utf-8")
        elif kind == 2:
            path.write_bytes(dice.randbytes(1000))
        else:
            cells = dice.choice(hostile) if kind == 3 else (dice.choice(wrong),)
            made = [nbformat.v4.new_code_cell(cell) for cell in cells]
            nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return folder


def whole_class(folder: Path, count: int) -> list[str]:
    """Throughput with one job and two, and whether the tables agree."""
    found = collect(handed_in(folder / "inbox", count), "A1")
    lines, tables = [], []
    for jobs in (1, 2):
        started = time.perf_counter()
        out = folder / f"jobs-{jobs}"
        order: Sequence = found if jobs == 1 else found[::-1]
        results, _ = grade(A1, order, out, 7, jobs, False, False, lambda text: None, SHORT)
        seconds = time.perf_counter() - started
        tables.append(grades_csv(A1, results, {}, {}))
        lines.append(row(jobs, len(results), f"{seconds:.0f} s", f"{seconds / count:.2f} s"))
    left = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True).stdout
    same = "the same" if tables[0] == tables[1] else "DIFFERENT"
    workers = left.count("annlib.course.grading.worker")
    return [*lines, "", f"Both tables are {same}. Workers left behind: {workers}."]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [
            "# The grader, tried out",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {cpu_name()}. Written by `tests/grading/evidence.py`.",
            "",
            "## Answers to A1, right and wrong",
            "",
            row("task", "answer", "points", "found"),
            "|---|---|---|---|",
            *gallery(),
            "",
            "## Cheats, in the sandbox",
            "",
            row("what it tries", "points", "reached", "ended", "errors"),
            "|---|---|---|---|---|",
            *cheats(folder),
            "",
            f"## A class of {count}",
            "",
            row("jobs", "graded", "time", "each"),
            "|---|---|---|---|",
            *whole_class(folder, count),
        ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
