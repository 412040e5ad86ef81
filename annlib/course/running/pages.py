"""Executed lessons as HTML pages that need no network, and their index."""

import html
import re
from copy import deepcopy
from pathlib import Path

import latex2mathml.converter
import nbformat
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from annlib.course.lesson import claims_in
from annlib.course.running import gates
from annlib.course.running.gates import Report, cell_seconds
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
    """A notebook as one HTML file: no script, no request, formulas as MathML, images with alt."""
    models = gates.widget_models(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [with_alt(one) for out in cell.outputs for one in still(out, models)]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["title"] = title_of(notebook) or title
    loader = DictLoader({"page.html.j2": PAGE})
    exporter = HTMLExporter(extra_loaders=[loader], template_file="page.html.j2")
    page, _ = exporter.from_notebook_node(notebook)
    page = re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', page)
    parts = UNTOUCHED.split(page)  # text, element, its name, text, ...
    texts = [FORMULA.sub(mathml, text) for text in parts[::3]]
    elements = [*parts[1::3], ""]
    return "".join(text + element for text, element in zip(texts, elements, strict=True))


def still(output: NotebookNode, models: dict) -> list[NotebookNode]:
    """An output without its widget: the outputs inside the widget, or the page that it has."""
    view = output.get("data", {}).pop(gates.WIDGET_VIEW, None)
    if view is None:
        return [output]
    identity = view["model_id"]
    if (page := saved_page(models.get(identity, {"state": {}}), TITLE)) is not None:
        shown = with_alt(output)["data"].get("text/html", "")
        frame = (
            f'<iframe title="{TITLE}" sandbox="allow-scripts allow-downloads" loading="lazy" '
            f'style="width: 100%; height: 44rem; border: 0" srcdoc="{html.escape(page)}"></iframe>'
            f"<details><summary>As a still image</summary>{shown}</details>"
        )
        output["data"] = {"text/html": frame}
        return [output]
    inside = [nbformat.from_dict(found) for found in outputs_inside(models, identity)]
    own = [output] if "image/png" in output["data"] else []
    return [nbformat.v4.new_output("stream", name="stdout", text=f"{NOTE}\n"), *(inside or own)]


def outputs_inside(models: dict, identity: str) -> list[dict]:
    """What the Output widgets below a widget hold, depth first."""
    state = models.get(identity, {}).get("state", {})
    children = [child.removeprefix("IPY_MODEL_") for child in state.get("children", [])]
    return sum([outputs_inside(models, one) for one in children], list(state.get("outputs", [])))


def with_alt(output: NotebookNode) -> NotebookNode:
    """An image as an <img> element: nbconvert's own template drops the alt text."""
    image = output.get("data", {}).get("image/png")
    if image:
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        source = f"data:image/png;base64,{html.escape(''.join(image.split()))}"
        output["data"] = {"text/html": f'<img alt="{html.escape(alt)}" src="{source}">'}
    return output


def mathml(match: re.Match) -> str:
    """One formula; what the converter does not know stays legible as TeX."""
    tex = html.unescape(match[1] or match[2]).replace("{aligned}", "{align*}")
    try:
        return latex2mathml.converter.convert(tex, display="block" if match[1] else "inline")
    except Exception:  # the converter has a dozen errors of its own
        return f"<code>{html.escape(tex)}</code>"


def title_of(notebook: NotebookNode) -> str | None:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = re.search(r"^# +(.+)$", "\n".join(texts), re.MULTILINE)
    return found and found[1]


STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, CanvasText 25%, Canvas); }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
ol, .gates { list-style: none; padding: 0; } h2 { margin: 0; font-size: 1.1rem; }
ol { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
article { padding: 1rem; border: 1px solid var(--line); border-radius: .6rem; height: 100%;
  box-sizing: border-box; }
img { max-width: 100%; border-radius: .3rem; background: white; } summary { cursor: pointer; }
.gates { display: flex; flex-wrap: wrap; gap: .3rem .9rem; }
.gates li { white-space: nowrap; } .red { font-weight: bold; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
table { border-collapse: collapse; } th, td { border: 1px solid var(--line); padding: .2rem .6rem; }
td { text-align: right; } td:first-child, th { text-align: left; }
"""


def html_page(title: str, body: str) -> str:
    """An HTML file without scripts, in the style of both indexes: of lessons and of a sweep."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def publish(reports: list[Report], folder: Path) -> Path:
    """Write a page for each report and index.html; returns the index."""
    folder.mkdir(parents=True, exist_ok=True)
    cards = []
    for report in reports:
        notebook = nbformat.read(report.run.output, as_version=4)
        cards.append(card(report, notebook))
        page = lesson_page(notebook, report.run.output.stem)
        (folder / f"{report.run.output.stem}.html").write_text(page, encoding="utf-8")
    red = sum(any(report.findings.values()) for report in reports)
    seconds = sum(report.run.seconds for report in reports)
    state = f"{red} of them need attention" if red else "all gates are green"
    body = (
        f"<h1>The lessons, executed</h1>\n<p>{len(reports)} lessons in {seconds:.0f} s of running; "
        f"{state}.</p>\n<ol>\n{chr(10).join(cards)}\n</ol>"
    )
    index = folder / "index.html"
    index.write_text(html_page("annlib: the lessons", body), encoding="utf-8")
    return index


def card(report: Report, notebook: NotebookNode) -> str:
    """The index entry of one lesson: image, title, seconds, gates, findings, claims."""
    name, (mode, stated) = report.run.output.stem, gates.mode_and_time(notebook)
    promise = f", {stated:.0f} s stated" if stated else ""
    cells = sum(map(cell_seconds, notebook.cells))
    outputs = [output for _, output in gates.named_outputs(notebook)]
    images = [output for output in outputs if "image/png" in output.get("data", {})]
    image = with_alt(deepcopy(images[0]))["data"]["text/html"] if images else ""
    items = "".join(
        f"<li{' class=red' if found else ''}>{'✗' if found else '✓'} {html.escape(gate)}</li>"
        for gate, found in report.findings.items()
    )
    problems = "\n".join(finding for found in report.findings.values() for finding in found)
    details = f"<pre>{html.escape(problems)}</pre>" if problems else ""
    if claims := claims_in(notebook):
        rows = "".join(
            f"<tr><td>{html.escape(claim)}</td><td>{one.value:.4g} {html.escape(one.unit)}</td>"
            f"<td>± {one.within:.3g}</td></tr>"
            for claim, one in sorted(claims.items())
        )
        details += (
            f"<details><summary>{len(claims)} measured numbers</summary><table><tr><th>claim</th>"
            f"<th>measured</th><th>the text may be off by</th></tr>{rows}</table></details>"
        )
    return (
        f"<li><article>{image}"
        f'<h2><a href="{name}.html">{html.escape(title_of(notebook) or name)}</a></h2>'
        f"<p>{report.run.seconds:.0f} s with the start of Python; cells {cells:.0f} s{promise} "
        f'({mode})</p><ul class="gates" aria-label="Gates">{items}</ul>{details}</article></li>'
    )
