"""Results of a sweep as tables: table.md, results.json, results.csv and index.html."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
from pandas import DataFrame

from annlib.course.running.pages import INDEX, images_in
from annlib.course.sweeping.grid import SEED, Grid, show
from annlib.course.sweeping.run import Outcome, notebook_of
from annlib.engine.metrics import table
from annlib.engine.results import provenance, to_json, write_results
from annlib.model.checkpoint import write_atomically

LEGEND = "Mean ± standard deviation over seeds (number of runs). Failed runs count in no mean."


def cells(grid: Grid, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The runs that differ in nothing but the seed, together, in the order of the grid.

    A failed or missing run is counted, never left out. "numbers" is a DataFrame with a row for
    each number: mean, sd (NaN for one run), n.
    """
    ended = {outcome.number: outcome for outcome in outcomes}
    names = [name for name in grid.varied if name != SEED]
    rows = [[show(one.parameters[name]) for name in names] for one in grid.combinations]
    frame = DataFrame(rows, columns=names, index=range(len(rows)))
    found = []
    for values, group in frame.groupby(names, sort=False) if names else [((), frame)]:
        members = [grid.combinations[place] for place in group.index]
        runs = [ended[one.number] for one in members if one.number in ended]
        results = DataFrame([run.result for run in runs if not run.failed])
        numbers = {"mean": results.mean(), "sd": results.std(), "n": results.count()}
        cell = {"parameters": dict(zip(names, values, strict=True))}
        cell["seeds"] = [one.parameters.get(SEED) for one in members]
        cell["num_failed"] = sum(run.failed for run in runs)
        cell["num_missing"] = len(members) - len(runs)
        found.append(cell | {"numbers": DataFrame(numbers)})
    return found


def summary(grid: Grid, outcomes: Sequence[Outcome]) -> DataFrame:
    """One line a cell, in words: mean ± standard deviation (number of runs) of each number."""
    rows = []
    for cell in cells(grid, outcomes):
        said = {
            name: f"{mean:.3f}{'' if n < 2 else f' ±{sd:.3f}'} ({n})"
            for name, mean, sd, n in cell["numbers"].itertuples(name=None)
        }
        counts = {"failed": str(cell["num_failed"]), "not run": str(cell["num_missing"])}
        rows.append((cell["parameters"] or {"runs": "all runs"}, said, counts))
    numbers = dict.fromkeys(name for _, said, _ in rows for name in said)
    columns = [*rows[0][0], *numbers, *rows[0][2]]
    return DataFrame([a | b | c for a, b, c in rows], columns=columns).fillna("-")


def summary_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    frame = summary(grid, outcomes)
    return table(list(frame.columns), frame.values.tolist())


def report(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """The summary, what its numbers mean, and one line a run: its numbers, or its error."""
    ended = {outcome.number: outcome for outcome in outcomes}
    numbers = list(dict.fromkeys(name for o in outcomes for name in o.result))
    rows = []
    for one in grid.combinations:
        outcome = ended.get(one.number)
        found = outcome.result if outcome else {}
        values = [f"{found[name]:.4g}" if name in found else "-" for name in numbers]
        state = "not run" if outcome is None else "finished"
        state = f"failed: {outcome.reason}" if outcome and outcome.failed else state
        rows.append([str(one.number), one.label, *values, state])
    runs = table(["run", "what", *numbers, "state"], rows)
    return f"{summary_table(grid, outcomes)}\n\n{LEGEND}\n\n{runs}"


def as_csv(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """One line for each cell and number: the cell's parameters, number, mean, sd, n, failed."""
    names = [name for name in grid.varied if name != SEED]
    rows = [
        [*cell["parameters"].values(), *number, cell["num_failed"], cell["num_missing"]]
        for cell in cells(grid, outcomes)
        for number in [*cell["numbers"].itertuples(name=None)] or [("", None, None, 0)]
    ]
    frame = DataFrame(rows, columns=[*names, "number", "mean", "sd", "n", "failed", "not_run"])
    return frame.to_csv(index=False, lineterminator="\n")


def write_all(grid: Grid, outcomes: Sequence[Outcome], folder: Path, command: str) -> str:
    found = cells(grid, outcomes)
    for cell in found:
        numbers = cell["numbers"].astype(object)
        cell["numbers"] = numbers.where(numbers.notna(), None).to_dict("index")
    values = {"made": provenance(), "notebook": grid.notebook.name, "varied": grid.varied}
    runs = [asdict(outcome) for outcome in sorted(outcomes, key=lambda o: o.number)]
    write_atomically(folder / "results.json", to_json(values | {"cells": found, "runs": runs}))
    write_atomically(folder / "results.csv", as_csv(grid, outcomes).encode())
    write_atomically(folder / "index.html", index_page(grid, outcomes, folder).encode())
    return write_results(report(grid, outcomes), folder / "table.md", command)


def index_page(grid: Grid, outcomes: Sequence[Outcome], folder: Path) -> str:
    """The table, and a card for each run: how it ended, its images, and its notebook."""
    ended, cards = {outcome.number: outcome for outcome in outcomes}, []
    for one in grid.combinations:
        card = {"title": f"{one.number}. {one.label}", "text": "not run"}
        if outcome := ended.get(one.number):
            notebook = notebook_of(folder, one)
            executed = nbformat.read(notebook, 4).cells if notebook.is_file() else []
            card["images"] = images_in(o for cell in executed for o in cell.get("outputs", []))
            card["link"] = notebook.relative_to(folder).as_posix()
            card |= {"text": f"{outcome}, {outcome.seconds:.0f} s", "problem": outcome.error}
        cards.append(card)
    title = f"{grid.notebook.stem}: {len(outcomes)} of {len(grid.combinations)} runs"
    summed = summary(grid, outcomes).to_html(index=False, border=0)
    return INDEX.render(title=title, table=summed, text=LEGEND, cards=cards)
