"""Runs code cells as a notebook would, but continues after a cell that fails."""

import ast
import re
from collections.abc import Callable
from contextlib import AbstractContextManager

MAGIC_LINE = re.compile(r"^(\s*)([%!?].*|[\w.]+\?{1,2}\s*)$", re.MULTILINE)
MAGIC_VALUE = re.compile(r"^(\s*[\w, ]+=\s*)[%!].*$", re.MULTILINE)
TRANSPARENT = ("time", "timeit", "capture", "prun")  # cell magics around Python
MOST_PASSES = 5

Failure = dict[str, object]


def plain_python(source: str) -> str:
    """The cell without what only IPython understands: magics and shell commands do nothing."""
    try:
        ast.parse(source)
        return source
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    if source.lstrip().startswith("%%"):
        first, _, rest = source.lstrip().partition("\n")
        return rest if first[2:].split(" ")[0] in TRANSPARENT else ""
    return MAGIC_VALUE.sub(r"\1None", MAGIC_LINE.sub(r"\1pass", source))


def run_cell(number: int, source: str, names: dict[str, object]) -> None:
    exec(compile(plain_python(source), f"<cell {number}>", "exec"), names)


def run_cells(
    prelude: str,
    cells: list[str],
    names: dict[str, object],
    limit: Callable[[], AbstractContextManager],
    described: Callable[[BaseException], dict[str, str]],
) -> list[Failure]:
    """Runs them in order, in `names`; returns what failed, [{"cell": 3, "type": ..., ...}].

    prelude: the imports of the assignment, for those who deleted them. A cell that misses a name
    is run again after the others: cells may have been moved.
    """
    exec(prelude, names)
    names |= {"display": lambda *shown, **options: None, "get_ipython": lambda: None}
    waiting, failures = dict(enumerate(cells, 1)), {}
    for _ in range(MOST_PASSES):
        before = len(waiting)
        for number, source in waiting.items():
            failures.pop(number, None)
            try:
                with limit():
                    run_cell(number, source, names)
            except BaseException as error:  # SystemExit and time limits: the others still count
                failures[number] = {"cell": number} | described(error)
        waiting = {n: waiting[n] for n, found in failures.items() if found["type"] == "NameError"}
        if not waiting or len(waiting) == before:
            break
    return [failures[number] for number in sorted(failures)]
