"""The table and the pages for a teacher: grades.csv, a report on the class, a list of pages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from statistics import mean, median

from annlib.grader.feedback import page
from annlib.grader.gradebook import Gradebook, Total
from annlib.grader.hidden_checks import shown
from annlib.grader.judge import Assignment, Result
from annlib.grader.tables import csv_text, safe_cell, safe_name

BINS = 10
LONGEST_CELL = 1000  # letters: what students hand in may become part of a note


def note_on(result: Result) -> str:
    """What a teacher should know besides the points; empty if all went well."""
    if result.problem:
        ended = f" ({result.ended})" if result.ended != "not run" else ""
        return f"{result.problem}{ended}"[:LONGEST_CELL]
    cells = ", ".join(f"{one['cell']} ({shown(one['type'])})" for one in result.failures)
    stopped = f"The notebook was stopped: {result.ended}" if result.ended != "finished" else ""
    if not stopped and not result.started:
        stopped = "not started"
    parts = (stopped, cells and not stopped and f"cells that failed: {cells}", result.note)
    return ". ".join(filter(None, parts))[:LONGEST_CELL]


def number(points: float | None) -> str:
    return "" if points is None else f"{points:g}"


def grades_csv(
    assignment: Assignment, results: Sequence[Result], totals: Mapping[str, Total], book: Gradebook
) -> str:
    """One line a student: the points that count, and the sum once all answers are read."""
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
        decided = [task.name for task in assignment.tasks if task.name in one.decided]
        by_hand = [f"{n} by hand, {result.points_of(n):g} by tests" for n in decided]
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


def summary(points: Sequence[float]) -> list[str]:
    """How many, mean, median, lowest and highest."""
    if not points:
        return ["0", *["-"] * 4]
    found = (mean(points), median(points), min(points), max(points))
    return [str(len(points)), *(f"{one:.3g}" for one in found)]


def class_report(
    assignment: Assignment, results: Sequence[Result], totals: Mapping[str, Total], book: Gradebook
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
                slips.setdefault((one.task, one.misconception), {})[result.student] = None
    same: dict[str, list[str]] = {}  # what was handed in beside the notebook, and who
    for result in sorted(results):
        same.setdefault(result.files_note, []).append(book.name(result.student))
    groups: dict[str, list[float]] = {}
    for result in graded:
        student = book.roster.get(result.student)
        groups.setdefault(student.group if student else "", []).append(result.points)
    rows = [("by tests", *summary([result.points for result in graded]))]
    rows += [(f"by tests, group {one}", *summary(groups[one])) for one in sorted(groups) if one]
    sums = [one.whole for one in totals.values() if one.whole is not None]
    rows.append(("sums, all read, after lateness", *summary(sums)))
    tenths = histogram([result.points for result in graded], most)
    bars = ["█" * ceil(40 * count / max(*tenths, 1)) for count in tenths]
    ends = [f"{most * n / BINS:g} to {most * (n + 1) / BINS:g}" for n in range(len(tenths))]
    made = sorted(slips.items(), key=lambda item: (-len(item[1]), item[0]))
    mistakes = [(*key, len(who), ", ".join(map(book.name, who))) for key, who in made]
    similar = [(book.name(a), book.name(b), *rest) for a, b, *rest in book.similar]
    shared = [(note, ", ".join(who)) for note, who in same.items() if note and len(who) > 1]
    look = [(book.name(r.student), note_on(r)) for r in sorted(results) if note_on(r)]
    open_requests = [(key, why) for key, why in book.requests.items() if key not in book.given]
    look += [(book.name(one), f"asks about {task}: {why}") for (one, task), why in open_requests]
    look += [("a list", one) for one in book.unknown]
    look += [(book.name(one), "nothing handed in") for one in book.missing(results)]
    tables = {
        "Points": ("points, students, mean, median, lowest, highest", rows),
        "Distribution": ("points by tests, students, share", zip(ends, tenths, bars, strict=True)),
        "Checks": ("task, check, passed by", [(*k, f"{passed[k]}/{len(graded)}") for k in checks]),
        "Misconceptions": ("task, misconception, students, who", mistakes),
        "Similar work": ("student, student, what, how much", similar),
        "Files with the same note": ("note, students", shared),
        "To look at": ("student, note", look),
    }
    sections = {name: (head.split(", "), list(some)) for name, (head, some) in tables.items()}
    facts = {"assignment": assignment, "results": results, "graded": graded, "sections": sections}
    return page("report.html", f"{assignment.name}, report on the class", **facts)
