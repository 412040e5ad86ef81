"""What a run found, as numbers: shown where they are made, read from the executed notebook."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import nbformat
from IPython.display import display

from annlib.course.claims import claims_in

RESULT = "application/vnd.annlib.result+json"


def show_result(values: Mapping[str, float]) -> None:
    """Displays the numbers that a sweep collects: name -> value."""
    for name, value in values.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            raise ValueError(f"The result {name!r} is {value!r}: a table of means needs a number.")
    text = "Result: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    display({RESULT: dict(values), "text/plain": text}, raw=True)


def result_in(notebook: Path) -> dict[str, float]:
    """The numbers of an executed notebook: its results, and its claims by their names.

    Raises ValueError for a notebook that shows neither.
    """
    content = nbformat.read(notebook, as_version=4)
    found = {name: claim.value for name, claim in claims_in(content).items()}
    for cell in content.cells:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(RESULT, {})
    if not found:
        raise ValueError(
            f"{notebook.name} ran to its end but shows no result: its last cell should call "
            'show_result({"miou": ...}), which is in annlib.course.sweeping.results.'
        )
    return found
