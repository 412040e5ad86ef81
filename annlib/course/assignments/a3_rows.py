"""Reads the table of assignment A3 as text from a stranger: rows of numbers, or what is wrong."""

import csv
import io
from collections import Counter
from math import isfinite, nan
from typing import NamedTuple

import torch
from torch import Tensor

from annlib.course.assignments import a3_slips as slips
from annlib.course.assignments import a3_world as world
from annlib.course.grading.questions import Misconception

FILE = "a3_table.csv"
MOST_ROWS = 10_000
LEAST_SEEDS = 3
GRACE = 1.05  # a budget is planned with times that are estimates


class Row(NamedTuple):
    """One run. score: mean probability of the right pattern, nan where the run failed."""

    student: int
    variant: int
    seed: int
    steps: int
    seconds: float
    score: float


class Table(NamedTuple):
    """All runs, complete: scores (variants, seeds), in the order of the student's own seeds."""

    rows: tuple[Row, ...]
    scores: Tensor


def row_of(cells: list[str]) -> Row:
    """Raises ValueError for what is no run."""
    *whole, seconds, score = cells
    student, variant, seed, steps = map(int, whole)
    row = Row(student, variant, seed, steps, float(seconds), float(score))
    in_range = 0 <= row.score <= 1 or not isfinite(row.score)
    if not (in_range and row.seconds >= 0 and min(row[:4]) >= 0 and max(row[:4]) < 2**40):
        raise ValueError(f"no run: {row}")
    return row if isfinite(row.score) else row._replace(score=nan)


def rows_of(text: str) -> tuple[Row, ...] | None:
    """The rows of a table with the head that write_table gives it; None for anything else."""
    try:
        first, *others = csv.reader(io.StringIO(text, newline=""))
        if tuple(first) != world.COLUMNS_OF_TABLE or not 0 < len(others) <= MOST_ROWS:
            return None
        return tuple(row_of(cells) for cells in others if cells)
    except (ValueError, csv.Error):
        return None


def wrong_with(rows: tuple[Row, ...]) -> Misconception | None:
    """The first thing that makes a table unfit to compare anything."""
    students = {row.student for row in rows}
    if len(students) != 1 or 0 in students:
        return slips.NO_NUMBER
    variants, seeds = {row.variant for row in rows}, {row.seed for row in rows}
    if len(variants) < 2 or variants != set(range(len(variants))):
        return slips.ONE_VARIANT
    if len(seeds) < LEAST_SEEDS:
        return slips.FEW_SEEDS
    if seeds != set(world.seeds_of(students.pop(), len(seeds))):
        return slips.SEEDS_PICKED
    runs = Counter((row.variant, row.seed) for row in rows)
    if max(runs.values()) > 1:
        return slips.RUN_TWICE
    if len(runs) < len(variants) * len(seeds):
        return slips.RUN_LEFT_OUT
    steps = {row.steps for row in rows}
    if len(steps) > 1 or not 0 < max(steps) <= world.MOST_STEPS:
        return slips.STEPS_DIFFER
    if sum(row.seconds for row in rows) > GRACE * world.BUDGET:
        return slips.OVER_BUDGET
    finite = {row.variant for row in rows if isfinite(row.score)}
    return None if finite == variants else slips.ALL_FAILED


def table_of(text: str) -> Table | Misconception:
    rows = rows_of(text)
    if not rows:
        return slips.DAMAGED
    if found := wrong_with(rows):
        return found
    score = {(row.variant, row.seed): row.score for row in rows}
    variants = 1 + max(row.variant for row in rows)
    seeds = world.seeds_of(rows[0].student, len(rows) // variants)
    scores = [[score[variant, seed] for seed in seeds] for variant in range(variants)]
    return Table(rows, torch.tensor(scores, dtype=torch.float64))
