"""Results of a sweep as tables: table.md, results.json, results.csv and index.html."""

import base64
import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import nbformat

from annlib.course.sweeping.grid import SEED, Combination, Grid, show
from annlib.course.sweeping.run import Outcome, notebook_of
from annlib.engine.metrics import table
from annlib.engine.results import provenance, to_json, write_results
from annlib.model.checkpoint import write_atomically


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


def write_all(grid: Grid, outcomes: Sequence[Outcome], folder: Path, command: str) -> str:
    """Writes what was found so far.  -> the text of table.md"""
    values = {"made": provenance(), **as_json(grid, outcomes)}
    write_atomically(folder / "results.json", to_json(values))
    write_atomically(folder / "results.csv", as_csv(grid, outcomes).encode())
    write_atomically(folder / "index.html", index_page(grid, outcomes, folder).encode())
    return write_results(report(grid, outcomes), folder / "table.md", command)


def index_page(grid: Grid, outcomes: Sequence[Outcome], folder: Path) -> str:
    """The table, and a card for each run with its pictures."""
    ended = {outcome.number: outcome for outcome in outcomes}
    cards = [f"<li>{card(one, ended.get(one.number), folder)}</li>" for one in grid.combinations]
    title = html.escape(f"{grid.notebook.stem}: {len(outcomes)} of {len(grid.combinations)} runs")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1>{html_table(grid, outcomes)}"
        f"<p>Mean ± standard deviation over seeds (number of runs).</p><ol>{''.join(cards)}</ol>"
        "</body></html>\n"
    )


def html_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """One line a cell."""
    found = cells(grid, outcomes)
    numbers = numbers_of(found)
    head = "".join(f'<th scope="col">{html.escape(n)}</th>' for n in ("runs", *numbers, "failed"))
    lines = []
    for cell in found:
        name = ", ".join(f"{k} {v}" for k, v in cell.parameters.items()) or "all"
        values = [str(cell.numbers.get(number, "-")) for number in numbers] + [str(cell.num_failed)]
        lines.append("".join(f"<td>{html.escape(value)}</td>" for value in (name, *values)))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def card(combination: Combination, outcome: Outcome | None, folder: Path) -> str:
    """What a run was given, how it ended, its pictures, and its notebook."""
    title = f"<h2>{combination.number}. {html.escape(combination.label)}</h2>"
    if outcome is None:
        return f"<article>{title}<p>not run</p></article>"
    notebook = notebook_of(folder, combination)
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.result.items())
    told = f"<pre>{html.escape(outcome.error)}</pre>" if outcome.error else ""
    link = html.escape(notebook.relative_to(folder).as_posix())
    return (
        f"<article>{title}<p>{html.escape(state(outcome).partition(':')[0])}, "
        f'{outcome.seconds:.0f} s. <a href="{link}">notebook</a></p>'
        f"<p>{html.escape(numbers)}</p>{told}{''.join(thumbnails(notebook))}</article>"
    )


def thumbnails(notebook: Path) -> list[str]:
    """The pictures of an executed notebook, each with its text alternative."""
    if not notebook.is_file():
        return []
    outputs = [o for c in nbformat.read(notebook, 4).cells for o in c.get("outputs", [])]
    found = []
    for output in outputs:
        if "image/png" in output.get("data", {}):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            png = "".join(output["data"]["image/png"].split())
            base64.b64decode(png, validate=True)  # it goes into a page: nothing but a picture
            found.append(f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{png}">')
    return found
