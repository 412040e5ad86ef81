"""Results of a sweep as tables: table.md, results.json, results.csv and index.html."""

import base64
import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import nbformat
from pandas import DataFrame

from annlib.course.running.pages import html_page, with_alt
from annlib.course.sweeping.grid import SEED, Combination, Grid, show
from annlib.course.sweeping.run import Outcome, notebook_of
from annlib.engine.metrics import table
from annlib.engine.results import provenance, to_json, write_results
from annlib.model.checkpoint import write_atomically

LEGEND = "Mean ± standard deviation over seeds (number of runs). Failed runs count in no mean."
STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, CanvasText 25%, Canvas); }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { border: 1px solid var(--line); padding: .2rem .6rem; }
td { text-align: right; } td:first-child, th { text-align: left; }
ol { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
article { border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; height: 100%;
  box-sizing: border-box; }
h2 { font-size: 1.05rem; margin: 0; } img { max-width: 100%; background: white; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
"""


class CellOfTable(NamedTuple):
    """The runs that differ in nothing but the seed."""

    parameters: dict[str, str]
    seeds: tuple[object, ...]
    num_failed: int
    num_missing: int
    numbers: DataFrame  # a row for each number: mean, sd (NaN for one run), n


def cells(grid: Grid, outcomes: Sequence[Outcome]) -> list[CellOfTable]:
    """The grid's cells in its order; a failed or missing run is counted, never left out."""
    ended = {outcome.number: outcome for outcome in outcomes}
    names = [name for name in grid.varied if name != SEED]
    rows = [[show(one.parameters[name]) for name in names] for one in grid.combinations]
    frame = DataFrame(rows, columns=names, index=range(len(rows)))
    groups = frame.groupby(names, sort=False) if names else [((), frame)]
    found = []
    for values, group in groups:
        members = [grid.combinations[place] for place in group.index]
        runs = [ended[one.number] for one in members if one.number in ended]
        results = DataFrame([run.result for run in runs if not run.failed])
        numbers = {"mean": results.mean(), "sd": results.std(), "n": results.count()}
        found.append(
            CellOfTable(
                dict(zip(names, values, strict=True)),
                tuple(one.parameters.get(SEED) for one in members),
                sum(run.failed for run in runs),
                len(members) - len(runs),
                DataFrame(numbers),
            )
        )
    return found


def summary(grid: Grid, outcomes: Sequence[Outcome]) -> DataFrame:
    """One line a cell, in words: mean ± standard deviation (number of runs) of each number."""
    found = cells(grid, outcomes)
    numbers = list(dict.fromkeys(name for cell in found for name in cell.numbers.index))
    rows = []
    for cell in found:
        said = {
            name: f"{mean:.3f}{'' if n < 2 else f' ±{sd:.3f}'} ({n})"
            for name, mean, sd, n in cell.numbers.itertuples(name=None)
        }
        counts = (str(cell.num_failed), str(cell.num_missing))
        given = cell.parameters.values() or ["all runs"]
        rows.append([*given, *(said.get(number, "-") for number in numbers), *counts])
    names = [name for name in grid.varied if name != SEED]
    return DataFrame(rows, columns=[*(names or ["runs"]), *numbers, "failed", "not run"])


def summary_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """The same in Markdown."""
    frame = summary(grid, outcomes)
    return table(list(frame.columns), frame.values.tolist())


def runs_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """Markdown: one line a run, with its numbers or the last line of its error."""
    ended = {outcome.number: outcome for outcome in outcomes}
    numbers = list(dict.fromkeys(name for o in outcomes for name in o.result))
    rows = []
    for one in grid.combinations:
        outcome = ended.get(one.number)
        found = outcome.result if outcome else {}
        values = [f"{found[name]:.4g}" if name in found else "-" for name in numbers]
        rows.append([str(one.number), one.label, *values, state(outcome)])
    return table(["run", "what", *numbers, "state"], rows)


def state(outcome: Outcome | None) -> str:
    """finished, failed (why), or not run"""
    if outcome is None:
        return "not run"
    return f"failed: {outcome.reason}" if outcome.failed else "finished"


def report(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """Both tables, with what the numbers mean."""
    return f"{summary_table(grid, outcomes)}\n\n{LEGEND}\n\n{runs_table(grid, outcomes)}"


def as_csv(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """One line for each cell and number: the cell's parameters, number, mean, sd, n, failed."""
    names = [name for name in grid.varied if name != SEED]
    rows = [
        [*cell.parameters.values(), *number, cell.num_failed, cell.num_missing]
        for cell in cells(grid, outcomes)
        for number in [*cell.numbers.itertuples(name=None)] or [("", None, None, 0)]
    ]
    frame = DataFrame(rows, columns=[*names, "number", "mean", "sd", "n", "failed", "not_run"])
    return frame.to_csv(index=False, lineterminator="\n")


def write_all(grid: Grid, outcomes: Sequence[Outcome], folder: Path, command: str) -> str:
    """Writes what was found so far.  -> the text of table.md"""
    found = [cell._asdict() for cell in cells(grid, outcomes)]
    for cell in found:
        numbers = cell["numbers"].astype(object)
        cell["numbers"] = numbers.where(numbers.notna(), None).to_dict("index")
    values = {"made": provenance(), "notebook": grid.notebook.name, "varied": grid.varied}
    runs = [asdict(outcome) for outcome in sorted(outcomes, key=lambda o: o.number)]
    values |= {"cells": found, "runs": runs}
    write_atomically(folder / "results.json", to_json(values))
    write_atomically(folder / "results.csv", as_csv(grid, outcomes).encode())
    write_atomically(folder / "index.html", index_page(grid, outcomes, folder).encode())
    return write_results(report(grid, outcomes), folder / "table.md", command)


def index_page(grid: Grid, outcomes: Sequence[Outcome], folder: Path) -> str:
    """The table, and a card for each run with its images."""
    ended = {outcome.number: outcome for outcome in outcomes}
    cards = [f"<li>{card(one, ended.get(one.number), folder)}</li>" for one in grid.combinations]
    title = f"{grid.notebook.stem}: {len(outcomes)} of {len(grid.combinations)} runs"
    summed = summary(grid, outcomes).to_html(index=False, border=0)
    body = f"<h1>{html.escape(title)}</h1>{summed}<p>{LEGEND}</p><ol>{''.join(cards)}</ol>"
    return html_page(title, STYLE, body)


def card(combination: Combination, outcome: Outcome | None, folder: Path) -> str:
    """The parameters of a run, how it ended, its images, and its notebook."""
    title = f"<h2>{combination.number}. {html.escape(combination.label)}</h2>"
    if outcome is None:
        return f"<article>{title}<p>not run</p></article>"
    notebook = notebook_of(folder, combination)
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.result.items())
    told = f"<pre>{html.escape(outcome.error)}</pre>" if outcome.error else ""
    link = html.escape(notebook.relative_to(folder).as_posix())
    executed = nbformat.read(notebook, 4).cells if notebook.is_file() else []
    outputs = [output for cell in executed for output in cell.get("outputs", [])]
    images = [output for output in outputs if output.get("data", {}).get("image/png")]
    for output in images:  # it goes into a page: it must be nothing else
        base64.b64decode("".join(output["data"]["image/png"].split()), validate=True)
    shown = "".join(with_alt(output)["data"]["text/html"] for output in images)
    return (
        f"<article>{title}<p>{html.escape(state(outcome).partition(':')[0])}, "
        f'{outcome.seconds:.0f} s. <a href="{link}">notebook</a></p>'
        f"<p>{html.escape(numbers)}</p>{told}{shown}</article>"
    )
