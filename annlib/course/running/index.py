"""The index of executed lessons: a card each, with picture, times, gates and what was measured."""

import html
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from annlib.course.claims import Claim, claims_in
from annlib.course.running.gates import Report, named_outputs, seconds_of, stated_seconds
from annlib.course.running.pages import lesson_page, title_of, with_alt

INDEX_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, CanvasText 25%, Canvas); }
body { font: 1.05rem/1.5 system-ui, sans-serif; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
ol { list-style: none; padding: 0; display: grid; gap: 1rem; }
article { display: grid; grid-template-columns: 12rem 1fr; gap: 1.2rem; padding: 1rem;
  border: 1px solid var(--line); border-radius: .6rem; }
article img { width: 100%; border-radius: .3rem; background: white; }
h2 { margin: 0; font-size: 1.2rem; }
.gates { display: flex; flex-wrap: wrap; gap: .3rem .9rem; padding: 0; list-style: none; }
.gates li { white-space: nowrap; } .red { font-weight: bold; }
pre { white-space: pre-wrap; } table { border-collapse: collapse; font-size: .9rem; }
td, th { text-align: left; padding: .1rem .8rem .1rem 0; }
summary { cursor: pointer; } @media (max-width: 40rem) { article { grid-template-columns: 1fr; } }
"""


def publish(reports: list[Report], folder: Path) -> Path:
    """Write a page for each report and index.html; returns the index."""
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        notebook = nbformat.read(report.run.output, as_version=4)
        page = lesson_page(notebook, report.run.output.stem)
        (folder / f"{report.run.output.stem}.html").write_text(page, encoding="utf-8")
    index = folder / "index.html"
    index.write_text(index_page(reports), encoding="utf-8")
    return index


def index_page(reports: list[Report]) -> str:
    """One card for each lesson: picture, title, seconds and gates."""
    red = sum(any(report.findings.values()) for report in reports)
    seconds = sum(report.run.seconds for report in reports)
    cards = "\n".join(card(report) for report in reports)
    state = f"{red} of them need attention" if red else "all gates are green"
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>annlib: the lessons</title><style>{INDEX_STYLE}</style></head>\n<body><main>\n"
        f"<h1>The lessons, executed</h1>\n<p>{len(reports)} lessons in {seconds:.0f} s of running; "
        f"{state}.</p>\n<ol>\n{cards}\n</ol>\n</main></body>\n</html>\n"
    )


def card(report: Report) -> str:
    """The index entry of one lesson."""
    notebook = nbformat.read(report.run.output, as_version=4)
    name = report.run.output.stem
    gates = "".join(
        f"<li{' class=red' if found else ''}>{'✗' if found else '✓'} {html.escape(gate)}</li>"
        for gate, found in report.findings.items()
    )
    problems = [finding for found in report.findings.values() for finding in found]
    details = f"<pre>{html.escape(chr(10).join(problems))}</pre>" if problems else ""
    details += claims_table(claims_in(notebook))
    return (
        f"<li><article><div>{thumbnail(notebook)}</div><div>"
        f'<h2><a href="{name}.html">{html.escape(title_of(notebook) or name)}</a></h2>'
        f"<p>{times(notebook, report.run.seconds)}</p>"
        f'<ul class="gates" aria-label="Gates">{gates}</ul>'
        f"{details}</div></article></li>"
    )


def times(notebook: NotebookNode, seconds: float) -> str:
    """How long it took, and how long its header says that its cells take."""
    headers = [c.source for c in notebook.cells if "header" in c.metadata.get("tags", [])]
    mode = notebook.metadata.get("papermill", {}).get("parameters", {}).get("mode", "learn")
    stated = stated_seconds("\n".join(headers)).get(mode)
    cells = [seconds_of(cell) for cell in notebook.cells]
    promise = f", {stated:.0f} s stated" if stated else ""
    return f"{seconds:.0f} s with the start of Python; cells {sum(cells):.0f} s{promise} ({mode})"


def claims_table(claims: dict[str, Claim]) -> str:
    """What the lesson measured, folded away; nothing if it measured nothing."""
    if not claims:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{one.value:.4g} {html.escape(one.unit)}</td>"
        f"<td>± {one.within:.3g}</td></tr>"
        for name, one in sorted(claims.items())
    )
    head = "<tr><th>claim</th><th>measured</th><th>the text may be off by</th></tr>"
    return (
        f"<details><summary>{len(claims)} measured numbers</summary>"
        f"<table>{head}{rows}</table></details>"
    )


def thumbnail(notebook: NotebookNode) -> str:
    """The first picture of a lesson."""
    for _, output in named_outputs(notebook):
        if "image/png" in output.get("data", {}):
            return with_alt(output)["data"]["text/html"]
    return ""
