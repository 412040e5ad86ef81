"""Reads a notebook or a script as plain text: code cells, and answers that a person reads."""

import json
import re

from annlib.course.grading.opening import Unreadable

MOST_CELLS = 2000
INJECTED = "injected-parameters"  # of a notebook that papermill has run; ours take their place
LONGEST_ANSWER = 20_000  # letters: ten pages
PERCENT = re.compile(r"^# %%(?P<title>.*)$", re.MULTILINE)


def sound(text: str) -> str:
    """Without halves of characters, which JSON may hold and no file can be written with."""
    return text.encode("utf-8", "replace").decode()


def text_of(data: bytes) -> str:
    return data.decode("utf-8-sig", errors="replace")


def parsed(data: bytes, name: str, parameters: str = "") -> tuple[tuple[str, ...], dict[str, str]]:
    """Code cells, and what stands in cells tagged open:NAME.

    parameters: code that papermill would inject: it ends the cell that is tagged parameters.
    """
    text = text_of(data)
    if not name.lower().endswith(".ipynb"):
        return of_script(text, parameters), {}
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise Unreadable("It is no notebook: its text is damaged (no JSON).") from error
    cells = cells_of(notebook)
    code = [
        injected(source_of(cell), parameters if "parameters" in tags_of(cell) else "")
        for cell in cells
        if cell.get("cell_type") == "code" and INJECTED not in tags_of(cell)
    ]
    tagged = {
        tag.removeprefix("open:"): source_of(cell)[:LONGEST_ANSWER]
        for cell in cells
        for tag in tags_of(cell)
        if isinstance(tag, str) and tag.startswith("open:")
    }
    return tuple(code), tagged


def of_script(text: str, parameters: str) -> tuple[str, ...]:
    """The cells of a script in percent format; the whole script where there are none."""
    first, *others = PERCENT.split(text)
    titles, bodies = others[::2], others[1::2]
    if len(bodies) > MOST_CELLS:
        raise Unreadable(f"It is a script with {len(bodies)} cells: nothing that can be graded.")
    tagged = [parameters if '"parameters"' in title else "" for title in titles]
    return (first, *map(injected, bodies, tagged))


def injected(source: str, parameters: str) -> str:
    return f"{source}\n{parameters}" if parameters else source


def cells_of(notebook: object) -> list[dict]:
    """The cells of a notebook, format 4 or older."""
    if not isinstance(notebook, dict):
        raise Unreadable("It is no notebook: JSON, but of something else.")
    sheets = notebook.get("worksheets")
    holders = sheets if isinstance(sheets, list) else [notebook]
    lists = [one.get("cells") for one in holders if isinstance(one, dict)]
    cells = [cell for some in lists if isinstance(some, list) for cell in some]
    plain = [cell for cell in cells if isinstance(cell, dict)]
    if not plain or len(plain) > MOST_CELLS:
        raise Unreadable(f"It is a notebook with {len(plain)} cells: nothing that can be graded.")
    return plain


def source_of(cell: dict) -> str:
    """Text of a cell: one string or lines; format 3 called it input."""
    source = cell.get("source", cell.get("input", ""))
    return sound("".join(map(str, source)) if isinstance(source, list) else str(source))


def tags_of(cell: dict) -> list:
    """The tags of a cell; nbgrader keeps names elsewhere, and open-NAME there is open:NAME here."""
    metadata = cell.get("metadata")
    if not isinstance(metadata, dict):
        return []
    tags, known = metadata.get("tags"), metadata.get("nbgrader")
    name = known.get("grade_id") if isinstance(known, dict) else None
    named = [name.replace("-", ":", 1)] if isinstance(name, str) else []
    return (tags if isinstance(tags, list) else []) + named
