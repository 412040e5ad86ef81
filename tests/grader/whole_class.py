"""A class as it comes, right, wrong, blank, broken, hostile: graded, killed half way, gone on.

Writes data/results/grader_class.md:
PYTHONPATH=tests/grader python tests/grader/whole_class.py [number of submissions]
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

import a1_answers
import nbformat
import psutil
import torch
from cheats import CHEATS, SHORT
from in_process import AS_USER, ROOT, solutions
from known import mistaken

from annlib.course.assignments.a1 import A1
from annlib.engine.results import device_name
from annlib.grader.batch import grade, write_all
from annlib.grader.intake import collect
from annlib.grader.release import edition

PAGE = ROOT / "data/results/grader_class.md"
PATIENCE = 3600  # seconds


def handed_in(folder: Path, count: int) -> Path:
    """The same every time: of ten, six have a mistake; one is right, blank, broken, hostile."""
    folder.mkdir()
    dice = random.Random(0)
    right = solutions(A1)
    wrong = [
        mistaken(right, one.cell, wrong)
        for one in a1_answers.GALLERIES
        for wrong in one.wrong.values()
    ]
    hostile = list(CHEATS.values())
    for number in range(count):
        kind = number % 10
        path = folder / f"student-{number:03}.ipynb"
        if kind in (0, 1):
            path.write_text(edition(ROOT, A1, ("solution", "learner")[kind]), encoding="utf-8")
        elif kind == 2:
            path.write_bytes(dice.randbytes(1000))
        else:
            cells = hostile[number // 10 % len(hostile)] if kind == 3 else (dice.choice(wrong),)
            made = [nbformat.v4.new_code_cell(cell) for cell in cells]
            nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return folder


class Cost(Thread):
    """Of this process and its workers, which are looked at as they run: bubblewrap tells nothing.

    Processor time hardly depends on what else the machine does, unlike the time by the clock.
    memory: the most that the grader, and one worker, held. MiB
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended, self.workers, self.began, self.own = Event(), {}, time.process_time(), 0.0
        self.memory = [0.0, 0.0]

    def run(self) -> None:
        grader = psutil.Process()
        while not self.ended.wait(0.1):
            for one in (grader, *grader.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    held = one.memory_info().rss / 2**20
                    self.memory[one != grader] = max(self.memory[one != grader], held)
                    if one != grader:
                        self.workers[one.pid] = sum(one.cpu_times()[:2])
        self.own = time.process_time() - self.began - time.thread_time()

    def seconds(self) -> float:
        self.ended.set()
        self.join()
        return self.own + sum(self.workers.values())


def grade_all(inbox: Path, out: Path, jobs: int) -> None:
    """Goes on where it was, if it was."""
    found = collect(inbox, A1)
    results = grade(A1, found, out, 7, jobs, False, True, lambda text: None, SHORT, AS_USER)
    write_all(A1, results, out)


def killed_half_way(inbox: Path, out: Path, count: int) -> int:
    """Starts grading, and kills the grader with half of the class done.  -> results it had kept"""
    grader = get_context("spawn").Process(target=grade_all, args=(inbox, out, 2))
    grader.start()
    deadline = time.monotonic() + PATIENCE
    while len(list(out.glob("results/*.json"))) < count // 2:
        if time.monotonic() > deadline or not grader.is_alive():
            raise RuntimeError(f"The grader did not get half of {count} done: see what it printed.")
        time.sleep(0.2)
    os.kill(grader.pid, signal.SIGKILL)
    grader.join()
    return len(list(out.glob("results/*.json")))


def left_behind() -> int:
    """Workers that are still there."""
    running = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True).stdout
    return running.count("annlib.grader.worker")


def tried(folder: Path, count: int) -> Iterator[str]:
    """Lines of a report: time with one job and two, and whether all tables are the same."""
    inbox, tables = handed_in(folder / "inbox", count), []
    load = os.getloadavg()[0]  # above the number of processors, times by the clock are too long
    yield f"# A class of {count}\n"
    yield (
        "Of ten submissions to A1 six have a mistake; one is right, blank, broken, hostile. Limits "
        f"are short ({SHORT.cells_seconds} s of a processor for cells, {SHORT.questions_seconds} s "
        "for questions): without end is as far as that.\n"
    )
    machine = f"{device_name(torch.device('cpu'))}, {os.cpu_count()} CPUs"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}; load before: {load:.1f}\n"
    yield "| jobs | graded | time | each | processor time each | memory: grader | a worker |"
    yield "|---|---|---|---|---|---|---|"
    for jobs in (1, 2):
        out, started, cost = folder / f"jobs-{jobs}", time.perf_counter(), Cost()
        cost.start()
        grade_all(inbox, out, jobs)
        spent = (time.perf_counter() - started, cost.seconds())
        tables.append((out / "grades.csv").read_bytes())
        graded = len(list(out.glob("results/*.json")))
        each = " | ".join(f"{seconds / count:.2f} s" for seconds in spent)
        memory = " | ".join(f"{held:.0f} MiB" for held in cost.memory)
        yield f"| {jobs} | {graded} | {spent[0]:.0f} s | {each} | {memory} |"
    kept = killed_half_way(inbox, folder / "killed", count)
    left = left_behind()
    grade_all(inbox, folder / "killed", 2)
    tables.append((folder / "killed/grades.csv").read_bytes())
    same = "the same bytes" if len(set(tables)) == 1 else "DIFFERENT"
    yield (
        f"\nKilled (SIGKILL) with {kept} results kept; workers left behind: {left}. Gone on with "
        f"--resume. The three tables are {same}, with {tables[0].count(b'student-')} students; "
        f"workers left in the end: {left_behind()}."
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        report = list(tried(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 300))
    PAGE.write_text("\n".join(report) + "\n", encoding="utf-8")
    print(PAGE)
