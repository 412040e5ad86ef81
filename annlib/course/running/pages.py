"""An executed lesson as an HTML page that needs no network."""

import html
import re

import latex2mathml.converter
import nbformat
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from annlib.course.controls.standalone import saved_page
from annlib.course.running.gates import WIDGET_VIEW, widget_models

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
