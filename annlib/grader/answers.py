"""answers.html: answers to open questions below one another, for the person who reads them.

Answers come from strangers: of their markdown, no HTML stays, and no address that runs something.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape

from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from annlib.grader.by_hand import TEMPLATE
from annlib.grader.gradebook import Gradebook
from annlib.grader.judge import Assignment, Result
from annlib.grader.reports import page
from annlib.grader.roster import code_of


class Renderer(IPythonRenderer):
    """Headings are not those of the page; images are those that were handed in."""

    def __init__(self, images: Mapping[str, str]):
        super().__init__(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)
        self.handed_in = images

    def heading(self, text: str, level: int, **attributes: object) -> str:
        return f"<p><strong>{text}</strong></p>"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if url not in self.handed_in:
            return f"(an image that was not handed in: {escape(url[:200])})"
        words = escape(unescape(re.sub("<[^>]*>", "", text)))
        return f'<img src="data:image/png;base64,{self.handed_in[url]}" alt="{words}">'


def rendered(markdown: str, images: Mapping[str, str]) -> str:
    """Markdown of a stranger as HTML; as plain text where it cannot be read."""
    try:
        return MarkdownWithMath(renderer=Renderer(images)).render(markdown)
    except (RecursionError, ValueError):
        return f"<pre>{escape(markdown)}</pre>"


def answers_page(assignment: Assignment, results: Sequence[Result], book: Gradebook) -> str:
    """All answers to each question; under codes instead of names where the book says so."""

    def called(result: Result) -> str:
        return code_of(book.key, result.student) if book.anonymous else book.name(result.student)

    def masked(text: str, student: str) -> str:
        """Without what leads to the student, as far as the roster knows it."""
        one = book.roster.get(student)
        words = [student, *([one.name, one.number] if one else [])] if book.anonymous else []
        for word in filter(None, words):
            text = re.sub(re.escape(word), "[name]", text, flags=re.IGNORECASE)
        return text

    body = f"<h1>{escape(assignment.name)}: answers to the open questions</h1>"
    for question in assignment.questions:
        rubric = "".join(f"<li>{escape(c)}: {p:g}</li>" for c, p in question.rubric.items())
        body += f"<h2>{escape(question.title)} ({question.points:g})</h2><ol>{rubric}</ol>"
        body += "<p>In by_hand.csv: one number, or one for each line above, like "
        body += f"{'+'.join('0' for _ in question.rubric)}.</p>"
        for result in sorted(results, key=called):
            text = result.open_answers.get(question.name, "(no cell with the answer was found)")
            unchanged = "<p>The template is unchanged.</p>" if text == TEMPLATE else ""
            note = masked(result.note, result.student)
            why = book.requests.get((result.student, question.name))
            body += (
                f"<article><h3>{escape(called(result))}</h3>"
                + (f"<p>{escape(note)}</p>" if note else "")
                + (f"<p>Asked to look again: {escape(why)}</p>" if why else "")
                + unchanged
                + rendered(masked(text, result.student), result.images)
                + "</article>"
            )
    return page(f"{assignment.name}, answers", body)
