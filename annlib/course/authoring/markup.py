"""The markdown that learners read: folded hints and quiz options, notes for teachers, links."""

import html
import re
from typing import NamedTuple
from urllib.parse import quote

from annlib.course.authoring.source import Cell, Lesson, headings
from annlib.course.citations import PLACES

HINT_TITLES = {"1": "the idea", "2": "the tool", "3": "the first line"}
LINK = re.compile(r"\]\((exercise|quiz|predict):([a-z0-9-]+)\)")
NUMBER_LINK = re.compile(r"\[([^\]]+)\]\((claim|given|cited|result):([a-z0-9_./-]+)\)")
OPTION = re.compile(r"^- \[([ x])\] (.+)\n?((?:  .+\n?)*)", re.MULTILINE)
EMPHASIS = ((r"`(.+?)`", "code"), (r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"))


class Option(NamedTuple):
    """One answer of a quiz question, and why it is right or wrong."""

    right: bool
    text: str
    explanation: str


def folded(summary: str, body: str) -> str:
    """Markdown that shows `summary` (HTML) and unfolds `body`; the blank lines keep it markdown."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def hint(text: str, number: str) -> str:
    """A folded hint whose title says how much it gives away, not what."""
    return folded(f"Hint {number}: {HINT_TITLES[number]}", text)


def quiz_options(text: str) -> list[Option]:
    """The options of a quiz cell: `- [ ] text`, then the explanation indented by two blanks."""
    return [
        Option(m[1] == "x", m[2].strip(), " ".join(m[3].split())) for m in OPTION.finditer(text)
    ]


def quiz(text: str) -> str:
    """The question, and each option folding its own explanation: choosing is opening."""
    question = text[: OPTION.search(text).start()].strip() if OPTION.search(text) else text
    answers = [
        folded(
            f"{letter}. {inline_html(option.text)}",
            f"**{'Yes.' if option.right else 'No.'}** {option.explanation}",
        )
        for letter, option in zip("ABCDEFGH", quiz_options(text), strict=False)
    ]
    return "\n\n".join([question, "Choose, then open your choice.", *answers])


def inline_html(text: str) -> str:
    """Code, bold and italics as HTML, because markdown is not read inside a <summary>."""
    text = html.escape(text, quote=False)
    for pattern, tag in EMPHASIS:
        text = re.sub(pattern, rf"<{tag}>\1</{tag}>", text)
    return text


def teachers_note(text: str) -> str:
    """A quotation that is visibly not part of the lesson."""
    return "\n".join(f"> {line}".rstrip() for line in f"**For teachers.** {text}".splitlines())


def resolve_links(cell: Cell, anchors: dict[str, str]) -> str:
    """[text](exercise:id) becomes a link to the heading over that cell."""

    def target(match: re.Match) -> str:
        slug = f"{match[1]}:{match[2]}"
        if slug not in anchors:
            raise ValueError(
                f"{cell.place} links to {slug}, which this lesson does not have, so the link would "
                f"lead nowhere. Known: {', '.join(sorted(anchors)) or 'none'}."
            )
        return f"](#{anchors[slug]})"

    return LINK.sub(target, cell.text)


def resolve_numbers(text: str, place: str) -> str:
    """[12.3](claim:name) becomes 12.3; a number that others published also says where."""

    def shown(match: re.Match) -> str:
        number, kind, key = match.groups()
        if kind != "cited":
            return number
        if key not in PLACES:
            raise ValueError(
                f"{place} cites {key!r}, which annlib/course/citations.py does not have, so "
                f"readers could not look it up. Known: {', '.join(sorted(PLACES))}."
            )
        return f"{number} ({PLACES[key]})"

    return NUMBER_LINK.sub(shown, text)


def heading_anchors(lesson: Lesson) -> dict[str, str]:
    """{"exercise:weights": "Exercise-2.1:-Title"}: as JupyterLab and nbconvert make them."""
    anchor, anchors = "", {}
    for cell in lesson.cells:
        if cell.kind == "markdown" and (found := headings(cell.text)):
            anchor = quote(re.sub(r"[`*]", "", found[0][1]).replace(" ", "-"), safe=":,?'-.")
        if any(cell.role(role) for role in ("exercise", "quiz", "predict")):
            anchors[cell.slug] = anchor
    return anchors
