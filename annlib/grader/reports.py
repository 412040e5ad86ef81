"""The table and the pages for a teacher: grades.csv, a report on the class, a list of pages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil
from statistics import mean, median

from annlib.grader.gradebook import Gradebook, Total
from annlib.grader.judge import Assignment, Result
from annlib.grader.tables import csv_text, safe_cell, safe_name

BINS = 10
LONGEST_CELL = 1000  # letters: what students hand in may become part of a note
STYLE = """
body{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;
background:#fff;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #999;padding:.2rem .6rem;text-align:left;vertical-align:top}
th[scope=row]{font-weight:normal}
@media(min-width:45rem){th[scope=row]{min-width:10rem}td{min-width:5.5rem}
th[scope=col]{overflow-wrap:normal}}
pre{white-space:pre-wrap;background:#f4f4f4;padding:.6rem}img{max-width:100%}
article{border-left:4px solid #999;padding-left:1rem;margin:1.5rem 0}"""


def note_on(result: Result) -> str:
    """What a teacher should know besides the points; empty if all went well."""
    if result.problem:
        ended = f" ({result.ended})" if result.ended != "not run" else ""
        return f"{result.problem}{ended}"[:LONGEST_CELL]
    cells = ", ".join(str(failure["cell"]) for failure in result.failures)
    stopped = f"The notebook was stopped: {result.ended}" if result.ended != "finished" else ""
    if not stopped and not result.started:
        stopped = "not started"
    parts = (stopped, cells and not stopped and f"cells that failed: {cells}", result.note)
    return ". ".join(filter(None, parts))[:LONGEST_CELL]


def number(points: float | None) -> str:
    return "" if points is None else f"{points:g}"


def grades_csv(
    assignment: Assignment,
    results: Sequence[Result],
    totals: Mapping[str, Total],
    book: Gradebook,
) -> str:
    """One line a student, with name and group where there is a roster; those missing at the end.

    Tasks have the points that count; a sum is given once all of a student's answers are read.
    """
    out_of = sum(task.points for task in assignment.tasks)
    heads = ["student", *(["name", "group"] if book.roster else [])]
    heads += [f"graded by tests (of {out_of:g})", "days late", "after lateness"]
    heads += [f"with questions (of {assignment.points:g})"]
    heads += [f"{task.name} (of {task.points:g})" for task in assignment.tasks]
    heads += [f"{q.name} (of {q.points:g}, by hand)" for q in assignment.questions]
    rows = [[*heads, "note"]]
    for result in sorted(results):
        one = totals[result.student]
        tasks = sum(one.parts[task.name] for task in assignment.tasks)
        points = [result.points, one.days, tasks * one.kept, one.whole, *one.parts.values()]
        by_hand = [
            f"{task.name} by hand, {result.points_of(task.name):g} by tests"
            for task in assignment.tasks
            if task.name in one.decided
        ]
        note = ". ".join(filter(None, (note_on(result), *by_hand)))
        rows.append([*known(book, result.student), *map(number, points), note])
    blank = [""] * (len(heads) - 3)
    rows += [[*known(book, one), *blank, "nothing handed in"] for one in book.missing(results)]
    return csv_text([safe_name(row[0]), *map(safe_cell, row[1:])] for row in rows)


def known(book: Gradebook, student: str) -> list[str]:
    """The first cells of a student's line."""
    one = book.roster.get(student)
    about = [one.name, one.group] if one else ["", ""]
    return [student, *(about if book.roster else [])]


def histogram(points: Sequence[float], most: float) -> list[int]:
    """How many students are in each tenth of the points; full marks belong to the last."""
    tenths = Counter(max(0, min(int(BINS * value / (most or 1)), BINS - 1)) for value in points)
    return [tenths[number] for number in range(BINS)]


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], links: bool = False) -> str:
    """links: the last cell of a row is an address, of its first"""

    def line(first: str, rest: Sequence[object]) -> str:
        cells = "".join(f"<td>{escape(str(one))}</td>" for one in rest)
        return f'<tr><th scope="row">{first}</th>{cells}</tr>'

    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        line(f'<a href="{escape(row[-1])}">{escape(str(row[0]))}</a>', row[1:-1])
        if links
        else line(escape(str(row[0])), row[1:])
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page(title: str, body: str) -> str:
    """A page that loads nothing and runs nothing; images stand in it."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def summary(points: Sequence[float]) -> list[str]:
    """How many, mean, median, lowest and highest."""
    if not points:
        return ["0", *["-"] * 4]
    found = (mean(points), median(points), min(points), max(points))
    return [str(len(points)), *(f"{one:.3g}" for one in found)]


def class_report(
    assignment: Assignment,
    results: Sequence[Result],
    totals: Mapping[str, Total],
    book: Gradebook,
) -> str:
    """Points, checks and who passed them, misconceptions and who has them, what to look at."""
    most = sum(task.points for task in assignment.tasks)
    graded = [result for result in results if not result.problem]
    marks = [mark for result in graded for mark in result.marks]
    passed = Counter((mark.task, mark.check) for mark in marks if not mark.misconception)
    checks = dict.fromkeys((mark.task, mark.check) for mark in marks)
    slips: dict[tuple[str, str], dict[str, None]] = {}  # each once a student
    for result in sorted(graded):
        for one in result.marks:
            if one.misconception:
                slips.setdefault((one.task, one.misconception), {})[book.name(result.student)] = (
                    None
                )
    same: dict[str, list[str]] = {}  # what was handed in beside the notebook, and who
    for result in sorted(results):
        same.setdefault(result.files_note, []).append(book.name(result.student))
    groups: dict[str, list[Result]] = {}
    for result in graded:
        student = book.roster.get(result.student)
        groups.setdefault(student.group if student else "", []).append(result)
    rows = [("by tests", *summary([result.points for result in graded]))]
    rows += [
        (f"by tests, group {group}", *summary([result.points for result in some]))
        for group, some in sorted(groups.items())
        if group
    ]
    sums = [one.whole for one in totals.values() if one.whole is not None]
    rows.append(("sums, all read, after lateness", *summary(sums)))
    tenths = histogram([result.points for result in graded], most)
    look = [(book.name(r.student), note_on(r)) for r in sorted(results) if note_on(r)]
    look += [(book.name(one), f"{task}: {why}") for (one, task), why in book.requests.items()]
    look += [("a list", one) for one in book.unknown]
    look += [(book.name(one), "nothing handed in") for one in book.missing(results)]
    sections = {
        "Points": (("points", "students", "mean", "median", "lowest", "highest"), rows),
        "Distribution": (
            ("points by tests", "students", "share"),
            [
                (
                    f"{most * n / BINS:g} to {most * (n + 1) / BINS:g}",
                    count,
                    "█" * ceil(40 * count / max(*tenths, 1)),
                )
                for n, count in enumerate(tenths)
            ],
        ),
        "Checks": (
            ("task", "check", "passed by"),
            [(*key, f"{passed[key]}/{len(graded)}") for key in checks],
        ),
        "Misconceptions": (
            ("task", "misconception", "students", "who"),
            [
                (*key, len(who), ", ".join(who))
                for key, who in sorted(slips.items(), key=lambda item: (-len(item[1]), item[0]))
            ],
        ),
        "Similar work": (
            ("student", "student", "what", "how much"),
            [(book.name(a), book.name(b), *rest) for a, b, *rest in book.similar],
        ),
        "The same note": (
            ("note", "students"),
            [(note, ", ".join(who)) for note, who in same.items() if note and len(who) > 1],
        ),
        "To look at": (("student", "note"), look),
    }
    body = (
        f"<h1>{escape(assignment.name)}: {escape(assignment.title)}</h1>"
        f"<p>{len(results)} submissions, {len(graded)} of them could be run.</p>"
        + "".join(
            f"<h2>{name}</h2>{table(heads, rows) if rows else '<p>Nothing.</p>'}"
            for name, (heads, rows) in sections.items()
        )
        + "<p>Similar work is for a person to judge: small tasks have few solutions, and people "
        "who have worked together may have been allowed to.</p>"
    )
    return page(f"{assignment.name}, report on the class", body)
