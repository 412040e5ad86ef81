"""Files with one JSON object a line: written as a run goes on, read after it was killed."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from annlib.model.checkpoints import write_atomically

Line = dict[str, Any]


def read_lines(path: Path) -> list[Line]:
    """The objects of a file, none if there is no file.

    A last line that was cut off, by a kill, a full disk or a power failure, is left out. Raises
    ValueError for damage anywhere else: that is no trace of an interruption.
    """
    *texts, last = path.read_bytes().split(b"\n") if path.exists() else [b""]
    lines = [parse(text) for text in texts]
    if None in lines:
        number = lines.index(None) + 1
        raise ValueError(
            f"{path} is damaged: its line {number} is no JSON object ({texts[number - 1][:40]!r}). "
            "Look at the lines around it: if they are whole, delete that one and go on."
        )
    end = parse(last)  # behind the last line break there is nothing, unless a line was cut off
    return lines if end is None else [*lines, end]


def parse(text: bytes) -> Line | None:
    """The JSON object in a line, None if it holds no whole one."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Replaces the file, whole or not at all."""
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def append_line(path: Path, line: Line) -> None:
    """Adds a line at the end, in place of one that was cut off there."""
    if is_cut_off(path):
        write_lines(path, read_lines(path))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def is_cut_off(path: Path) -> bool:
    """Whether the last line lacks its end."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def keep_until(path: Path, step: int) -> None:
    """Drops the lines of later steps: they will be taken, and written, again."""
    if path.exists():
        write_lines(path, [line for line in read_lines(path) if line["step"] <= step])
