"""Finds work that is nearly the same, for a person to judge.

Winnowing (Schleimer, Wilkerson and Aiken, 2003): of every window of hashes of k tokens the smallest
is kept, so that equal passages of k + window - 1 tokens always share one, wherever they stand.
"""

import io
import keyword
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations, islice
from tokenize import COMMENT, DEDENT, ENCODING, ENDMARKER, INDENT, NEWLINE, NL
from zlib import crc32

from annlib.grader.judge import Submission

TOKENS, WORDS, WINDOW = 12, 6, 4  # a passage of 12 + 4 - 1 tokens of code is surely found
# Fingerprints of one's own, and the part of the shorter work that is shared. Answers to A1 to A3
# that were written independently share 0.2 and less, with one of three parts rewritten 0.6.
LEAST, ENOUGH = 5, 0.5
MOST_TOKENS = 30_000  # that are looked at, with layout: a notebook may have millions
COMMON = 1 / 3  # of a class: what so many have comes from the course, or is the usual way
LAYOUT = (COMMENT, NL, NEWLINE, INDENT, DEDENT, ENCODING, ENDMARKER)
Row = tuple[str, str, str, str]


def python_tokens(cells: Iterable[str]) -> Iterator[tokenize.TokenInfo]:
    """Of all cells; of one that is not Python, those up to there."""
    for cell in cells:
        with suppress(tokenize.TokenError, SyntaxError):
            yield from tokenize.generate_tokens(io.StringIO(cell).readline)


def code_tokens(cells: Iterable[str], renamed: bool = True) -> list[str]:
    """Without layout and comments; renamed: one name, number or string is as good as another."""
    found = []
    for token in islice(python_tokens(cells), MOST_TOKENS):
        name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        value = token.type in (tokenize.NUMBER, tokenize.STRING)
        kind = "name" if name else "value" if value else token.string
        found += [kind if renamed else token.string] if token.type not in LAYOUT else []
    return found


def words(texts: Iterable[str]) -> list[str]:
    return re.findall(r"\w+", " ".join(texts).casefold())


def fingerprints(tokens: Sequence[str], k: int = TOKENS) -> set[int]:
    hashes = [
        crc32("\0".join(tokens[start : start + k]).encode()) for start in range(len(tokens) - k + 1)
    ]
    return {min(hashes[start : start + WINDOW]) for start in range(len(hashes) - WINDOW + 1)}


def shared(
    work: dict[str, Sequence[str]], template: Sequence[str], k: int
) -> dict[tuple[str, str], float]:
    """The part of the shorter work that two students share, by pairs, where it is enough."""
    known = fingerprints(template, k)
    prints = {student: fingerprints(tokens, k) - known for student, tokens in work.items()}
    count = Counter(one for some in prints.values() for one in some)
    usual = {one for one, number in count.items() if number > max(3, COMMON * len(work))}
    pairs = {}
    for a, b in combinations(sorted(one for one in prints if len(prints[one]) >= LEAST), 2):
        mine, other = prints[a] - usual, prints[b] - usual
        less = min(len(mine), len(other))
        part = len(mine & other) / less if less >= LEAST else float(prints[a] == prints[b])
        if part >= ENOUGH:
            pairs[a, b] = part
    return pairs


def similar(submissions: Sequence[Submission], template: Submission) -> list[Row]:
    """(student, student, what, how much), most first; work that a group handed in is left out."""
    by_student = {one.student: one for one in submissions if not one.problem}
    kinds: dict[str, tuple[Callable[[Submission], list[str]], int]] = {
        "code": (lambda one: code_tokens(one.cells), TOKENS),
        "open answers": (lambda one: words(one.open_answers.values()), WORDS),
    }
    found = []
    for what, (tokens, k) in kinds.items():
        work = {student: tokens(one) for student, one in by_student.items()}
        for (a, b), part in shared(work, tokens(template), k).items():
            one, other = by_student[a], by_student[b]
            if one.files == other.files:
                continue  # handed in once, for a group
            exact = code_tokens(one.cells, False) == code_tokens(other.cells, False)
            if what == "code":
                same = "the same" if exact else "the same but for names" if part == 1 else ""
            else:
                same = "the same words" if work[a] == work[b] else ""
            found.append((-part, (a, b, what, f"{100 * part:.0f} %{', ' if same else ''}{same}")))
    return [row for _, row in sorted(found)]
