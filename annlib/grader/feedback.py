"""Pages for people: feedback for one student, and all answers for the person who reads them.

Feedback has points and advice; no tests, no answers of ours, no other students.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape
from mimetypes import guess_type

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from annlib.grader.by_hand import TEMPLATE, counts
from annlib.grader.gradebook import Gradebook, Total
from annlib.grader.hidden_checks import NOT_STARTED, shown
from annlib.grader.judge import Assignment, Result
from annlib.grader.roster import code_of

NOT_FOUND = "(no cell with the answer was found)"
PAGES = Environment(  # everything that is put into a page is escaped
    loader=PackageLoader("annlib.grader", "pages"), autoescape=True, undefined=StrictUndefined
)
PAGES.filters["g"] = "{:g}".format


def page(template: str, title: str, **values: object) -> str:
    return PAGES.get_template(template).render(title=title, **values)


class Renderer(IPythonRenderer):
    """Headings are not those of the page; images are those that were handed in."""

    def __init__(self, images: Mapping[str, str]):
        super().__init__(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)
        self.handed_in = images

    def heading(self, text: str, level: int, **attributes: object) -> str:
        return f"<p><strong>{text}</strong></p>"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        kind, _ = guess_type(url) if url.startswith("attachment:") else (None, None)
        if url not in self.handed_in and kind not in (None, "image/png", "image/jpeg"):
            return f"(an image of a kind that is not shown: {kind})"
        if url not in self.handed_in:
            return f"(an image that is not in the notebook, or is too large: {escape(url[:200])})"
        words = escape(unescape(re.sub("<[^>]*>", "", text)))
        kind = "jpeg" if self.handed_in[url].startswith("/9j/") else "png"
        return f'<img src="data:image/{kind};base64,{self.handed_in[url]}" alt="{words}">'


def rendered(markdown: str, images: Mapping[str, str]) -> Markup:
    """A stranger's Markdown as HTML, without their HTML and addresses that run; else plain text."""
    try:
        return Markup(MarkdownWithMath(renderer=Renderer(images)).render(markdown))
    except (RecursionError, ValueError):
        return Markup("<pre>{}</pre>").format(markdown)


def feedback(assignment: Assignment, result: Result, total: Total, book: Gradebook) -> str:
    """The page of one student; of the book, only what is about this one is shown."""
    tasks, questions, said = [], [], {}
    for part in (*assignment.tasks, *assignment.questions):
        key = (result.student, part.name)
        given = book.given.get(key)
        given = given if given and counts(given, result, part.name) else None
        said[part.name] = (book.requests.get(key), given and given.remark)
        if part in assignment.tasks:  # points of each check, then each misconception once
            marks = [mark for mark in result.marks if mark.task == part.name]
            got = "{:g} of {:g}".format
            rows = [(m.check, got(m.points, m.out_of), m.misconception or "✓") for m in marks]
            most = sum(m.out_of for m in marks)
            advice = {m.misconception: m.explanation for m in marks if m.misconception}
            if set(advice) == {NOT_STARTED}:
                rows = [("all", f"0 of {most:g}", NOT_STARTED)]
            tasks.append((part, most, rows, advice))
        else:
            read, most = total.parts[part.name], f"{part.points:g}"
            each = map("{:g}".format, given.parts) if given and given.parts else "-" * 99
            rubric = zip(part.rubric, each, part.rubric.values(), strict=False)
            criteria = [(*one, f"{points:g}") for *one, points in rubric]
            text = rendered(result.open_answers.get(part.name, NOT_FOUND), result.images)
            points = f"{most} points" if read is None else f"{read:g} of {most}"
            questions.append((part, points, criteria, text))
    name, out_of = book.name(result.student), sum(task.points for task in assignment.tasks)
    # by number and class of error: messages could hold what was asked
    failures = [(failure["cell"], shown(failure["type"])) for failure in result.failures]
    facts = {"assignment": assignment, "result": result, "total": total, "said_of": said}
    facts |= {"tasks": tasks, "questions": questions, "failures": failures, "out_of": out_of}
    return page("feedback.html", f"{assignment.name}, {name}", name=name, **facts)


def answers_page(assignment: Assignment, results: Sequence[Result], book: Gradebook) -> str:
    """All answers to each question; under codes instead of names where the book says so."""

    def called(result: Result) -> str:
        return code_of(book.key, result.student) if book.anonymous else book.name(result.student)

    def masked(text: str, student: str) -> str:
        """Without the student's names and numbers; those of less than four digits may be others."""
        numbers = (student, book.roster[student].number) if student in book.roster else (student,)
        name = book.name(student)
        words = [name, *re.findall(r"\w{3,}", name), *(one for one in numbers if len(one) > 3)]
        for word in words if book.anonymous else ():
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "[name]", text, flags=re.IGNORECASE)
        return text

    def shown_of(result: Result, question: str) -> tuple:
        text, student = result.open_answers.get(question, NOT_FOUND), result.student
        note, why = masked(result.note, student), book.requests.get((student, question))
        answer = rendered(masked(text, student), result.images)
        return called(result), note, why, text == TEMPLATE, answer

    ordered = sorted(results, key=called)
    questions = [(q, [shown_of(one, q.name) for one in ordered]) for q in assignment.questions]
    title = f"{assignment.name}, answers"
    return page("answers.html", title, assignment=assignment, questions=questions)
