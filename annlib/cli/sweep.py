"""annlib sweep: runs one notebook with many parameters and tabulates the results."""

import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.cli.common import at_least_one

if TYPE_CHECKING:
    from annlib.course.sweeping.grid import Grid
    from annlib.course.sweeping.run import Outcome


@dataclass(frozen=True)
class Sweep:
    """Run a notebook once for each combination of a grid, and write mean and spread over seeds.

    The grid is a JSON file: {"notebook": "notebooks/jobs/train_town.ipynb", "base": {"iterations":
    600}, "grid": {"head": ["apnb", "ann"], "seed": [0, 1, 2]}}. After a stop the same command goes
    on: what is finished is not repeated, what failed is tried again.
    """

    grid: Positional[Path]
    """The JSON file; "runs" in it lists further combinations."""
    jobs: int = 2
    """Runs at a time: as many as there are cores, or GPUs."""
    out: Path | None = None
    """Folder of the executed notebooks and tables; runs/sweep-GRID if not given."""
    only: int | None = None
    """Run this combination only, counted from 1: for arrays of a cluster. Writes no table."""
    count: bool = False
    """Print how many combinations there are, and do nothing else."""
    table: bool = False
    """Run nothing; write the tables of what is there."""

    def run(self) -> None:
        from annlib.course.sweeping.grid import read_grid

        at_least_one("--jobs", self.jobs)
        if (self.only is not None) + self.count + self.table > 1:
            raise ValueError("--only, --count and --table are three different things: give one.")
        grid = read_grid(self.grid)
        if self.count:
            print(len(grid.combinations))
        elif self.only is not None:
            self.run_only(grid, self.only)
        else:
            self.run_all(grid)

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / f"sweep-{self.grid.stem}"

    def run_only(self, grid: "Grid", number: int) -> None:
        """One run in this process; exit code 1 if it fails."""
        from annlib.course.sweeping.run import outcome_of, run_one

        combination = grid.number(number)
        outcome = outcome_of(self.folder, combination)
        if outcome is None or outcome.failed:
            outcome = run_one(grid.notebook, combination, self.folder)
        print(line(outcome))
        if outcome.failed:
            sys.exit(f"annlib: {outcome.error}")

    def run_all(self, grid: "Grid") -> None:
        """All that are not finished; the tables are written however it ends."""
        from annlib.course.sweeping.run import collected

        try:
            for _ in self.ended(grid) if not self.table else []:
                pass
        except KeyboardInterrupt:
            print(f"\nStopped. {self.folder} keeps what is finished: the same command goes on.")
            raise
        finally:
            outcomes = collected(grid, self.folder)
            if outcomes:
                self.write(grid, outcomes)
        if not outcomes:
            raise FileNotFoundError(f"No run of this grid has ended in {self.folder} yet.")
        failed = [outcome for outcome in outcomes if outcome.failed]
        if failed:
            sys.exit(f"annlib: {len(failed)} of {len(grid.combinations)} runs failed, see above.")

    def ended(self, grid: "Grid") -> "Iterator[Outcome]":
        """Runs the grid and says a line for each run as it ends."""
        from annlib.course.sweeping.run import sweep

        total, started = len(grid.combinations), time.perf_counter()
        print(f"{total} runs of {grid.notebook.name}, {self.jobs} at a time", flush=True)
        for done, outcome in enumerate(sweep(grid, self.folder, self.jobs), 1):
            rest = (time.perf_counter() - started) / done * (total - done)
            print(f"{done} of {total}  {line(outcome)}{to_go(rest)}", flush=True)
            yield outcome

    def write(self, grid: "Grid", outcomes: "list[Outcome]") -> None:
        from annlib.course.sweeping.tables import write_all

        print(f"\n{write_all(grid, outcomes, self.folder, self.command())}")
        print(f"Saved {self.folder}/table.md, results.json, results.csv, index.html")

    def command(self) -> str:
        """The words that make the same table, without private parts of paths."""
        from annlib.engine.results import without_names

        words = ["annlib", "sweep", str(self.grid), "--out", str(self.folder)]
        return shlex.join(map(without_names, words))


def line(outcome: "Outcome") -> str:
    """How one run ended, in one line."""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.result.items())
    found = f"FAILED: {outcome.reason}" if outcome.failed else numbers
    return f"{outcome.label}: {found}, {outcome.seconds:.0f} s"


def to_go(seconds: float) -> str:
    return f"; about {seconds / 60:.0f} min to go" if seconds >= 60 else ""
