"""Rules for the text: sections of one sitting, and no number without where it comes from."""

import re
from collections import defaultdict
from collections.abc import Iterator

from annlib.course.authoring.markup import NUMBER_LINK
from annlib.course.authoring.source import FENCED, Cell, Lesson

LONGEST_SECTION = 900  # words: fifteen minutes with its pictures and code
UNIT = r"(?:%|ms\b|MiB\b|GiB\b|MB\b|GB\b|GFLOPs?\b|GMACs?\b|mIoU\b|FLOPs?\b|times\b|x (?:as|the|less|more|faster)\b)"
NAKED = re.compile(rf"(?<![\w.])(?:\d[\d,]*(?:\.\d+)? ?{UNIT}|\d+\.\d+)(?![\w]|\.\d)")
# Code, formulas, links and headings (whose numbers count exercises) state no measurements.
WITHOUT = re.compile(
    r"`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)|^#+ .*$", re.DOTALL | re.MULTILINE
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
                f"{cell.place}: {number!r} has no source. Measured here: [{number}](claim:name); by "
                f"others: [{number}](cited:paper-abstract); in data/results: "
                f"[{number}](result:balloon_town.md); set or derived: [{number}](given:how)."
            )


def naked_in(cell: Cell) -> list[str]:
    """The numbers with a unit or a decimal point that stand in a text without a source."""
    if cell.kind != "markdown" or any(tag in cell.tags for tag in UNCHECKED):
        return []
    text = NUMBER_LINK.sub("", FENCED.sub("", cell.text))
    return NAKED.findall(LABELS.sub("", WITHOUT.sub("", text)))
