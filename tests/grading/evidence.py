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

import a1_answers
import a2_answers
import nbformat
from cheats import CHEATS, SHORT, attempted
from in_process import ROOT, lost, marks_for, solutions
from known import Gallery, mistaken

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.grading.assignment import Assignment
from annlib.course.grading.batch import grade
from annlib.course.grading.intake import collect
from annlib.course.grading.releasing import edition
from annlib.course.grading.sandbox import open_sandbox, stage_worker
from annlib.course.grading.tables import grades_csv
from annlib.engine.provenance import cpu_name

PAGE = ROOT / "data/results/grader.md"
KNOWN = ((A1, a1_answers.GALLERIES), (A2, a2_answers.GALLERIES))


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def known_answers() -> list[str]:
    """A line for each answer that is known: what it gets, and by which checks."""
    return [
        line
        for assignment, galleries in KNOWN
        for one in galleries
        for line in answers_to(assignment, one)
    ]


def answers_to(assignment: Assignment, gallery: Gallery) -> list[str]:
    """The lines of one task."""
    reference, lines = solutions(assignment), []
    whole = "\n".join(reference.values())
    codes = {"the reference": whole} | {n: f"{whole}\n{code}" for n, code in gallery.right.items()}
    codes |= {n: mistaken(reference, gallery.cell, one) for n, one in gallery.wrong.items()}
    for name, code in codes.items():
        marks = [mark for mark in marks_for(code, assignment) if mark.task == gallery.task]
        points = f"{sum(m.points for m in marks):g} of {sum(m.out_of for m in marks):g}"
        found = "; ".join(f"{check}: {slip}" for check, slip in lost(marks, gallery.task).items())
        lines.append(row(assignment.name, gallery.task, name, points, found or "right"))
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
    right = solutions(A1)
    wrong = [
        mistaken(right, one.cell, wrong)
        for one in a1_answers.GALLERIES
        for wrong in one.wrong.values()
    ]
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
    found = collect(handed_in(folder / "inbox", count), A1)
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
