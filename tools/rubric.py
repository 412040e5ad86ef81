"""Write notebooks/RUBRIC.md: each lesson against sixteen points.

    python -m tools.rubric      write the table, print what is missing; exit 1 if anything is

The lint decides some points, a person the others. notebooks/rubric.json holds the judgements:
{"04_pyramid_sampling": {"R7": {"score": 2, "cell": "...", "evidence": "..."}}}. The table is never
edited by hand.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from annlib.course.authoring import Lesson, read, sources
from tools.check_lessons import findings_by_point

POINTS = {
    "R1": "Objectives are testable",
    "R2": "Contract at the top",
    "R3": "A question before an answer",
    "R4": "Predict, then run",
    "R5": "One new idea per section",
    "R6": "Maths, code, figure agree",
    "R7": "Interaction has a job",
    "R8": "Interaction is reachable",
    "R9": "Exercises are calibrated",
    "R10": "Help comes in steps",
    "R11": "The check teaches",
    "R12": "Checks cannot be fooled",
    "R13": "Numbers are true",
    "R14": "Honest about limits",
    "R15": "Ends with retrieval",
    "R16": "Teachable by someone else",
}
JUDGED = ("R3", "R4", "R6", "R7", "R11", "R14", "R16")  # by a person, from 0 to 2
ROOT = Path(__file__).resolve().parents[1]
FULL = 2
PASS = 0.8
FOUND_BY = {
    "R4": "lint: two predictions or more, before the answer; their quality by a person",
    "R6": "lint: asserts; the agreement by a person",
    "R7": "lint: two widgets or more, with things to try; their job by a person",
    "R16": "lint: instructor notes with minutes; their use by a person",
    "R1": "lint: verbs, links",
    "R2": "lint: header, parameters; gate: time",
    "R5": "lint: lines of a cell, words of a section",
    "R8": "lint: palette, headings; gates: alt text, widgets; browser tests: keyboard",
    "R9": "lint: fields of an exercise",
    "R10": "lint: three hints, folded",
    "R12": "tests/course/test_exercises.py: five wrong answers or more each, with new inputs",
    "R13": "lint: no number without a source; gate: claims",
    "R15": "lint: quiz, recap, links",
}


class Judgement(NamedTuple):
    """One point of one lesson: 0 (missing) to 2 (met), where to see it, and what is seen there."""

    score: int
    cell: str
    evidence: str


Judgements = dict[str, dict[str, Judgement]]


def read_judgements(root: Path) -> Judgements:
    """{lesson: {point: judgement}} from notebooks/rubric.json; empty if nobody has judged yet."""
    path = root / "notebooks/rubric.json"
    raw = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        lesson: {point: Judgement(**one) for point, one in points.items()}
        for lesson, points in raw.items()
    }


def scores(source: Path, judged: dict[str, Judgement]) -> dict[str, int]:
    """{"R1": 2, ...}: 0 where the lint has findings, or a person should have judged but did not."""
    found = findings_by_point(source)
    found["R12"] = list(ungalleried(read(source), source.parents[2]))
    by_person = {point: judged[point].score if point in judged else 0 for point in JUDGED}
    return {point: 0 if found.get(point) else by_person.get(point, FULL) for point in POINTS}


def ungalleried(lesson: Lesson, root: Path) -> Iterator[str]:
    """Exercises whose checker is not tried on a gallery of wrong answers."""
    path = root / f"tests/course/exercises/lesson_{lesson.name[:2]}.py"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for name in lesson.with_role("check"):
        if f'"{name}"' not in text:
            yield f"{lesson.name}: {path.name} has no gallery of wrong answers for {name!r}."


def rubric_findings(root: Path) -> list[str]:
    """Points that nobody judged, that lean on no cell, or that are not met; and an old table."""
    judgements, findings = read_judgements(root), []
    for source in sources(root):
        judged = judgements.get(source.stem, {})
        slugs = {cell.slug for cell in read(source).cells}
        for point in JUDGED:
            if point not in judged:
                findings.append(f"{source.stem}: nobody has judged {point} ({POINTS[point]}).")
            elif judged[point].cell not in slugs:
                findings.append(
                    f"{source.stem}: the evidence for {point} is in {judged[point].cell!r}, which "
                    "the lesson does not have (any more): judge it again."
                )
        findings += [
            f"{source.stem}: {point} ({POINTS[point]}) scores 0."
            for point, score in scores(source, judged).items()
            if not score
        ]
        if (share := share_of(scores(source, judged))) < PASS:
            findings.append(f"{source.stem}: {share:.0%} of the rubric; a lesson needs {PASS:.0%}.")
    path = root / "notebooks/RUBRIC.md"
    if not path.exists() or path.read_text(encoding="utf-8") != rubric_page(root):
        findings.append("notebooks/RUBRIC.md is out of date: run `python tools/rubric.py`.")
    return findings


def share_of(points: dict[str, int]) -> float:
    """Of all that could be had."""
    return sum(points.values()) / (FULL * len(points))


def rubric_page(root: Path) -> str:
    """notebooks/RUBRIC.md: the table, what each point is decided by, and the evidence."""
    judgements, lessons = read_judgements(root), sources(root)
    head = f"| lesson | {' | '.join(POINTS)} | share |"
    rows = []
    for source in lessons:
        points = scores(source, judgements.get(source.stem, {}))
        cells = " | ".join(str(score) for score in points.values())
        rows.append(f"| {source.stem} | {cells} | {share_of(points):.0%} |")
    rule = "|---|" + ":-:|" * len(POINTS) + "--:|"
    means = [
        f"- **{point} {title}**: {FOUND_BY.get(point, 'judged by a person')}"
        for point, title in POINTS.items()
    ]
    parts = [INTRODUCTION, "\n".join([head, rule, *rows]), "\n".join(means)]
    parts += [evidence(source.stem, judgements.get(source.stem, {})) for source in lessons]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# The rubric

Each lesson against sixteen points, 0 (missing) to 2 (met). Points with a rule are decided by the
lint and the gates; where there is none, by a person who did not write the lesson, with the cell
that shows it. A lesson may go out with 80 % and no zero. Made by `python tools/rubric.py`
from `notebooks/rubric.json` and the sources; a test says when it is out of date."""


def evidence(lesson: str, judged: dict[str, Judgement]) -> str:
    """What was seen where, one line a point."""
    lines = [
        f"- {point}, {one.score}: {one.evidence} (cell `{one.cell}`)"
        for point, one in sorted(judged.items(), key=lambda item: int(item[0][1:]))
    ]
    return "\n".join([f"## {lesson}", "", *lines])


if __name__ == "__main__":
    (ROOT / "notebooks/RUBRIC.md").write_text(rubric_page(ROOT), encoding="utf-8")
    found = rubric_findings(ROOT)
    sys.exit("\n".join(found) or 0)
