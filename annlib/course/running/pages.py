"""Executed lessons as HTML pages that need no network, and their index."""

import html
import re
from pathlib import Path

import latex2mathml.converter
import nbformat
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from annlib.course.lesson import Claim, claims_in
from annlib.course.running.gates import (
    WIDGET_VIEW,
    Report,
    named_outputs,
    seconds_of,
    stated_seconds,
    widget_models,
)
from annlib.course.widgets.base import saved_page

PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}<style>
body { max-width: 62rem; margin: 0 auto; padding: 1rem; } img { max-width: 100%; height: auto; }
details { margin: .4rem 0; } summary { cursor: pointer; } math { font-size: 1.1em; }
</style>{% endblock %}"""
UNTOUCHED = re.compile(r"(<(pre|code|script|style|head|iframe)\b.*?</\2>)", re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\s](?:[^$]*?[^$\s])?)\$(?![\d])", re.DOTALL)
TITLE = "Attention explorer"
NOTE = "Interactive in JupyterLab; here you see how it starts."


def lesson_page(notebook: NotebookNode, title: str) -> str:
    """A notebook as one HTML file: no script, no request, formulas as MathML, figures with alt."""
    still_life(notebook)
    notebook.metadata["title"] = title_of(notebook) or title
    loader = DictLoader({"page.html.j2": PAGE})
    exporter = HTMLExporter(extra_loaders=[loader], template_file="page.html.j2")
    page, _ = exporter.from_notebook_node(notebook)
    return with_mathml(re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', page))


def still_life(notebook: NotebookNode) -> None:
    """Replace widgets by the outputs they show at first, and pictures by <img> with alt text."""
    models = widget_models(notebook)
    for cell in notebook.cells:
        outputs = []
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(WIDGET_VIEW)
            outputs += widget_picture(output, models, view["model_id"]) if view else [output]
        if cell.cell_type == "code":
            cell.outputs = [with_alt(output) for output in outputs]
    notebook.metadata.pop("widgets", None)


def widget_picture(output: NotebookNode, models: dict, identity: str) -> list[NotebookNode]:
    """The outputs inside a widget, which tell more than its own picture, below a note."""
    del output["data"][WIDGET_VIEW]
    if (page := saved_page(models.get(identity, {"state": {}}), TITLE)) is not None:
        return [alive(page, output)]
    inside = [nbformat.from_dict(found) for found in outputs_inside(models, identity)]
    own = [output] if "image/png" in output["data"] else []
    return [nbformat.v4.new_output("stream", name="stdout", text=f"{NOTE}\n"), *(inside or own)]


def alive(page: str, output: NotebookNode) -> NotebookNode:
    """A widget that needs no kernel, in a frame of its own, and its still for paper."""
    with_alt(output)
    frame = (
        f'<iframe title="{TITLE}" sandbox="allow-scripts allow-downloads" loading="lazy" '
        f'style="width: 100%; height: 44rem; border: 0" srcdoc="{html.escape(page)}"></iframe>'
    )
    still = f"<details><summary>As a still picture</summary>{output['data']['text/html']}</details>"
    output["data"] = {"text/html": frame + still}
    return output


def outputs_inside(models: dict, identity: str) -> list[dict]:
    """What the Output widgets below a widget hold, depth first."""
    state = models.get(identity, {}).get("state", {})
    found = list(state.get("outputs", []))
    for child in state.get("children", []):
        found += outputs_inside(models, child.removeprefix("IPY_MODEL_"))
    return found


def with_alt(output: NotebookNode) -> NotebookNode:
    """A picture as an <img> element: nbconvert's own template drops the alt text."""
    picture = output.get("data", {}).get("image/png")
    if picture:
        alt = output.metadata.get("image/png", {}).get("alt", "")
        source = f"data:image/png;base64,{''.join(picture.split())}"
        output["data"] = {"text/html": f'<img alt="{html.escape(alt)}" src="{source}">'}
    return output


def with_mathml(page: str) -> str:
    """Formulas outside code as MathML, which browsers draw themselves."""
    parts = UNTOUCHED.split(page)  # text, element, its name, text, ...
    texts = [FORMULA.sub(mathml, text) for text in parts[::3]]
    elements = [*parts[1::3], ""]
    return "".join(text + element for text, element in zip(texts, elements, strict=True))


def mathml(match: re.Match) -> str:
    """One formula; what the converter does not know stays legible as TeX."""
    tex = html.unescape(match[1] or match[2]).replace("{aligned}", "{align*}")
    display = "block" if match[1] else "inline"
    try:
        return latex2mathml.converter.convert(tex, display=display)
    except Exception:  # the converter has a dozen errors of its own
        return f"<code>{html.escape(tex)}</code>"


def title_of(notebook: NotebookNode) -> str | None:
    """The text of the first heading."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = re.search(r"^# +(.+)$", "\n".join(texts), re.MULTILINE)
    return found and found[1]


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
