"""Public checks of assignment A3: run them at home, as often as you like. They need only torch.

They show the first mistakes, with advice. Grading asks more: other budgets, failed runs, several
changes, and some runs of your table again.
"""

from collections.abc import Callable, Sequence
from math import isfinite, nan
from pathlib import Path
from tempfile import TemporaryDirectory

import a3_tables as tables
import a3_world as world
import torch
from not_yet import NotYet, expect, something
from torch import Tensor, nn


def plan_runs(student: Callable[..., Sequence[tuple[int, int]]]) -> None:
    """student(seconds, budget, seeds) -> [(variant, seed), ...]"""
    runs = student((2.0, 3.0), 11.0, (70, 80, 90))
    something(runs)
    expect(
        [tuple(run) for run in runs] == [(0, 70), (1, 70), (0, 80), (1, 80)],
        f"Two variants take 2 and 3 seconds a run, the budget is 11, the seeds are 70, 80, 90; you "
        f"plan {list(runs)}. How many seeds does the budget pay in both variants?",
    )
    print("Right for two variants and one budget.")


def paired_interval(student: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """student(baseline (n,), changed (n,), confidence) -> (3,) mean, low, high"""
    baseline = torch.tensor([0.5, 0.7, 0.6, nan], dtype=torch.float64)
    changed = torch.tensor([0.6, 0.9, 0.6, 0.9], dtype=torch.float64)
    found = student(baseline, changed, 0.95)
    something(found)
    expect(
        isinstance(found, Tensor) and found.shape == (3,),
        "Wanted is a tensor of three numbers: mean, lower end, upper end.",
    )
    right = torch.tensor([0.1, -0.148414, 0.348414], dtype=torch.float64)
    expect(
        torch.allclose(found.double(), right, atol=1e-5),
        f"From the differences 0.1, 0.2, 0.0 and a failed run you find {found.tolist()}. Work it "
        "out by hand: mean, deviation, the quantile of t for two degrees of freedom.",
    )
    print("Right for three pairs and one failed run.")


def verdicts(student: Callable[[Tensor, float], Sequence[int]]) -> None:
    """student(scores (variants, n), confidence) -> a number for each change"""
    baseline = torch.tensor([0.5, 0.7, 0.6, 0.55], dtype=torch.float64)
    change = torch.tensor([0.1, 0.11, 0.09, 0.1], dtype=torch.float64)
    unclear = torch.tensor([-0.1, 0.2, 0.0, 0.1], dtype=torch.float64)
    rows = [baseline, baseline + change, baseline - change, baseline + unclear]
    found = student(torch.stack(rows), 0.95)
    something(found)
    expect(
        [int(one) for one in found] == [1, -1, 0],
        f"Three changes: plainly better, plainly worse, unclear. You say {list(found)}; wanted "
        "are 1, -1 and 0, one number for each change.",
    )
    print("Right for three plain cases.")


def build(student: Callable[[int], nn.Module]) -> None:
    """student(variant) -> block"""
    block = student(0)
    something(block)
    torch.manual_seed(1)
    own = student(0).state_dict()
    torch.manual_seed(1)
    published = world.PyramidBlock().state_dict()
    expect(
        own.keys() == published.keys() and all(torch.equal(own[k], published[k]) for k in own),
        "Variant 0 is world.PyramidBlock() as it is, and built before any other: a block that is "
        "built first takes its weights from the seed.",
    )
    numbers = {weight.dtype for variant in (0, 1) for weight in student(variant).parameters()}
    expect(
        numbers <= {torch.float64},
        "Some weights of your blocks are not float64: nn.Conv2d(..., dtype=torch.float64).",
    )
    print("The baseline is as it was.")


def run(student: Callable[[int, int, int], float]) -> None:
    """student(variant, seed, steps) -> score"""
    first = student(0, 11, 3)
    something(first)
    expect(
        isinstance(first, float) and 0 <= first <= 1,
        f"A score is a number from 0 to 1, a float; yours is {first!r}.",
    )
    changed = student(1, 11, 3)
    expect(student(0, 11, 3) == first, "The same run twice gives two scores. What is not seeded?")
    expect(student(0, 12, 3) != first, "Two seeds give the same score: where does the seed go?")
    expect(student(0, 11, 4) != first, "Three steps and four give the same score.")
    expect(changed != first, "Variant 1 gives the very score of variant 0: what does build give?")
    print("Right so far: a run repeats itself, and depends on seed, steps and variant.")


def ablation(student: Callable[[int, int, int, float, str], Sequence[Sequence[float]]]) -> None:
    """student(student, steps, most_seeds, budget, table_file) -> rows"""
    with TemporaryDirectory() as folder:
        file = Path(folder, "table.csv")
        rows = student(5, 2, 2, 1e6, str(file))
        something(rows)
        expect(file.exists(), "No table is on the disk: tables.write_table(table_file, rows).")
    expect(
        len(rows) >= 4 and all(len(row) == len(tables.COLUMNS) for row in rows),
        f"Two variants or more with two seeds are four rows or more, each with "
        f"{', '.join(tables.COLUMNS)}.",
    )
    expect(
        {(row[0], row[3]) for row in rows} == {(5, 2)},
        "Called for student 5 with 2 steps, every row has to say so.",
    )
    seeds = tables.seeds_of(5, 2)
    expect(
        [row[2] for row in rows[:2]] == [seeds[0]] * 2 and {row[2] for row in rows} == set(seeds),
        "Seeds are those of seeds_of(student, most_seeds), each in all variants before the next.",
    )
    expect(all(isfinite(row[4]) and row[4] > 0 for row in rows), "A run takes seconds above 0.")
    with TemporaryDirectory() as folder:
        none = student(5, 2, 2, 0.0, str(Path(folder, "table.csv")))
        expect(len(none) == 0, "A budget of 0 seconds pays no run, but you make rows: who plans?")
    print("Right for a rehearsal. The table is yours to make.")


def table(path: str | Path) -> None:
    """The real table, before it is handed in."""
    found = tables.table_of(Path(path).read_text(encoding="utf-8-sig"))
    if isinstance(found, str):
        raise NotYet(f"{found}. {tables.UNFIT[found]}")
    variants, seeds = found.scores.shape
    expect(found.seconds <= tables.BUDGET, f"Its runs took {found.seconds:.0f} s, above 1200.")
    print(f"A whole table: {variants} variants, {seeds} seeds, {found.seconds:.0f} s of runs.")
