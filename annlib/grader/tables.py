"""CSV files: read as spreadsheets and learning platforms save them, written so that none is run."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from annlib.data.io import read_text

# Spreadsheets take such a cell for a formula, also with full-width signs, or hide the last one.
RISKY = tuple("=+-@\t\r\n＝＋－＠'")


class Line(NamedTuple):
    """place: file and line, for messages."""

    place: str
    cells: list[str]


def mark_of(text: str) -> str:
    """Comma, semicolon or tab: what stands outside of quotes in the first line."""
    first = next(filter(str.strip, text.splitlines()), "")
    outside = re.sub('"[^"]*"', "", first)
    return next((mark for mark in "\t;" if mark in outside), ",")


def with_commas(text: str) -> str:
    """A table with semicolons or tabs and decimal commas as one with commas and points."""
    if (mark := mark_of(text)) == ",":
        return text
    rows = [[cell.strip(' "') for cell in line.split(mark)] for line in text.splitlines()]
    return csv_text([[re.sub(r"^(\d+),(\d+)$", r"\1.\2", one) for one in row] for row in rows])[1:]


def in_utf_8(content: bytes) -> bytes:
    """A list in the old form of Excel on Windows, if all such forms have its letters, as German."""
    forms = {content.decode(page, "replace") for page in ("cp1252", "cp1250", "cp1254", "cp1257")}
    sure = len(forms) == 1 and all(one.isascii() or one.isalpha() for one in min(forms))
    return min(forms).encode() if sure and "\ufffd" in content.decode(errors="replace") else content


def read_table(path: Path) -> tuple[str, list[Line]]:
    """The separator, and the lines that have text; cells keep every character. ValueError."""
    text = read_text(path, in_utf_8(path.read_bytes()))
    mark = mark_of(text)
    reader, lines, start = csv.reader(io.StringIO(text, newline=""), delimiter=mark), [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append(Line(f"{path}, line {start}", cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {start}: {error}. Is a quote missing there?") from error
    return mark, lines


def safe_cell(value: object) -> str:
    """Text that a spreadsheet shows, but never calculates, whatever sign ends a cell there."""
    text = "".join(c if c.isprintable() else " " for c in str(value)).replace(";", ",")
    return f"'{text}" if text.lstrip().startswith(RISKY) and text != "-" else text


def safe_name(student: str) -> str:
    """As `safe_cell`, but no two students become the same."""
    return safe_cell(student.replace("%", "%25").replace(";", "%3B"))


def csv_text(rows: Iterable[Sequence[str]], mark: str = ",") -> str:
    """Cells as they are, with a byte order mark, so that spreadsheets read names correctly."""
    file = io.StringIO()
    csv.writer(file, delimiter=mark, lineterminator="\r\n").writerows(rows)
    return "\ufeff" + file.getvalue()
