"""The tables for a teacher: grades.csv, a report on the class, and points for late work."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from math import ceil, isfinite
from pathlib import Path

from annlib.grader.judge import Assignment, Result

PERCENT_A_DAY, MOST_DAYS, BINS = 10, 3, 10
LONGEST_CELL = 1000  # letters: what students hand in may become part of a note
RISKY = (  # a spreadsheet would take the cell for a formula; full-width signs count there, too
    *("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"),
    "'",  # hides the sign after it; another one shows that it was there
)


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
                    f"{path}, line {number}: {','.join(line)!r} is not about a student who handed "
                    "in, or has no days; points would stay that should not. Write lines like "
                    "`anna,1.5`, without a heading, names as in grades.csv."
                )
            try:
                days[student] = float(line[1])
            except ValueError:
                days[student] = float("nan")
            if not isfinite(days[student]):
                raise ValueError(
                    f"{path}, line {number}: {line[1]!r} is not a number of days; write 1 or 1.5."
                )
    return days


def safe_cell(value: object) -> str:
    """Text that a spreadsheet shows, but never calculates, whatever sign ends a cell there."""
    text = "".join(c if c.isprintable() else " " for c in str(value)).replace(";", ",")
    return f"'{text}" if text.lstrip().startswith(RISKY) else text


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """With a byte order mark, so that spreadsheets read names correctly."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows(map(safe_cell, row) for row in rows)
    return "\ufeff" + file.getvalue()


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


def grades_csv(
    assignment: Assignment,
    results: Sequence[Result],
    days: Mapping[str, float],
    by_hand: Mapping[tuple[str, str], float],
) -> str:
    """One line a student.  days: student -> days late; those who are not in it were in time

    by_hand: (student, open question) -> points; a sum is given once all of a student's are read
    """
    out_of = sum(task.points for task in assignment.tasks)
    heads = ["student", f"graded by tests (of {out_of:g})", "days late", "after lateness"]
    heads += [f"with questions (of {assignment.points:g})"]
    heads += [f"{task.name} (of {task.points:g})" for task in assignment.tasks]
    heads += [f"{q.name} (of {q.points:g}, by hand)" for q in assignment.questions]
    rows = [[*heads, "note"]]
    for result in sorted(results):
        late = days.get(result.student, 0)
        given = [by_hand.get((result.student, question.name)) for question in assignment.questions]
        both = None if None in given else (result.points + sum(given)) * share_kept(late)
        points = [result.points, late, result.points * share_kept(late), both]
        points += [result.points_of(task.name) for task in assignment.tasks] + given
        cells = ["" if one is None else f"{one:g}" for one in points]
        rows.append([result.student, *cells, note_on(result)])
    return csv_text(rows)


def histogram(points: Sequence[float], most: float) -> list[int]:
    """How many students are in each tenth of the points; full marks belong to the last."""
    tenths = Counter(min(int(BINS * value / most), BINS - 1) for value in points)
    return [tenths[number] for number in range(BINS)]


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object], tag: str, end: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(one))}</{end}>" for one in cells) + "</tr>"

    head, body = line(heads, 'th scope="col"', "th"), [line(row, "td", "td") for row in rows]
    return f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


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


def class_report(assignment: Assignment, results: Sequence[Result]) -> str:
    """Histogram, share of each check that was passed, and how often each misconception occurs."""
    most = sum(task.points for task in assignment.tasks)
    graded = [result for result in results if not result.problem]
    marks = [mark for result in graded for mark in result.marks]
    passed = Counter((mark.task, mark.check) for mark in marks if not mark.misconception)
    checks = dict.fromkeys((mark.task, mark.check) for mark in marks)
    slips = Counter(  # each once a student
        one for r in graded for one in {(m.task, m.misconception) for m in r.marks} if one[1]
    )
    same: dict[str, list[str]] = {}  # what was handed in beside the notebook, and who
    for result in sorted(results):
        same.setdefault(result.note, []).append(result.student)
    tenths = histogram([result.points for result in graded], most)
    sections = {
        "Points": (
            ("points", "students", ""),
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
            ("task", "misconception", "students"),
            [(*key, n) for key, n in sorted(slips.items(), key=lambda item: (-item[1], item[0]))],
        ),
        "The same note": (
            ("note", "students"),
            [(note, ", ".join(who)) for note, who in same.items() if note and len(who) > 1],
        ),
        "To look at": (
            ("student", "note"),
            [(result.student, note_on(result)) for result in sorted(results) if note_on(result)],
        ),
    }
    body = (
        f"<h1>{escape(assignment.name)}: {escape(assignment.title)}</h1>"
        f"<p>{len(results)} submissions, {len(graded)} of them could be run.</p>"
        + "".join(f"<h2>{name}</h2>{table(*found)}" for name, found in sections.items())
    )
    return page(f"{assignment.name}, report on the class", body)
