"""The tables for a teacher: grades.csv, a report on the class, and points for late work."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil, isfinite
from pathlib import Path

from annlib.course.assignments.base import Assignment
from annlib.grader.marking import Result

PERCENT_A_DAY, MOST_DAYS = 10, 3


def share_kept(days: float) -> float:
    """What is left of the points after so many days, each counted once begun."""
    begun = max(ceil(days), 0)
    return 0 if begun > MOST_DAYS else 1 - PERCENT_A_DAY * begun / 100


def read_days(path: Path, students: Collection[str]) -> dict[str, float]:
    """{student: days late} from lines `anna,1.5`; raises ValueError for lines that say nothing."""
    days = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, line in enumerate(csv.reader(file), 1):
            student = unicodedata.normalize("NFC", line[0].strip()) if line else ""
            if len(line) != 2 or student not in students:
                raise ValueError(
                    f"{path}, line {number}: {','.join(line)!r} names no student who handed in, or "
                    "no days; points would stay that should not. Write lines like `anna,1.5`, "
                    "without a heading, names as in grades.csv."
                )
            days[student] = days_in(line[1], f"{path}, line {number}")
    return days


def days_in(text: str, place: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = float("nan")
    if not isfinite(days):
        raise ValueError(f"{place}: {text!r} is no number of days; write 1 or 1.5.")
    return days


RISKY = (  # a spreadsheet would take the cell for a formula; full-width signs count there, too
    *("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"),
    "'",  # hides the sign after it; another one shows that it was there
)
BINS = 10


def safe_cell(value: object) -> str:
    """Text that a spreadsheet shows, but never calculates, whatever sign ends a cell there."""
    text = "".join(c if c.isprintable() else " " for c in str(value)).replace(";", ",")
    return f"'{text}" if text.lstrip().startswith(RISKY) else text


def note_on(result: Result) -> str:
    """What a teacher should know besides the points; empty if all went well."""
    if result.problem:
        return result.problem + (f" ({result.ended})" if result.ended != "not run" else "")
    if result.ended != "finished":
        return f"The notebook was stopped: {result.ended}."
    if not result.started:
        return "not started"
    numbers = ", ".join(str(failure["cell"]) for failure in result.failures[:10])
    return ". ".join(filter(None, (numbers and f"cells that failed: {numbers}", result.note)))


def grades_csv(
    assignment: Assignment,
    results: Sequence[Result],
    days: Mapping[str, float],
    by_hand: Mapping[tuple[str, str], float],
) -> str:
    """One line a student, with a byte order mark, so that spreadsheets read names rightly.

    days: student -> days late; those who are not in it were in time
    by_hand: (student, open question) -> points; a sum is given once all of a student's are read
    """
    tasks = [f"{task.name} (of {task.points:g})" for task in assignment.tasks]
    questions = [f"{q.name} (of {q.points:g}, by hand)" for q in assignment.questions]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    out_of = sum(task.points for task in assignment.tasks)
    heads = ["student", f"graded by tests (of {out_of:g})", "days late", "after lateness"]
    with_questions = f"with questions (of {assignment.points:g})"
    writer.writerow([*heads, with_questions, *tasks, *questions, "note"])
    for result in sorted(results):
        points = [f"{result.points_of(task.name):g}" for task in assignment.tasks]
        late = days.get(result.student, 0)
        read = [by_hand.get((result.student, question.name)) for question in assignment.questions]
        both = "" if None in read else f"{(result.points + sum(read)) * share_kept(late):g}"
        left = f"{result.points * share_kept(late):g}"
        row = [result.student, f"{result.points:g}", f"{late:g}", left, both, *points]
        answers = ("" if one is None else f"{one:g}" for one in read)
        writer.writerow(map(safe_cell, [*row, *answers, note_on(result)]))
    return "\ufeff" + file.getvalue()


def histogram(points: Sequence[float], most: float) -> list[int]:
    """How many students are in each tenth of the points; full marks belong to the last."""
    counts = [0] * BINS
    for value in points:
        counts[min(int(BINS * value / most), BINS - 1)] += 1
    return counts


def bars(counts: Sequence[int], most: float) -> str:
    """The histogram as an SVG picture with a description: how many students are in each tenth."""
    highest = max(max(counts), 1)
    edges = [i * most / BINS for i in range(BINS + 1)]
    spans = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    said = ", ".join(
        f"{span} points: {count}" for span, count in zip(spans, counts, strict=True) if count
    )
    shapes = "".join(
        bar(60 * i, 100 * count / highest, span, count)
        for i, (span, count) in enumerate(zip(spans, counts, strict=True))
    )
    return (
        f'<svg viewBox="0 0 {60 * BINS} 160" width="720" role="img" '
        f'aria-label="Students by points. {escape(said)}">{shapes}'
        f'<text x="{30 * BINS}" y="155" font-size="12" text-anchor="middle">'
        "points; above the bars, students</text></svg>"
    )


def bar(left: float, height: float, span: str, count: int) -> str:
    """One bar of the histogram with its number above and its points below."""
    middle, number = left + 30, count or ""
    return (
        f'<rect x="{left + 4}" y="{120 - height:.1f}" width="52" height="{height:.1f}" '
        f'fill="#0072b2"/><text x="{middle}" y="{115 - height:.1f}" font-size="12" '
        f'text-anchor="middle">{number}</text><text x="{middle}" y="135" font-size="10" '
        f'text-anchor="middle">{span}</text>'
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(str(one))}</th>' for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def class_report(assignment: Assignment, results: Sequence[Result]) -> str:
    """Histogram, share of each check that was passed, and how often each misconception occurs."""
    most = sum(task.points for task in assignment.tasks)
    graded = [result for result in results if not result.problem]
    marks = [mark for result in graded for mark in result.marks]
    passed = Counter((mark.task, mark.check) for mark in marks if not mark.misconception)
    checks = list(dict.fromkeys((mark.task, mark.check) for mark in marks))
    slips = Counter((m.task, m.misconception) for r in graded for m in distinct(r))
    notes = [(r.student, note_on(r)) for r in sorted(results) if note_on(r)]
    parts = [
        f"<h1>{escape(assignment.name)}: {escape(assignment.title)}</h1>",
        f"<p>{len(results)} submissions, {len(graded)} of them could be run.</p>",
        "<h2>Points</h2>",
        bars(histogram([r.points for r in graded], most), most),
        "<h2>Checks</h2>",
        table(
            ("task", "check", "passed by"),
            [(*key, f"{passed[key]}/{len(graded)}") for key in checks],
        ),
        "<h2>Misconceptions</h2>",
        table(
            ("task", "misconception", "students"),
            [(*key, n) for key, n in sorted(slips.items(), key=lambda item: (-item[1], item[0]))],
        ),
        "<h2>Alike</h2>",
        table(("what was handed in beside the notebook", "students"), alike(results)),
        "<h2>To look at</h2>",
        table(("student", "note"), notes),
    ]
    return page(f"{assignment.name}, report on the class", "".join(parts))


def alike(results: Sequence[Result]) -> list[tuple[str, str]]:
    """What several have handed in beside their notebooks, and who."""
    students: dict[str, list[str]] = {}
    for result in sorted(results):
        students.setdefault(result.note, []).append(result.student)
    return [(note, ", ".join(who)) for note, who in students.items() if note and len(who) > 1]


def distinct(result: Result) -> list:
    """The marks of a student with each misconception of a task once."""
    return list({(m.task, m.misconception): m for m in result.marks if m.misconception}.values())


def page(title: str, body: str) -> str:
    """A page that loads nothing and runs nothing."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>body{{font:1rem/1.5 sans-serif;max-width:50rem;"
        "margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}td,th{border-bottom:1px "
        "solid #999;padding:.2rem .8rem;text-align:left}pre{white-space:pre-wrap}</style></head>"
        f"<body>{body}</body></html>\n"
    )
