"""Points off for what came late. A teacher's file says how late: dates of files say nothing."""

import csv
import unicodedata
from collections.abc import Collection
from math import ceil, isfinite
from pathlib import Path

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
