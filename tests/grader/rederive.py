"""Computes every student's sum from the files in an output folder, without any code of annlib.

python tests/grader/rederive.py build/grades/A1
"""

import csv
import hashlib
import io
import json
import math
import re
import sys
import tomllib
from pathlib import Path


def rows_of(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV by their headings, whatever the separator."""
    text = path.read_bytes().decode("utf-8-sig")
    mark = ";" if ";" in text.splitlines()[0] else ","
    lines = [one for one in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if any(one)]
    return [dict(zip(lines[0], one, strict=False)) for one in lines[1:]]


def participant(cell: str) -> str:
    return cell.removeprefix("Participant ")


def print_of(text: str) -> str:
    return "x" + hashlib.sha256(text.encode()).hexdigest()[:32]


def days_of(cell: str) -> float:
    units = {"day": 1, "hour": 24, "min": 1440}
    found = re.findall(r"([\d.,]+) (day|hour|min)", cell)
    if found:
        return sum(float(n.replace(",", ".")) / units[unit] for n, unit in found)
    return float(cell.replace(",", ".") or 0)


def sums(out: Path, questions: dict[str, float]) -> dict[str, float | None]:
    """Sums by id; None: something is not read yet.  questions: name -> points"""
    points = tomllib.loads((out / "points.toml").read_text("utf-8"))
    settings = json.loads((out / "settings.json").read_text("utf-8"))
    rule = {"percent": 10, "days": 3, "grace": 0} | points.get("late", {})
    rule |= {name: value for name, value in settings.items() if name in rule}
    roster = rows_of(out / "roster.csv")
    ids = {row["Full name"]: participant(row["Identifier"]) for row in roster}
    late = {}
    for row in rows_of(out / "late.csv"):
        student = ids.get(row["student"], participant(row["student"]))
        late[student] = days_of(row["days late"])
    sheet = {}
    for row in rows_of(out / "by_hand.csv"):
        if row["points"].strip():
            value = sum(float(one.replace(",", ".")) for one in row["points"].split("+"))
            sheet[participant(row["student"]), row["task"]] = value, row["answer"]
    found: dict[str, float | None] = {}
    for path in (out / "results").glob("*.json"):
        result = json.loads(path.read_text("utf-8"))["result"]
        student, tasks, states = result["student"], {}, {}
        totals: dict[str, float] = {}
        for task, _, _, most, _, _ in result["marks"]:
            totals[task] = totals.get(task, 0) + most
        for task, check, got, most, slip, _ in result["marks"]:
            table = points.get(task, {})
            new = table.get(check, most * table.get("points", totals[task]) / totals[task])
            tasks[task] = tasks.get(task, 0) + (got / most) * new
            states.setdefault(task, []).append((check, got > 0, slip))
        whole = True
        for name in (*tasks, *questions):
            now = states.get(name)
            answer = print_of(repr(now) if now else result["open_answers"].get(name, ""))
            value, read = sheet.get((student, name), (None, ""))
            if value is not None and read in ("", answer):
                tasks[name] = value
            elif name in questions:
                whole = False
        days = late.get(student, 0)
        begun = max(0, math.ceil(days)) if days * 1440 - rule["grace"] > 1e-6 else 0
        kept = 0 if begun > rule["days"] else 1 - rule["percent"] / 100 * begun
        found[student] = sum(tasks.values()) * max(0, kept) if whole else None
    return found


if __name__ == "__main__":
    for student, value in sorted(sums(Path(sys.argv[1]), {}).items()):
        print(student, value)
