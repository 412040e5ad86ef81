"""From the source of a lesson (jupytext percent) to its learner and its solution notebook."""

import ast
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jupytext
import nbformat

from annlib.course.lesson import PLACES, STATED, TEXTS

ROLES = ("exercise", "answer", "check", "hint", "predict", "quiz", "open", "reveal")
PLAIN_TAGS = ("header", "parameters", "setup", "recap", "instructor", "slow", "gpu")
HIDING_ROLES = ("answer", "predict")
MARKDOWN_TAGS = ("exercise", "hint", "quiz", "open", "reveal", "header", "recap", "instructor")
TAG = re.compile(
    r"(exercise|answer|check|predict|quiz|open|reveal):[a-z0-9-]+|hint:[a-z0-9-]+:[123]"
)
HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
FENCED = re.compile(r"^(```|~~~).*?^\1 *$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"^ *# solution$|  # solution$", re.MULTILINE)
ALMOST_MARKER = re.compile(r"^.*#[ \t]*solutions?[ \t]*:?[ \t]*$", re.MULTILINE | re.IGNORECASE)
HINT_TITLES = {"1": "the idea", "2": "the tool", "3": "the first lines"}  # what it gives away
LINK = re.compile(r"\]\((exercise|quiz|predict):([a-z0-9-]+)\)")
NUMBER_LINK = re.compile(r"\[([^\]]+)\]\((claim|given|cited|result):([a-z0-9_./-]+)\)")
OPTION = re.compile(r"^- \[([ x])\] (.+)\n?((?:  .+\n?)*)", re.MULTILINE)
EMPHASIS = ((r"`(.+?)`", "code"), (r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"))
BELOW = re.compile(r"\]\((?=diagrams/|reference\.md)")
LINE_MARKER = re.compile(r"^( *)# solution$")
INLINE_MARKER = re.compile(r"^(\s*[^=]+?=)(?!=).*  # solution$")
PREDICTION = re.compile(r"^#{2,4} Prediction ([\d.]+)", re.MULTILINE)
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
REFERENCE = (
    "[Reference sheet](reference.md): notation, glossary, names in the paper and in the code"
)
SOLUTION_NOTE = TEXTS["authoring"]["solution edition"]


class Cell(NamedTuple):
    kind: str
    text: str
    tags: tuple[str, ...]
    section: str
    slug: str  # names it within the lesson, and does not change with other cells
    place: str

    def role(self, name: str) -> str | None:
        """What follows `name:` in the cell's tags: "weights" for the tag exercise:weights."""
        found = (tag.partition(":")[2] for tag in self.tags if tag.startswith(f"{name}:"))
        return next(found, None)


class Lesson(NamedTuple):
    name: str  # of its source, without suffix
    cells: list[Cell]

    def tagged(self, tag: str) -> list[Cell]:
        return [cell for cell in self.cells if tag in cell.tags]

    def with_role(self, name: str) -> dict[str, Cell]:
        """{"weights": cell} for all cells tagged `name:ID`."""
        return {cell.role(name): cell for cell in self.cells if cell.role(name)}


def wrong(name: str, *values: object) -> ValueError:
    """The error of this name in lesson.toml, with the values in it."""
    return ValueError(TEXTS["authoring"][name].format(*values))


def headings(markdown: str) -> list[tuple[int, str]]:
    """(level, title) of each heading outside fenced code."""
    return [(len(m[1]), m[2]) for m in HEADING.finditer(FENCED.sub("", markdown))]


def read(source: Path) -> Lesson:
    """The lesson in a percent source, its tags checked: a misspelt one could show a solution."""
    text = source.read_text(encoding="utf-8")
    if not text.startswith("# %%"):
        raise wrong("header", source.name, text[:20])
    lines = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"# %%( |$)", line)]
    nodes = jupytext.reads(text, fmt="py:percent").cells
    places = [f"{source.name}:{line}" for line in lines] + [source.name] * len(nodes)
    section, sections, numbers, cells = "top", Counter(), Counter(), {}
    for node, place in zip(nodes, places, strict=False):
        tags = tuple(node.metadata.get("tags", []))
        titles = headings(node.source) if node.cell_type == "markdown" else []
        if titles and titles[0][0] <= 2:
            section = re.sub(r"[^a-z0-9]+", "-", titles[0][1].lower()).strip("-")
            sections[section] += 1
            section += f"-{sections[section]}" if sections[section] > 1 else ""
        names = [tag for tag in tags if tag not in ("instructor", "slow", "gpu")]
        numbers[section] += not names
        slug = names[0] if names else f"{section}/{numbers[section]}"
        if slug in cells:  # it makes the id of a cell
            raise wrong("name twice", place, cells[slug].place, slug)
        cells[slug] = Cell(node.cell_type, node.source, tags, section, slug, place)
        check_cell(cells[slug])
    return Lesson(source.stem, list(cells.values()))


def check_cell(cell: Cell) -> None:
    """Refuse unknown tags, tags on the wrong kind of cell, and markers outside answers."""
    for tag in cell.tags:
        if tag not in PLAIN_TAGS and not TAG.fullmatch(tag):
            known = ", ".join([*PLAIN_TAGS, *(f"{role}:id" for role in ROLES)])
            raise wrong("unknown tag", cell.place, tag, known)
        expected = "markdown" if tag.partition(":")[0] in MARKDOWN_TAGS else "code"
        if cell.kind != expected:
            raise wrong("kind of cell", cell.place, tag, expected, cell.kind)
    hides = any(cell.role(role) for role in HIDING_ROLES)
    exact, almost = len(MARKER.findall(cell.text)), len(ALMOST_MARKER.findall(cell.text))
    if cell.kind == "code" and (exact != almost or bool(exact) != hides):
        raise wrong("markers", cell.place, exact, almost, list(cell.tags))


def folded(summary: str, body: str) -> str:
    """Markdown that shows `summary` (HTML) and unfolds `body`; the blank lines keep it markdown."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def quiz_options(text: str) -> list[tuple[bool, str, str]]:
    """(correct, text, why) of `- [ ] text`, then the explanation indented by two blanks."""
    return [(m[1] == "x", m[2].strip(), " ".join(m[3].split())) for m in OPTION.finditer(text)]


def quiz(text: str) -> str:
    """The question, and each option folding its own explanation: choosing is opening."""
    first = OPTION.search(text)
    parts = [text[: first.start()].strip() if first else text, "Choose, then open your choice."]
    for letter, (correct, said, why) in zip("ABCDEFGH", quiz_options(text), strict=False):
        summary = html.escape(said, quote=False)
        for pattern, tag in EMPHASIS:  # as HTML: markdown is not read inside a <summary>
            summary = re.sub(pattern, rf"<{tag}>\1</{tag}>", summary)
        parts.append(
            folded(f"{letter}. {summary}", f"**{'Correct.' if correct else 'Incorrect.'}** {why}")
        )
    return "\n\n".join(parts)


def reveal(lesson: Lesson, cell: Cell, text: str) -> str:
    """The code that shows a text once the prediction of the same id is compared."""
    above = "\n".join(one.text for one in lesson.cells[: lesson.cells.index(cell)])
    numbers, asked = PREDICTION.findall(above), lesson.with_role("predict")
    if cell.role("reveal") not in asked or not numbers or headings(text) or '"""' in text:
        raise wrong("reveal", cell.place, cell.slug)
    return f'predictions.reveal("{numbers[-1]}", r"""\n{text}\n""")'


def resolve_links(cell: Cell, anchors: dict[str, str]) -> str:
    """[text](exercise:id) becomes a link to its heading, and [12.3](claim:name) becomes 12.3.

    A number that others published also says where.
    """
    slugs = {":".join(found) for found in LINK.findall(cell.text)}
    if unknown := sorted(slugs - anchors.keys()):
        raise wrong("link", cell.place, unknown[0], ", ".join(sorted(anchors)) or "none")
    text = LINK.sub(lambda match: f"](#{anchors[f'{match[1]}:{match[2]}']})", cell.text)
    cited = {key for _, kind, key in NUMBER_LINK.findall(text) if kind == "cited"}
    if unknown := sorted(cited - PLACES.keys()):
        raise wrong("cited", cell.place, unknown[0], ", ".join(sorted(PLACES)))
    return NUMBER_LINK.sub(
        lambda match: f"{match[1]} ({PLACES[match[3]]})" if match[2] == "cited" else match[1], text
    )


def heading_anchors(lesson: Lesson) -> dict[str, str]:
    """{"exercise:weights": "Exercise-2.1:-Title"}: as JupyterLab and nbconvert make them."""
    anchor, anchors = "", {}
    for cell in lesson.cells:
        if cell.kind == "markdown" and (found := headings(cell.text)):
            anchor = quote(re.sub(r"[`*]", "", found[0][1]).replace(" ", "-"), safe=":,?'-.")
        if any(cell.role(role) for role in ("exercise", "quiz", "predict")):
            anchors[cell.slug] = anchor
    return anchors


def finished(code: str) -> str:
    """The whole solution, without the markers."""
    lines = [line for line in code.splitlines() if not LINE_MARKER.match(line)]
    return "\n".join(line.removesuffix("  # solution") for line in lines)


def stub(code: str) -> str:
    """What the learner gets: `...` in the place of everything that a marker hides."""
    lines = [INLINE_MARKER.sub(r"\1 ...", line) for line in code.splitlines()]
    for start in reversed(range(len(lines))):
        if marker := LINE_MARKER.match(lines[start]):
            end = end_of_function(lines, start)
            lines[start:end] = [f"{marker[1]}..."]
    ast.parse("\n".join(lines))
    return "\n".join(lines)


def end_of_function(lines: list[str], start: int) -> int:
    """Index after the last line of the function around line `start`; of the cell, outside any."""
    nodes = [n for n in ast.walk(ast.parse("\n".join(lines))) if isinstance(n, ast.FunctionDef)]
    if around := [(n.lineno, n.end_lineno) for n in nodes if n.lineno <= start < n.end_lineno]:
        return max(around)[1]
    if lines[start].startswith(" "):
        raise wrong("indented marker", lines[start - 1])
    return len(lines)


def hidden_lines(code: str) -> list[str]:
    """The stripped lines that the learner does not see, in order."""
    shown = stub(code).splitlines()
    return [one.strip() for one in finished(code).splitlines() if one.strip() and one not in shown]


def sources(root: Path) -> list[Path]:
    """Every lesson source, in the order of the course."""
    if found := sorted((root / "notebooks/source").glob("[0-9][0-9]_*.py")):
        return found
    missing = f"No notebooks/source/NN_name.py below {root.resolve()}"
    raise FileNotFoundError(f"{missing}: name the project folder.")


def targets(root: Path) -> dict[Path, dict[Path, str]]:
    """{source: {notebook: edition}} of all lessons, and of the jobs, which `annlib sweep` runs."""
    lessons, found = root / "notebooks", {}
    for source in sources(root):
        name = f"{source.stem}.ipynb"
        found[source] = {lessons / name: "learner", lessons / "solutions" / name: "solution"}
    jobs = sorted((lessons / "source/jobs").glob("*.py"))
    return found | {job: {lessons / f"jobs/{job.stem}.ipynb": "job"} for job in jobs}


def build(source: Path, notebooks: dict[Path, str]) -> dict[Path, Path | None]:
    """Write notebooks, path -> edition, of a source.  -> path -> where an edited one is kept"""
    lesson, kept = read(source), {}
    for path, edition in notebooks.items():
        text = notebook_text(lesson, edition)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept[path] = keep_edited(path, text)
        path.write_text(text, encoding="utf-8", newline="\n")
    return kept


def build_all(root: Path) -> dict[Path, Path | None]:
    """Write the notebooks of every source under the project folder `root`, as `build` does."""
    return {path: kept for one in targets(root).items() for path, kept in build(*one).items()}


def keep_edited(path: Path, text: str) -> Path | None:
    """Renames a notebook whose cells, outputs aside, were edited.  -> its new name, or None"""
    if not path.exists():
        return None
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        now = digest("".join(cell["source"]) for cell in notebook["cells"])
        built = notebook["metadata"]["annlib"].get("digest")
    except (ValueError, KeyError, TypeError):  # not a notebook that a build wrote
        now, built = "unknown", None
    if now in (built, json.loads(text)["metadata"]["annlib"]["digest"]):
        return None
    return path.rename(path.with_suffix(f".saved-{datetime.now():%Y-%m-%d-%H%M%S}.ipynb"))


def digest(sources: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(list(sources)).encode()).hexdigest()[:16]


def check_current(root: Path) -> list[str]:
    """One sentence for each notebook that its source does not build, or that has no source."""
    findings, expected = [], set()
    for source, notebooks in targets(root).items():
        lesson = read(source)
        expected.update(notebooks)
        for path, edition in notebooks.items():
            if not path.exists() or path.read_bytes() != notebook_text(lesson, edition).encode():
                places = path.relative_to(root), source.relative_to(root)
                findings.append(str(wrong("out of date", *places)))
    patterns = ("*.ipynb", "solutions/*.ipynb", "jobs/*.ipynb")
    found = sorted(path for one in patterns for path in (root / "notebooks").glob(one))
    return findings + [
        f"{path.relative_to(root)} has no source in notebooks/source: delete it, or write that."
        for path in found
        if path not in expected and ".saved-" not in path.name
    ]


def notebook_text(lesson: Lesson, edition: str) -> str:
    anchors = heading_anchors(lesson)
    seen = [c for c in lesson.cells if edition == "solution" or "instructor" not in c.tags]
    cells = [notebook_cell(lesson, cell, edition, anchors) for cell in seen]
    folder = "source/jobs" if edition == "job" else "source"
    origin = {"edition": edition, "source": f"notebooks/{folder}/{lesson.name}.py"}
    origin["digest"] = digest(cell.source for cell in cells)
    metadata = {"annlib": origin, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    if edition == "learner":
        refuse_leaks(lesson, cells)
    return nbformat.writes(notebook) + "\n"


def notebook_cell(
    lesson: Lesson, cell: Cell, edition: str, anchors: dict[str, str]
) -> nbformat.NotebookNode:
    """A cell with an id that depends on the lesson and its slug alone."""
    name = hashlib.sha1(f"{lesson.name}/{cell.slug}".encode()).hexdigest()[:8]
    metadata = {"tags": list(cell.tags)} if cell.tags else {}
    if cell.kind == "markdown":
        text = resolve_links(cell, anchors)
        if identity := cell.role("hint"):
            text = folded(f"Hint {(n := identity[-1])}: {HINT_TITLES[n]}", text)
        elif cell.role("quiz"):
            text = quiz(text)
        elif cell.role("reveal") and edition == "learner":
            text = reveal(lesson, cell, text)
        elif "instructor" in cell.tags:
            lines = f"**For teachers.** {text}".splitlines()
            text = "\n".join(f"> {line}".rstrip() for line in lines)
        elif "header" in cell.tags:
            note = SOLUTION_NOTE if edition == "solution" else ""
            text = f"{text}\n\n{REFERENCE}\n\n{note}".rstrip()
        if edition == "solution":  # one folder below the diagrams and the reference sheet
            text = BELOW.sub(r"](../", text)
        if stated := [list(one) for one in STATED.findall(cell.text)]:
            metadata["claims"] = stated  # for the gate: the text itself shows only the numbers
        if cell.role("reveal") and edition == "learner":
            metadata["jupyter"] = {"source_hidden": True}
            return nbformat.v4.new_code_cell(text, id=name, metadata=metadata)
        return nbformat.v4.new_markdown_cell(text, id=name, metadata=metadata)
    if "setup" in cell.tags:  # folded: a lesson begins with its question, not with its imports
        metadata["jupyter"] = {"source_hidden": True}
    text = cell.text
    if any(cell.role(role) for role in HIDING_ROLES):
        try:
            text = finished(text) if edition == "solution" else stub(text)
        except (SyntaxError, ValueError) as error:
            raise wrong("not Python", cell.place, error) from error
    return nbformat.v4.new_code_cell(text, id=name, metadata=metadata)


def refuse_leaks(lesson: Lesson, cells: list[nbformat.NotebookNode]) -> None:
    """Hints may quote a line of a solution; anything else that shows three in a row is an error."""
    teaching = [c for c in cells if "hint:" not in " ".join(c.metadata.get("tags", []))]
    texts = [[line.strip() for line in c.source.splitlines() if line.strip()] for c in teaching]
    shown = ["\n".join(["", *lines, ""]) for lines in texts]
    for cell in lesson.cells:
        hidden = hidden_lines(cell.text) if cell.role("answer") else []
        size = min(3, len(hidden))
        for start in range(len(hidden) - size + 1) if hidden else []:
            window = "\n".join(["", *hidden[start : start + size], ""])
            if len(window) - size >= 21 and any(window in text for text in shown):
                raise wrong("solution shown", cell.place, lesson.name, hidden[start])
