"""What a sweep found: mean and spread over seeds, every run, and failures kept in the table."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import Any, NamedTuple

from annlib.course.sweeping.grid import SEED, Grid, show
from annlib.course.sweeping.running import Outcome
from annlib.engine.tables import table


class Spread(NamedTuple):
    """Of one number over the runs of a cell; no deviation can be told from one run."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        deviation = "" if self.sd is None else f" ±{self.sd:.3f}"
        return f"{self.mean:.3f}{deviation} ({self.n})"


class CellOfTable(NamedTuple):
    """The runs that differ in nothing but the seed."""

    parameters: dict[str, str]
    seeds: tuple[object, ...]
    num_failed: int
    num_missing: int
    numbers: dict[str, Spread]


def cells(grid: Grid, outcomes: Sequence[Outcome]) -> list[CellOfTable]:
    """The grid's cells in its order; a failed or missing run is counted, never left out."""
    ended = {outcome.number: outcome for outcome in outcomes}
    names = [name for name in grid.varied if name != SEED]
    groups: dict[tuple, list] = {}
    for one in grid.combinations:
        groups.setdefault(tuple(show(one.parameters[n]) for n in names), []).append(one)
    found = []
    for values, members in groups.items():
        runs = [ended[one.number] for one in members if one.number in ended]
        sound = [outcome for outcome in runs if not outcome.failed]
        found.append(
            CellOfTable(
                dict(zip(names, values, strict=True)),
                tuple(one.parameters.get(SEED) for one in members),
                len(runs) - len(sound),
                len(members) - len(runs),
                spreads([outcome.result for outcome in sound]),
            )
        )
    return found


def spreads(results: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Of every number that the runs found."""
    names = dict.fromkeys(name for result in results for name in result)
    return {name: spread([r[name] for r in results if name in r]) for name in names}


def spread(values: Sequence[float]) -> Spread:
    deviation = stdev(values) if len(values) > 1 else None
    return Spread(mean(values), deviation, len(values))


def numbers_of(found: Sequence[CellOfTable]) -> list[str]:
    """The names of all numbers, in the order in which runs told them."""
    return list(dict.fromkeys(name for cell in found for name in cell.numbers))


def summary_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """Markdown: one line a cell, mean ± standard deviation (number of runs)."""
    found = cells(grid, outcomes)
    names = [name for name in grid.varied if name != SEED]
    numbers = numbers_of(found)
    rows = [
        [
            *(cell.parameters.values() or ["all runs"]),
            *(str(cell.numbers.get(number, "-")) for number in numbers),
            str(cell.num_failed),
            str(cell.num_missing),
        ]
        for cell in found
    ]
    return table([*(names or ["runs"]), *numbers, "failed", "not run"], rows)


def runs_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """Markdown: one line a run, with its numbers or the last line of its error."""
    ended = {outcome.number: outcome for outcome in outcomes}
    numbers = list(dict.fromkeys(name for o in outcomes for name in o.result))
    rows = []
    for one in grid.combinations:
        outcome = ended.get(one.number)
        found = outcome.result if outcome else {}
        rows.append(
            [
                str(one.number),
                one.label,
                *(f"{found[name]:.4g}" if name in found else "-" for name in numbers),
                state(outcome),
            ]
        )
    return table(["run", "what", *numbers, "state"], rows)


def state(outcome: Outcome | None) -> str:
    """finished, failed (why), or not run"""
    if outcome is None:
        return "not run"
    return f"failed: {reason(outcome.error)}" if outcome.failed else "finished"


def reason(error: str | None) -> str:
    """The line of an error that says what was wrong."""
    lines = [line.strip() for line in (error or "").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("It is kept")] or [""]
    return lines[-1].replace("|", "/")


def report(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """Both tables, with what the numbers mean."""
    legend = "Mean ± standard deviation over seeds (number of runs). Failed runs count in no mean."
    return f"{summary_table(grid, outcomes)}\n\n{legend}\n\n{runs_table(grid, outcomes)}"


def as_json(grid: Grid, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The same as plain values."""
    found = [
        cell._asdict() | {"numbers": {k: v._asdict() for k, v in cell.numbers.items()}}
        for cell in cells(grid, outcomes)
    ]
    runs = [asdict(outcome) for outcome in sorted(outcomes, key=lambda o: o.number)]
    return {"notebook": grid.notebook.name, "varied": grid.varied, "cells": found, "runs": runs}


def as_csv(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """One line for each cell and number: the cell's parameters, number, mean, sd, n, failed."""
    names = [name for name in grid.varied if name != SEED]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "number", "mean", "sd", "n", "failed", "not_run"])
    for cell in cells(grid, outcomes):
        for name, found in cell.numbers.items() or [("", ("", "", 0))]:
            counts = (cell.num_failed, cell.num_missing)
            writer.writerow([*cell.parameters.values(), name, *found, *counts])
    return text.getvalue()
