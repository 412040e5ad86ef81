"""The table of assignment A3: which seeds it has, how it is written, read and validated.

Students have this file, too. A table is read as text from a stranger: nothing in it is an error.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from math import isfinite, nan
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

COLUMNS = ("student", "variant", "seed", "steps", "seconds", "score")
MOST_STEPS = 600  # of one run
BUDGET = 1200  # seconds of all runs together
LEAST_SEEDS, MOST_ROWS = 3, 10_000


class Row(NamedTuple):
    """One run. score: mean probability of the right pattern; not finite where the run failed."""

    student: int
    variant: int
    seed: int
    steps: int
    seconds: float
    score: float


class Table(NamedTuple):
    """All whole seeds. scores: (variants, seeds), in the order of the student's seeds."""

    rows: tuple[Row, ...]
    scores: Tensor

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)


class Unfit(NamedTuple):
    """Why a table compares nothing: in short, and what to do."""

    name: str
    explanation: str


DAMAGED = Unfit(
    "no table",
    "The file is not a table as write_table makes it: its columns, whole numbers, scores from 0 "
    "to 1 or nan. Hand it in as it was made.",
)
NO_NUMBER = Unfit(
    "student number missing", "Every row has your own number, and not 0: run with -p student."
)
ONE_VARIANT = Unfit("nothing to compare", "Variants are numbered 0, 1, ...: two at least.")
FEW_SEEDS = Unfit("fewer than three seeds", "Two seeds show no spread worth the name.")
SEEDS_PICKED = Unfit(
    "other seeds",
    "Your seeds are the first ones of seeds_of(your number). Others, or a choice of these, make a "
    "result as good as one likes.",
)
RUN_TWICE = Unfit("a run twice", "A variant has one seed twice: that is one measurement, not two.")
RUN_LEFT_OUT = Unfit(
    "a run left out", "Each seed is in the table with each variant; a run that failed, as nan."
)
STEPS_DIFFER = Unfit("other steps", f"All runs have the same steps, at most {MOST_STEPS}.")
ALL_FAILED = Unfit("no run of a variant", "A variant has no finite score: nothing to compare.")


def seeds_of(student: int, count: int) -> list[int]:
    """The seeds of one student, as many as wanted: everybody has others, so a class adds up."""
    words = (hashlib.sha256(f"A3/{student}/{number}".encode()) for number in range(count))
    return [int.from_bytes(word.digest()[:4], "big") for word in words]


def write_table(path: str | Path, rows: Sequence[Sequence[float]]) -> None:
    """The table to hand in, a line a run; a run without a finite score stays in it."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for *whole, seconds, score in rows:
            writer.writerow((*map(int, whole), f"{float(seconds):.2f}", f"{float(score):.6f}"))


def read_scores(path: str | Path) -> Tensor:
    """The scores of a table, (variants, seeds); raises ValueError for one that is unfit."""
    found = table_of(Path(path).read_text(encoding="utf-8-sig"))
    if isinstance(found, Unfit):
        raise ValueError(f"{path}: {found.name}. {found.explanation}")
    return found.scores


def table_of(text: str) -> Table | Unfit:
    rows = rows_of(text)
    if not rows:
        return DAMAGED
    students = {row.student for row in rows}
    if len(students) != 1 or 0 in students:
        return NO_NUMBER
    seeds = seeds_of(students.pop(), len({row.seed for row in rows}))
    rows = without_torn_seed(rows, seeds)
    if found := unfit(rows, seeds):
        return found
    score = {(row.variant, row.seed): row.score for row in rows}
    variants, whole = 1 + max(row.variant for row in rows), {row.seed for row in rows}
    scores = [[score[v, seed] for seed in seeds if seed in whole] for v in range(variants)]
    return Table(rows, torch.tensor(scores, dtype=torch.float64))


def rows_of(text: str) -> tuple[Row, ...]:
    """The rows of a table that write_table has made; none of anything else."""
    try:
        first, *others = islice(csv.reader(io.StringIO(text, newline="")), MOST_ROWS + 2)
        right = tuple(first) == COLUMNS and len(others) <= MOST_ROWS
        return tuple(row_of(cells) for cells in others if cells) if right else ()
    except (ValueError, OverflowError, csv.Error):
        return ()


def row_of(cells: Sequence[str]) -> Row:
    """Raises ValueError for what is not a run."""
    if len(cells) != len(COLUMNS):
        raise ValueError(f"no run: {cells}")
    *whole, seconds, score = map(float, cells)
    row = Row(*map(int, whole), seconds, score if isfinite(score) else nan)
    counts = list(row[:4]) == whole and min(whole) >= 0 and max(whole) < 2**40
    if not (counts and 0 <= seconds < 1e6 and (0 <= score <= 1 or not isfinite(score))):
        raise ValueError(f"no run: {cells}")
    return row


def without_torn_seed(rows: tuple[Row, ...], seeds: Sequence[int]) -> tuple[Row, ...]:
    """Without the last seed, if not all variants had it when the time was over."""
    variants = {row.variant for row in rows}
    last = [row for row in rows if row.seed == seeds[-1]]
    torn = {row.variant for row in last} < variants
    return tuple(row for row in rows if row not in last) if torn else rows


def unfit(rows: Sequence[Row], seeds: Sequence[int]) -> Unfit | None:
    """The first thing that makes a table unfit to compare anything.  seeds: that it may have"""
    variants, found = {row.variant for row in rows}, {row.seed for row in rows}
    runs = Counter((row.variant, row.seed) for row in rows)
    finite = {row.variant for row in rows if isfinite(row.score)}
    steps = {row.steps for row in rows}
    reasons = (
        (len(variants) < 2 or variants != set(range(len(variants))), ONE_VARIANT),
        (len(found) < LEAST_SEEDS, FEW_SEEDS),
        (found != set(seeds[: len(found)]), SEEDS_PICKED),
        (max(runs.values(), default=0) > 1, RUN_TWICE),
        (len(runs) < len(variants) * len(found), RUN_LEFT_OUT),
        (len(steps) > 1 or not 0 < max(steps) <= MOST_STEPS, STEPS_DIFFER),
        (finite != variants, ALL_FAILED),
    )
    return next((reason for holds, reason in reasons if holds), None)
