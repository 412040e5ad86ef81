"""Executed lessons as HTML pages that need no network, and their index."""

import html
import re
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import latex2mathml.converter
import nbformat
from jinja2 import DictLoader, Environment
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from annlib.course.lesson import claims_in
from annlib.course.running import gates
from annlib.course.running.gates import Report
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


INDEX = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
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
</style></head>
<body><main><h1>{{ title }}</h1>{{ table | safe }}<p>{{ text }}</p>
<ol>{% for card in cards %}
<li><article>
<h2><a{% if card.link %} href="{{ card.link }}"{% endif %}>{{ card.title }}</a></h2>
<p>{{ card.text }}</p>
{% if card.gates %}<ul class="gates" aria-label="Gates">{% for gate, found in card.gates.items() %}
<li{{ " class=red" if found }}>{{ "✗" if found else "✓" }} {{ gate }}</li>{% endfor %}
</ul>{% endif %}
{% if card.problem %}<pre>{{ card.problem }}</pre>{% endif %}
{% for image in card.images %}{{ image | safe }}{% endfor %}
{% if card.claims %}<details><summary>{{ card.claims | length }} measured numbers</summary><table>
<tr><th>claim</th><th>measured</th><th>the text may be off by</th></tr>{% for one in card.claims %}
<tr><td>{{ one.name }}</td><td>{{ "%.4g" | format(one.value) }} {{ one.unit }}</td>
<td>± {{ "%.3g" | format(one.within) }}</td></tr>{% endfor %}</table></details>{% endif %}
</article></li>{% endfor %}</ol></main></body>
</html>
""")  # of executed lessons, or of the runs of a sweep


def images_in(outputs: Iterable[NotebookNode]) -> list[str]:
    """The images of some outputs as <img> elements."""
    images = [deepcopy(output) for output in outputs if output.get("data", {}).get("image/png")]
    return [with_alt(image)["data"]["text/html"] for image in images]


def publish(reports: list[Report], folder: Path) -> Path:
    """Write a page for each report and index.html; returns the index."""
    folder.mkdir(parents=True, exist_ok=True)
    cards = []
    for report in reports:
        notebook, name = nbformat.read(report.run.output, as_version=4), report.run.output.stem
        mode, stated = gates.mode_and_time(notebook)
        cells = f"cells {sum(map(gates.cell_seconds, notebook.cells)):.0f} s"
        promise = f"{cells}, {stated:.0f} s stated" if stated else cells
        card = {"title": title_of(notebook) or name, "link": f"{name}.html"}
        card["text"] = f"{report.run.seconds:.0f} s with the start of Python; {promise} ({mode})"
        card["gates"] = report.findings
        card["problem"] = "\n".join(one for found in report.findings.values() for one in found)
        card["images"] = images_in(output for _, output in gates.named_outputs(notebook))[:1]
        card["claims"] = [claim for _, claim in sorted(claims_in(notebook).items())]
        cards.append(card)
        (folder / f"{name}.html").write_text(lesson_page(notebook, name), encoding="utf-8")
    red = sum(any(report.findings.values()) for report in reports)
    seconds = sum(report.run.seconds for report in reports)
    state = f"{red} of them need attention" if red else "all gates are green"
    text = f"{len(reports)} lessons in {seconds:.0f} s of running; {state}."
    page = INDEX.render(title="annlib: the lessons, executed", text=text, cards=cards)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"
