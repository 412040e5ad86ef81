"""annlib sweep: runs one notebook with many parameters and tabulates the results."""

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.cli.common import at_least_one
from annlib.files import in_project, write_atomically

if TYPE_CHECKING:
    from annlib.course.sweeping import Grid, Outcome


@dataclass(frozen=True)
class Sweep:
    """Run a notebook once for each combination of a grid, and write mean and spread over seeds.

    The grid is a JSON file:

    {"notebook": "notebooks/jobs/train_town.ipynb", "base": {"iterations": 600},
    "grid": {"head": ["apnb", "ann"], "seed": [0, 1, 2]}}

    After a stop the same command continues: finished runs are not repeated, failed ones are.
    """

    grid: Positional[Path]  # The JSON file; "runs" in it lists further combinations.
    jobs: int = 2  # Runs at a time: as many as there are cores, or GPUs.
    out: Path | None = None  # Folder of the results; runs/sweep-GRID if not given.
    only: int | None = None
    """Run only this combination, counted from 1: for arrays of a cluster. Writes no table."""
    count: bool = False  # Print how many combinations there are, and do nothing else.
    table: bool = False  # Run nothing; write the tables of the runs that have ended.

    def run(self) -> None:
        from annlib.course.sweeping import outcome_of, read_grid, run_one

        at_least_one("--jobs", self.jobs)
        if (self.only is not None) + self.count + self.table > 1:
            raise ValueError("--only, --count and --table are three different things: give one.")
        grid = read_grid(in_project(self.grid))
        if self.count:
            return print(len(grid.combinations))
        self.note(grid)
        if self.only is None:
            self.run_all(grid)
        else:
            combination = grid.number(self.only)
            outcome = outcome_of(self.folder, combination)
            if outcome is None or outcome.failed:
                outcome = run_one(grid.notebook, combination, self.folder)
            print(line(outcome))
            if outcome.failed:
                sys.exit(f"annlib: {outcome.error}")

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / f"sweep-{self.grid.stem}"

    def note(self, grid: "Grid") -> None:
        """Writes whose folder it is. ValueError for that of another grid, unless --out names it."""
        from annlib.engine.results import to_json, without_names
        from annlib.engine.runs import parse

        path, place = self.folder / "grid.json", without_names(str(in_project(self.grid).resolve()))
        told = {"grid": place, "runs": [one.name for one in grid.combinations]}
        before = parse(path.read_bytes()) if path.is_file() else None
        if before and not self.out and all(before.get(key) != told[key] for key in told):
            other = f"{self.folder} holds the sweep of another grid, {before.get('grid')}, whose"
            remedy = "give another folder (--out), or this one, if you moved the grid."
            raise ValueError(f"{other} tables those of {place} would replace: {remedy}")
        write_atomically(path, to_json(told))

    def run_all(self, grid: "Grid") -> None:
        """Runs what is not finished, a line for each run; always writes the tables."""
        from annlib.course.sweeping import collected, sweep, write_all
        from annlib.engine.results import without_names

        total, started = len(grid.combinations), time.perf_counter()
        try:
            if not self.table:
                print(f"{total} runs of {grid.notebook.name}, {self.jobs} at a time", flush=True)
                for done, outcome in enumerate(sweep(grid, self.folder, self.jobs), 1):
                    left = (time.perf_counter() - started) / done * (total - done)
                    to_go = f"; about {left / 60:.0f} min to go" if left >= 60 else ""
                    print(f"{done} of {total}  {line(outcome)}{to_go}", flush=True)
        except KeyboardInterrupt:
            print(f"\nStopped. {self.folder} keeps finished runs: the same command continues.")
            raise
        finally:
            outcomes = collected(grid, self.folder)
            if outcomes:
                words = ["annlib", "sweep", str(self.grid), "--out", str(self.folder)]
                command = shlex.join(map(without_names, words))  # makes the same table
                print(f"\n{write_all(grid, outcomes, self.folder, command)}")
                print(f"Saved {self.folder}/table.md, results.json, results.csv, index.html")
        if not outcomes:
            raise FileNotFoundError(f"No run of this grid has ended in {self.folder} yet.")
        failed = sum(outcome.failed for outcome in outcomes)
        if failed:
            sys.exit(f"annlib: {failed} of {total} runs failed, see above.")


def line(outcome: "Outcome") -> str:
    """How one run ended, in one line."""
    return f"{outcome.label}: {outcome}, {outcome.seconds:.0f} s"
