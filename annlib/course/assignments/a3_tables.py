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
LEAST_STEPS, LEAST_SCORE = 50, 0.35  # a guess scores 1/3


class Row(NamedTuple):
    """One run. score: mean probability of the right pattern; not finite where the run failed."""

    student: int
    variant: int
    seed: int
    steps: int
    seconds: float
    score: float


class Table(NamedTuple):
    """All whole seeds. scores: (variants, seeds), in the order of the student's seeds.
    left_out: headings of other columns, such as pandas' index, and Excel's line `sep=`"""

    rows: tuple[Row, ...]
    scores: Tensor
    left_out: str = ""

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)


# Why a table compares nothing: in short, and what to do.
UNFIT = {
    "no table": "The file is not a table as write_table makes it: its columns, whole numbers, "
    "scores from 0 to 1 or nan. Hand it in as it was made.",
    "student number missing": "Every row has your own number, not 0: run with -p student.",
    "nothing to compare": "Variants are numbered 0, 1, ...: two at least.",
    "fewer than three seeds": "Two seeds show no spread worth the name.",
    "other seeds": "Your seeds are the first ones of seeds_of(your number). Others, or a choice of "
    "these, make a result as good as one likes.",
    "a run twice": "A variant has one seed twice: that is one measurement, not two.",
    "a run left out": "Each seed is in the table with each variant; a run that failed, as nan.",
    "other steps": f"All runs have the same steps, from {LEAST_STEPS} to {MOST_STEPS}.",
    "no run of a variant": "A variant has no finite score: nothing to compare.",
    "baseline at chance": "The mean score of the baseline is below 0.35, hardly above a guess, so "
    "there is nothing yet that a change could spoil. Take more steps.",
}


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
    if isinstance(found, str):
        raise ValueError(f"{path}: {found}. {UNFIT[found]}")
    return found.scores


def table_of(text: str) -> Table | str:
    """The table, or why it is unfit: one of the names above."""
    try:
        lines = [*islice(csv.reader(io.StringIO(text, newline="")), MOST_ROWS + 3)]
        first, *others = lines[lines[0][0] == "sep=" :]  # a line for Excel
        place = [first.index(name) for name in COLUMNS]
        other = [one for one in dict.fromkeys((lines[0][0], *first)) if one not in COLUMNS]
        whole = len(others) <= MOST_ROWS and len({*first}) == len(first)
        rows = [row_of([cells[n] for n in place]) for cells in others if cells] if whole else []
    except (ValueError, OverflowError, IndexError, csv.Error):
        rows = []
    students = {row.student for row in rows}
    if not rows:
        return "no table"
    if len(students) != 1 or 0 in students:
        return "student number missing"
    seeds = seeds_of(students.pop(), len({row.seed for row in rows}))
    variants = {row.variant for row in rows}
    last = [row for row in rows if row.seed == seeds[-1]]
    if {row.variant for row in last} < variants:  # the time was over before all variants had it
        rows = [row for row in rows if row.seed != seeds[-1]]
        variants = {row.variant for row in rows}
    found = {row.seed for row in rows}
    runs = Counter((row.variant, row.seed) for row in rows)
    steps = {row.steps for row in rows}
    reasons = {
        "nothing to compare": len(variants) < 2 or variants != set(range(len(variants))),
        "fewer than three seeds": len(found) < LEAST_SEEDS,
        "other seeds": found != set(seeds[: len(found)]),
        "a run twice": max(runs.values(), default=0) > 1,
        "a run left out": len(runs) < len(variants) * len(found),
        "other steps": len(steps) > 1 or not LEAST_STEPS <= max(steps, default=0) <= MOST_STEPS,
        "no run of a variant": {row.variant for row in rows if isfinite(row.score)} != variants,
    }
    for reason, holds in reasons.items():
        if holds:
            return reason
    score = {(row.variant, row.seed): row.score for row in rows}
    scores = torch.tensor(
        [[score[v, seed] for seed in seeds if seed in found] for v in sorted(variants)],
        dtype=torch.float64,
    )
    if scores[0].nanmean() < LEAST_SCORE:
        return "baseline at chance"
    return Table(tuple(rows), scores, ", ".join(name or "(index)" for name in other))


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
