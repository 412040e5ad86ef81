"""What `make course` does: run both editions, judge them, write pages that need no network."""

import base64
import html
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import bleach
import latex2mathml.converter
import nbformat
from jinja2 import Environment, FileSystemLoader, pass_context
from jinja2.runtime import Context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer
from nbformat import NotebookNode

from annlib.course.authoring import REFERENCE, check_current, headings, sources, targets
from annlib.course.lesson import claims_in, read_note, read_notebook
from annlib.course.running import gates
from annlib.course.running.execute import Parameters, Run, run_all
from annlib.course.running.gates import Report, review
from annlib.course.widgets.base import saved_page

CELL_SECONDS = {"quick": 600, "learn": 3600, "full": 7 * 24 * 3600}  # then it is stopped
TEMPLATES = FileSystemLoader(Path(__file__).parent)
# Of executed lessons, or of the runs of a sweep.
INDEX = Environment(autoescape=True, loader=TEMPLATES).get_template("index.html.j2")
UNTOUCHED = re.compile(  # the last: tags with a formula in an attribute, of headings
    r"(<(pre|code|script|style|head|iframe)\b.*?</\2>|<[^<>]*\$[^<>]*>)", re.DOTALL
)
BAR = re.compile("<mover>(?=<mi>[^<]*</mi><mo[^>]*>&#x000AF;)")  # close to its letter
ON_SLIDES = re.compile(
    r"^#+ .+(?:\n\n[^*#<$!|].+(?:\n[^\n]+)*)?|^!\[.+\)$|\$\$[^$]+\$\$", re.MULTILINE
)
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\s](?:[^$]*?[^$\s])?)\$(?![\d])", re.DOTALL)
TAGS = "br|dd|del|details|div|dl|dt|h1|h2|h3|h4|h5|h6|hr|img|kbd|p|pre|span|sub|summary|sup|table|"
TAGS = {*bleach.ALLOWED_TAGS, *(TAGS + "tbody|td|th|thead|tr").split("|")}
ATTRIBUTES = ["alt", "class", "href", "id", "open", "src", "title"]
MATH_FONT = base64.b64encode(Path(__file__).with_name("math.woff2").read_bytes()).decode()
TITLE = "Attention explorer"
NOTE = "Interactive in JupyterLab; here you see how it starts."


class PageExporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """HTML of a text, in which scripts and handlers of events are escaped."""
        # Its search for images in HTML would close <details> before the text that is folded.
        with patch.object(IPythonRenderer, "_html_embed_images", lambda _, text: text):
            page = super().markdown2html(context, source)
        return bleach.clean(page, TAGS, {"*": ATTRIBUTES}, {*bleach.ALLOWED_PROTOCOLS, "data"})


def lesson_page(
    notebook: NotebookNode, title: str, notebooks: Path, template: str = "page.html.j2"
) -> str:
    """A notebook as one HTML file: no script, no request, formulas as MathML, images with alt.

    notebooks: the folder of the diagrams that the lessons show
    """
    models = gates.widget_models(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # of a solution, which lies one folder lower
            cell.source = cell.source.replace("](../", "](")
        elif cell.cell_type == "code":
            cell.outputs = [with_alt(one) for out in cell.outputs for one in still(out, models)]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["title"] = title_of(notebook) or title
    exporter = PageExporter(extra_loaders=[TEMPLATES], template_file=template, embed_images=True)
    resources = {"metadata": {"path": str(notebooks)}, "math_font": MATH_FONT}
    page, _ = exporter.from_notebook_node(notebook, resources)
    page = re.sub(r'href="(\d\d_\w+|reference)\.(ipynb|md)(?=[#"])', r'href="\1.html', page)
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
    saved = models.get(identity, {"state": {}})
    if (page := saved_page(saved, TITLE)) is not None:
        shown = with_alt(output)["data"].get("text/html", "")
        height = 78 if saved["state"].get("steps") else 44
        frame = (
            f'<iframe title="{TITLE}" sandbox="allow-scripts allow-downloads" loading="lazy" '
            f'style="width: 100%; height: {height}rem; border: 0" srcdoc="{html.escape(page)}">'
            '</iframe><details class="annlib-still"><summary>As a still image</summary>'
            f"{shown}</details>"
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
    if image := output.get("data", {}).get("image/png"):
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        source = f"data:image/png;base64,{html.escape(''.join(image.split()))}"
        output["data"] = {"text/html": f'<img alt="{html.escape(alt)}" src="{source}">'}
    return output


def mathml(match: re.Match) -> str:
    """One formula; what the converter does not know stays legible as TeX."""
    tex = html.unescape(match[1] or match[2]).replace("{aligned}", "{align*}")
    try:
        text = latex2mathml.converter.convert(tex, display="block" if match[1] else "inline")
        return BAR.sub('<mover accent="true">', text).replace("&#x02015;", "&#x0203E;")
    except Exception:  # the converter has a dozen errors of its own
        return f"<code>{html.escape(tex)}</code>"


def title_of(notebook: NotebookNode) -> str | None:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = re.search(r"^# +(.+)$", "\n".join(texts), re.MULTILINE)
    return found and found[1]


def slides(notebook: NotebookNode) -> NotebookNode:
    """Slides of an executed lesson: headings, formulas, diagrams, figures, exercises, quizzes."""
    shown, heading = [], ""
    for cell in notebook.cells:
        tags = " ".join(cell.metadata.get("tags", []))
        parts = images_in(cell.get("outputs", []))
        if cell.cell_type == "markdown" and not re.search("instructor|hint:", tags):
            heading = next((title for _, title in headings(cell.source)), heading)
            whole = re.search("header|exercise:|quiz:", tags)
            parts = ON_SLIDES.findall(cell.source) if not whole else [cell.source]
            parts = ["\n\n".join(parts).partition(f"\n\n{REFERENCE[:18]}")[0]] if parts else []
        shown += [text if text.startswith("#") else f"### {heading}\n\n{text}" for text in parts]
    deck = map(nbformat.v4.new_markdown_cell, dict.fromkeys(shown))  # a figure is shown once
    return nbformat.v4.new_notebook(cells=[*deck])


def write_slides(executed: Path, path: Path, notebooks: Path) -> int:
    """Write the slides of an executed lesson as an HTML file; returns how many there are."""
    deck = slides(read_notebook(executed))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lesson_page(deck, path.stem, notebooks, "slides.html.j2"), "utf-8")
    return len(deck.cells)


def images_in(outputs: Iterable[NotebookNode]) -> list[str]:
    images = [deepcopy(output) for output in outputs if output.get("data", {}).get("image/png")]
    return [with_alt(image)["data"]["text/html"] for image in images]


def ended_before(folder: Path, others: Iterable[Path]) -> list[Report]:
    """Reports on the executed notebooks that a folder holds besides those."""
    found = []
    for path in sorted({*folder.glob("[!.]*.ipynb")} - {*others}):
        with suppress(OSError, ValueError):  # damaged, which the index says
            if note := read_note(path):
                found.append(review(Run(path, path, note["seconds"], note["error"])))
    return found


def publish(reports: list[Report], folder: Path, notebooks: Path) -> Path:
    """Write a page for each report, the reference sheet and index.html; returns the index.

    The index also has the lessons that ended here earlier, in `folder`/solutions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reports = reports + ended_before(folder / "solutions", [one.run.output for one in reports])
    reports.sort(key=lambda report: report.run.output.name)
    for sheet in notebooks.glob("reference.md"):
        cell = nbformat.v4.new_markdown_cell(sheet.read_text(encoding="utf-8"))
        page = lesson_page(nbformat.v4.new_notebook(cells=[cell]), sheet.stem, notebooks)
        (folder / "reference.html").write_text(page, encoding="utf-8")
    cards = []
    for report in reports:
        notebook, name = read_notebook(report.run.output), report.run.output.stem
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
        (folder / f"{name}.html").write_text(lesson_page(notebook, name, notebooks), "utf-8")
    red = sum(any(report.findings.values()) for report in reports)
    seconds = sum(report.run.seconds for report in reports)
    state = f"{red} of them need attention" if red else "all gates are green"
    text = f"{len(reports)} lessons in {seconds:.0f} s of running; {state}."
    all_there = {one.stem for one in (folder / "solutions").glob("[!.]*.ipynb")}
    if left := sorted(all_there - {report.run.output.stem for report in reports}):
        text += f" Cut off or damaged, so run them again: {', '.join(left)}."
    page = INDEX.render(title="annlib: the lessons, executed", text=text, cards=cards)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def chosen(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The sources whose number or name is given, in the order of the course; all for none.

    "4", "04" and "04_pyramid_sampling" mean the same. Raises ValueError for an unknown name.
    """
    found, wanted = sources(root), set()
    for name in names:
        stem = Path(name).stem
        start = f"{int(stem):02}_" if stem.isdigit() else None
        called = [s for s in found if s.stem == stem or (start and s.stem.startswith(start))]
        if not called:
            known = ", ".join(source.stem for source in found)
            raise ValueError(f"No lesson {name!r}. Name them by number or name: {known}.")
        wanted.update(called)
    return [source for source in found if source in wanted or not names]


def release(
    root: Path,
    folder: Path,
    parameters: Parameters,
    say: Callable[[str], None],
    names: tuple[str, ...] = (),
    jobs: int = 2,
    resume: bool = False,
) -> list[str]:
    """Write `folder`/index.html and return every finding; none: the course may go out.

    Learner editions stop at what is not filled in, so they are run in quick mode only.
    """
    findings, built = check_current(root), targets(root)
    for finding in findings:
        say(finding)
    quick = parameters.get("mode") == "quick"
    wanted, outputs = chosen(root, names), {}
    for edition, place in (("solution", "solutions"), *([("learner", "learner")] if quick else [])):
        pairs = [pair for source in wanted for pair in built[source].items()]
        outputs |= {notebook: folder / place for notebook, kind in pairs if kind == edition}
    ended: list[Run] = []

    def tell(run: Run) -> None:
        ended.append(run)
        state = f"{'failed' if run.error else 'ran'} in {run.seconds:.0f} s"
        place = f"{outputs[run.notebook].name}/{run.notebook.name}"
        say(f"{len(ended)} of {len(outputs)}: {place} {state}")

    limit = CELL_SECONDS[str(parameters.get("mode", "learn"))]
    found = [review(run) for run in run_all(outputs, parameters, jobs, tell, limit, resume)]
    for finding in (one for report in found for one in report.sentences()):
        say(finding)
    reports, learners = found[: len(wanted)], found[len(wanted) :]
    for report, learner in zip(reports, learners, strict=quick):
        report.findings["learner edition"] = learner.sentences()
    say(f"Pages: {publish(reports, folder, root / 'notebooks')}")
    return findings + [finding for report in reports for finding in report.sentences()]
