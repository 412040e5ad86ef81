"""Reads a lesson source (jupytext percent) into cells, and renders its markdown."""

import html
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jupytext

from annlib.course.lesson import PLACES

ROLES = ("exercise", "answer", "check", "hint", "predict", "quiz", "open")
PLAIN_TAGS = ("header", "parameters", "setup", "recap", "instructor", "slow", "gpu")
HIDING_ROLES = ("answer", "predict")
MARKDOWN_TAGS = ("exercise", "hint", "quiz", "open", "header", "recap", "instructor")
TAG = re.compile(r"(exercise|answer|check|predict|quiz|open):[a-z0-9-]+|hint:[a-z0-9-]+:[123]")
HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
FENCED = re.compile(r"^(```|~~~).*?^\1 *$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"^ *# solution$|  # solution$", re.MULTILINE)
ALMOST_MARKER = re.compile(r"^.*#[ \t]*solutions?[ \t]*:?[ \t]*$", re.MULTILINE | re.IGNORECASE)


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


def headings(markdown: str) -> list[tuple[int, str]]:
    """(level, title) of each heading outside fenced code."""
    return [(len(m[1]), m[2]) for m in HEADING.finditer(FENCED.sub("", markdown))]


def read(source: Path) -> Lesson:
    """The lesson in a percent source, its tags checked: a misspelt one could show a solution."""
    text = source.read_text(encoding="utf-8")
    if not text.startswith("# %%"):
        raise ValueError(
            f"{source.name} starts with {text[:20]!r}. A lesson starts with '# %%' and has no YAML "
            "header, so that every machine builds the same notebook. Delete what is above."
        )
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
            raise ValueError(
                f"{place} and {cells[slug].place} are both called {slug!r}: a tag names one cell."
            )
        cells[slug] = Cell(node.cell_type, node.source, tags, section, slug, place)
        check_cell(cells[slug])
    return Lesson(source.stem, list(cells.values()))


def check_cell(cell: Cell) -> None:
    """Refuse unknown tags, tags on the wrong kind of cell, and markers outside answers."""
    for tag in cell.tags:
        if tag not in PLAIN_TAGS and not TAG.fullmatch(tag):
            raise ValueError(
                f"{cell.place}: unknown tag {tag!r}. A misspelt tag could show a solution. "
                f"Known: {', '.join(PLAIN_TAGS)} and {', '.join(f'{role}:id' for role in ROLES)} "
                "(hint:id:1 to 3; ids of a-z, 0-9 and hyphens)."
            )
        expected = "markdown" if tag.partition(":")[0] in MARKDOWN_TAGS else "code"
        if cell.kind != expected:
            place = cell.place
            raise ValueError(f"{place}: {tag!r} belongs on a {expected} cell, not {cell.kind}.")
    hides = any(cell.role(role) for role in HIDING_ROLES)
    exact, almost = len(MARKER.findall(cell.text)), len(ALMOST_MARKER.findall(cell.text))
    if cell.kind == "code" and (exact != almost or bool(exact) != hides):
        raise ValueError(
            f"{cell.place}: {exact} '# solution' markers ({almost} lines look like one) in a cell "
            f"tagged {list(cell.tags)}. Learners would see the answer, or nothing to fill in. "
            "Write '# solution' on its own line, or two blanks before it after an assignment, and "
            "only in cells tagged answer:id or predict:id."
        )


# How much a hint gives away, not what.
HINT_TITLES = {"1": "the idea", "2": "the tool", "3": "the first line"}
LINK = re.compile(r"\]\((exercise|quiz|predict):([a-z0-9-]+)\)")
NUMBER_LINK = re.compile(r"\[([^\]]+)\]\((claim|given|cited|result):([a-z0-9_./-]+)\)")
OPTION = re.compile(r"^- \[([ x])\] (.+)\n?((?:  .+\n?)*)", re.MULTILINE)
EMPHASIS = ((r"`(.+?)`", "code"), (r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"))


class Option(NamedTuple):
    right: bool
    text: str
    explanation: str  # why it is correct or not


def folded(summary: str, body: str) -> str:
    """Markdown that shows `summary` (HTML) and unfolds `body`; the blank lines keep it markdown."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def quiz_options(text: str) -> list[Option]:
    """The options of a quiz cell: `- [ ] text`, then the explanation indented by two blanks."""
    found = OPTION.finditer(text)
    return [Option(m[1] == "x", m[2].strip(), " ".join(m[3].split())) for m in found]


def quiz(text: str) -> str:
    """The question, and each option folding its own explanation: choosing is opening."""
    first = OPTION.search(text)
    parts = [text[: first.start()].strip() if first else text, "Choose, then open your choice."]
    for letter, option in zip("ABCDEFGH", quiz_options(text), strict=False):
        summary = html.escape(option.text, quote=False)
        for pattern, tag in EMPHASIS:  # as HTML: markdown is not read inside a <summary>
            summary = re.sub(pattern, rf"<{tag}>\1</{tag}>", summary)
        said = f"**{'Yes.' if option.right else 'No.'}** {option.explanation}"
        parts.append(folded(f"{letter}. {summary}", said))
    return "\n\n".join(parts)


def resolve_links(cell: Cell, anchors: dict[str, str]) -> str:
    """[text](exercise:id) becomes a link to its heading, and [12.3](claim:name) becomes 12.3.

    A number that others published also says where.
    """
    slugs = {":".join(found) for found in LINK.findall(cell.text)}
    if unknown := sorted(slugs - anchors.keys()):
        raise ValueError(
            f"{cell.place} links to {unknown[0]}, which this lesson does not have, so the link "
            f"would lead nowhere. Known: {', '.join(sorted(anchors)) or 'none'}."
        )
    text = LINK.sub(lambda match: f"](#{anchors[f'{match[1]}:{match[2]}']})", cell.text)
    cited = {key for _, kind, key in NUMBER_LINK.findall(text) if kind == "cited"}
    if unknown := sorted(cited - PLACES.keys()):
        raise ValueError(
            f"{cell.place} cites {unknown[0]!r}, which annlib/course/lesson.py does not have, so "
            f"readers could not look it up. Known: {', '.join(sorted(PLACES))}."
        )
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
