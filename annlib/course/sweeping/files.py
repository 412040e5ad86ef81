"""The files of a sweep: table.md, results.json, results.csv, and index.html with thumbnails."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import nbformat

from annlib.course.sweeping.grid import Combination, Grid
from annlib.course.sweeping.running import Outcome, notebook_of
from annlib.course.sweeping.tables import as_csv, as_json, cells, numbers_of, report, state
from annlib.engine.provenance import provenance
from annlib.engine.results import write_results
from annlib.engine.settings import to_json
from annlib.model.checkpoints import write_atomically

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
