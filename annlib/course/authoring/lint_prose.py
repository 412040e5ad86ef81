"""Rules for the text: sections of one sitting, and no number without where it comes from."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from annlib.course.authoring.markup import NUMBER_LINK
from annlib.course.authoring.source import FENCED, Cell, Lesson

LONGEST_SECTION = 900  # words: fifteen minutes with its pictures and code
UNITS = ("ms", "MiB", "GiB", "MB", "GB", "G?FLOPs?", "GMACs?", "mIoU", "times")
UNIT = rf"(?:%|(?:{'|'.join(UNITS)}|x (?:as|the|less|more|faster))\b)"
NAKED = re.compile(rf"(?<![\w.])(?:\d[\d,]*(?:\.\d+)? ?{UNIT}|\d+\.\d+)(?![\w]|\.\d)")
# Code, formulas, links and headings (whose numbers count exercises) state no measurements.
WITHOUT = re.compile(
    r"`[^`]*`|\$\$.*?\$\$|\$[^$]+\$|\]\([^)]*\)|^#+ [^\n]*$", re.DOTALL | re.MULTILINE
)
LABELS = re.compile(
    r"(?:[Ee]xercises?|[Pp]redictions?|[Qq]uiz|PyTorch|Python|Table|Section|Eq\.|Figure|and|CC BY)"
    r" \d+\.\d+(?:(?:,| and| to) \d+\.\d+)*"
)
UNCHECKED = ("header", "instructor", "recap")  # contract, advice, references


def sections(lesson: Lesson) -> Iterator[str]:
    """No section is longer than one sitting."""
    words: dict[str, int] = defaultdict(int)
    for cell in lesson.cells:
        if cell.kind == "markdown" and "instructor" not in cell.tags and not cell.role("hint"):
            words[cell.section] += len(cell.text.split())
    for section, count in words.items():
        if count > LONGEST_SECTION and not section.startswith("quiz"):
            yield (
                f"{lesson.name}: section {section!r} has {count} words; one idea takes up to "
                f"{LONGEST_SECTION}. Split it with a `##` heading."
            )


def naked_numbers(lesson: Lesson) -> Iterator[str]:
    """A number that was measured leans on a claim; others say who stated them."""
    for cell in lesson.cells:
        for number in naked_in(cell):
            yield (
                f"{cell.place}: {number!r} has no source. Measured here: [{number}](claim:name); "
                f"by others: [{number}](cited:paper-abstract); in data/results: "
                f"[{number}](result:balloon_town.md); set or derived: [{number}](given:how)."
            )


def naked_in(cell: Cell) -> list[str]:
    """The numbers with a unit or a decimal point that stand in a text without a source."""
    if cell.kind != "markdown" or any(tag in cell.tags for tag in UNCHECKED):
        return []
    text = NUMBER_LINK.sub("", FENCED.sub("", cell.text))
    found = NAKED.findall(LABELS.sub("", WITHOUT.sub("", text)))
    return [number for number in found if number not in ("100 %", "0 %", "100%", "0%")]


def results(lesson: Lesson, folder: Path) -> Iterator[str]:
    """A number that is said to stand in data/results stands there.  folder: data/results"""
    for cell in lesson.cells:
        for number, kind, key in NUMBER_LINK.findall(cell.text):
            if kind == "result" and not stands_in(folder / key, number):
                yield (
                    f"{cell.place}: {number!r} does not stand in data/results/{key}: quote it as "
                    "it is written there, or name the right file."
                )


def stands_in(file: Path, number: str) -> bool:
    """Whether the digits of `number` occur in a file, as a whole number and not within another."""
    digits = re.search(r"\d[\d.,]*\d|\d", number)
    if digits is None or not file.is_file():
        return False
    whole = rf"(?<![\d.]){re.escape(digits[0])}(?!\d)"
    return re.search(whole, file.read_text(encoding="utf-8")) is not None
