"""Write notebooks/RUBRIC.md: each lesson against twenty-two points, from 0 to 3.

    python -m tools.rubric      write the table, print what is missing; exit 1 if anything is

The lint decides some points, a person the others, in two passes of which the lower score counts.
notebooks/rubric.json holds the judgements: {"04_pyramid_sampling": {"R7": {"first": 3, "second": 2,
"cell": "...", "evidence": "...", "for_3": "..."}}}. The table is never edited by hand.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from annlib.course.authoring import Lesson, read, sources
from tools.check_lessons import findings_by_point

# Point -> its title, and what 0, 1, 2 and 3 mean. Points without the four are decided by the lint.
POINTS = {
    "R1": "Objectives are testable",
    "R2": "Contract at the top",
    "R3": "A question before an answer",
    "R4": "Predict, then run",
    "R5": "Sections and cells are short",
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
    "R17": "Language",
    "R18": "Cognitive load",
    "R19": "Prior knowledge",
    "R20": "Worked example",
    "R21": "Transfer to photos",
    "R22": "Honest time",
}
MEANS = {
    "R1": (
        "Objectives cannot be observed, or lead to no exercise.",
        "Several objectives link to something that does not train them.",
        "One objective links to something that trains it only in part.",
        "Every objective is observable, and what it links to trains or tests exactly that.",
    ),
    "R3": (
        "The lesson opens with definitions or imports.",
        "A question comes, but after the first definitions.",
        "A question comes first, but the first figure does not raise it.",
        "A question comes first, and the first figure or number makes the reader want the answer.",
    ),
    "R4": (
        "No prediction is asked before its result.",
        "Most predictions can be read off the text above them.",
        "One prediction is plain arithmetic, or an earlier result gives it away.",
        "Every prediction needs the idea of its section, is compared on screen, then explained.",
    ),
    "R6": (
        "Formulas are not computed anywhere.",
        "Formula, code and figure use different letters without saying so.",
        "One name or letter differs, and the text or a docstring connects the two.",
        "Formula, code and figure use the same names, and shapes are asserted.",
    ),
    "R7": (
        "Widgets decorate.",
        "One widget has tasks that a still figure answers, too.",
        "Every widget has a job, but the required part of the lesson has only one widget.",
        "Every widget has tasks that ask what changes and why, and that only it can answer.",
    ),
    "R11": (
        "A check says only that the answer is incorrect.",
        "Messages name a symptom.",
        "Nearly all messages name the misconception; one names a symptom.",
        "Messages name the misconception and the idea to go back to; success says what was shown.",
    ),
    "R14": (
        "Results are presented without limits.",
        "Limits stand in general words.",
        "Concrete limits are named, but one claim is stronger than its evidence.",
        "Seeds, sizes and data are named, negative results kept, no claim exceeds its evidence.",
    ),
    "R16": (
        "There are no notes for teachers.",
        "Notes have minutes only.",
        "Notes have minutes, mistakes and answers, but one part or widget has none.",
        "Each part has minutes, usual mistakes, a prompt, what to skip, and the answers.",
    ),
    "R17": (
        "Many sentences must be read twice, or private words replace the field's terms.",
        "Every section has sentences that must be read twice.",
        "A few sentences must be read twice, or a term is used before it is explained.",
        "A second-year student whose second language is English reads every sentence once.",
    ),
    "R18": (
        "Several new ideas share a section, and there is no place to stop.",
        "Sections bring more than one new idea, and side remarks interrupt them.",
        "One idea a section, but some passages are dense, or a sitting exceeds 90 minutes.",
        "One idea a section, side remarks are folded, no sitting exceeds 90 minutes.",
    ),
    "R19": (
        "The lesson needs what it does not mention.",
        "What it needs is listed, but used without a reminder.",
        "What it needs is listed, and most of it is recalled or linked where it is used.",
        "What it needs is listed, and tested or recalled where it is used.",
    ),
    "R20": (
        "Exercises follow formulas without an example.",
        "Some exercises above difficulty 1 have an example.",
        "All have one, but one of them shows only a format or a procedure.",
        "All have an example in numbers, or a specimen, and say what the result looks like.",
    ),
    "R21": (
        "Photos do not occur.",
        "A sentence says that photos differ.",
        "The text says what differs, and quotes or prepares a result on real images.",
        "The learner tries the idea on a photo, and reads what carries over.",
    ),
    "R22": (
        "No time is stated.",
        "The time leaves out exercises or running.",
        "Reading, exercises and running are stated by one rule, but no class has been timed.",
        "The stated time agrees with that of a class.",
    ),
}
JUDGED = tuple(MEANS)  # by a person, from 0 to 3
PASSES = (
    "Both passes: 2026-12-01, from the texts of that day. The first went from lesson 00 to 12, "
    "the second from 12 to 00 and more strictly: one counter-example costs the point. Both "
    "were made by one reader, who had edited these texts before, so readers from outside may "
    "score lower. R11 was taken over from the last judgement: no check has changed since."
)
ROOT = Path(__file__).resolve().parents[1]
FULL = 3
PASS = 0.85
FOUND_BY = {
    "R2": "header, parameters, minutes by the rule; gate: time",
    "R5": "lines of a cell, words of a section",
    "R8": "palette, headings; gates: alt text, widgets; browser tests: keyboard",
    "R9": "fields of an exercise",
    "R10": "three hints, folded",
    "R12": "tests/course/test_exercises.py: five wrong answers or more each, with new inputs",
    "R13": "no number without a source; gate: claims",
    "R15": "quiz, recap, links",
}


class Judgement(NamedTuple):
    """One point of one lesson: two scores from 0 to 3, where to see it, and what is seen there."""

    first: int
    second: int
    cell: str
    evidence: str
    for_3: str = ""  # what would make it a 3

    @property
    def score(self) -> int:
        return min(self.first, self.second)

    @property
    def passes(self) -> str:
        """Both scores, where they differ: the lower one counts."""
        return f"{self.first}" if self.first == self.second else f"{self.first}/{self.second}"


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
            elif judged[point].score < FULL and not judged[point].for_3:
                findings.append(f"{source.stem}: {point} is below 3; say what would make it a 3.")
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
        judged = judgements.get(source.stem, {})
        points = scores(source, judged)
        shown = {p: judged[p].passes for p in judged if judged[p].score == points[p]}
        cells = " | ".join(shown.get(point, str(score)) for point, score in points.items())
        rows.append(f"| {source.stem} | {cells} | {share_of(points):.0%} |")
    rule = "|---|" + ":-:|" * len(POINTS) + "--:|"
    means = ["| point | 0 | 1 | 2 | 3 |", "|---|---|---|---|---|"]
    for point, title in POINTS.items():
        lint = ("The lint has findings.", "", "", f"The lint has none: {FOUND_BY.get(point)}.")
        means.append(f"| **{point} {title}** | {' | '.join(MEANS.get(point, lint))} |")
    parts = [INTRODUCTION, "\n".join([head, rule, *rows]), PASSES, "\n".join(means)]
    parts += [evidence(source.stem, judgements.get(source.stem, {})) for source in lessons]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# The rubric

Each lesson against twenty-two points, 0 to 3. Points with a rule are decided by the lint and the
gates; where there is none, by a person, in two passes. Where the passes differ, both scores are
shown (first/second), and the lower one counts. A lesson may go out with 85 % and no zero. Made by
`python -m tools.rubric` from `notebooks/rubric.json` and the sources; a test says when it is out
of date."""


def evidence(lesson: str, judged: dict[str, Judgement]) -> str:
    """What was seen where, one line a point."""
    lines = [
        f"- {point}, {one.passes}: {one.evidence} (cell `{one.cell}`)"
        + (f" *For a 3:* {one.for_3}" if one.for_3 else "")
        for point, one in sorted(judged.items(), key=lambda item: int(item[0][1:]))
    ]
    return "\n".join([f"## {lesson}", "", *lines])


if __name__ == "__main__":
    (ROOT / "notebooks/RUBRIC.md").write_text(rubric_page(ROOT), encoding="utf-8")
    found = rubric_findings(ROOT)
    sys.exit("\n".join(found) or 0)
