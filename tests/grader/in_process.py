"""Marks code as a worker would, but in this process: for answers that are known to be harmless."""

import asyncio
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from annlib.course.authoring.build import finished
from annlib.course.authoring.source import read
from annlib.grader.confine import Limits
from annlib.grader.judge import Assignment, Files, Mark, drawn, marks, requests
from annlib.grader.release import source_of
from annlib.grader.sandbox import started_by_root
from annlib.grader.worker import changed, put_all, run_cells

ROOT = Path(__file__).parents[2]
LONG = Limits(call_seconds=100, cells_seconds=100)
AS_USER = 65534 if started_by_root() else None  # of workers, where tests run as root


def solutions(assignment: Assignment) -> dict[str, str]:
    """{"weights": code}: the reference answers, from the one source of the assignment."""
    lesson = read(source_of(ROOT, assignment))
    return {name: finished(cell.text) for name, cell in lesson.with_role("answer").items()}


@contextmanager
def public_beside(assignment: Assignment) -> Iterator[dict[str, ModuleType]]:
    """The modules that students get, importable as where they work."""
    modules = {}
    try:
        for name, source in assignment.public_modules().items():
            modules[name] = sys.modules[name] = ModuleType(name)
            exec(compile(source, name, "exec"), modules[name].__dict__)
        yield modules
    finally:
        for name in modules:
            del sys.modules[name]


def marks_for(code: str, assignment: Assignment, *how: object, **named: object) -> list[Mark]:
    """The marks of code that must run; further arguments as for `in_process`."""
    found, failures = in_process([code], assignment, *how, **named)
    assert failures == [], "the code of a gallery must run"
    return found


def in_process(
    cells: Sequence[str],
    assignment: Assignment,
    seeds: Sequence[int] = (1, 2),
    files: Files | None = None,
    only: str = "",
) -> tuple[list[Mark], list[dict]]:
    """-> marks, cells that failed.  files: beside them. only: the one task to mark, to save time"""
    names, first = {"__name__": "__main__"}, {}
    tasks, sent = drawn(assignment, seeds, files or {}, only), []
    with public_beside(assignment), TemporaryDirectory() as home, chdir(home):
        loop = asyncio.new_event_loop()
        failures = run_cells(assignment.prelude, list(cells), names, LONG, loop, first)
        loop.close()
        earlier = changed([task.name for task in assignment.tasks], first, names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a worker says them to nobody
            put_all(iter(requests(assignment, tasks)), LONG, names, earlier, sent.append)
    found = {one.facts["call"]: one for one in sent}
    return marks(assignment, tasks, found, bool(earlier))[0], failures


def lost(marks: list[Mark], task: str) -> Mapping[str, str]:
    """{check: misconception} of what a task has lost."""
    return {m.check: m.misconception for m in marks if m.task == task and m.misconception}
