"""Runs a grid, several runs at a time; keeps what is finished, records what failed."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

from IPython.display import display

from annlib.course.lesson import Parameters, claims_in
from annlib.course.sweeping.grid import Combination, Grid

RESULT = "application/vnd.annlib.result+json"
A_WEEK = 7 * 24 * 3600  # seconds for a cell: a sweep trains, and SLURM has its own clock


def show_result(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            raise ValueError(f"The result {name!r} is {value!r}: a table of means needs a number.")
    text = "Result: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    display({RESULT: dict(values), "text/plain": text}, raw=True)


def result_in(notebook: Path) -> dict[str, float]:
    """The results of an executed notebook, and its claims.  Raises ValueError if it has neither."""
    import nbformat  # takes a second, which a lesson that shows a table can spare

    content = nbformat.read(notebook, as_version=4)
    found = {name: claim.value for name, claim in claims_in(content).items()}
    for cell in content.cells:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(RESULT, {})
    if not found:
        raise ValueError(
            f"{notebook.name} ran to its end but shows no result: its last cell should call "
            'show_result({"miou": ...}), which is in annlib.course.sweeping.run.'
        )
    return found


@dataclass(frozen=True)
class Outcome:
    """How one run of a grid ended. `result` is empty and `error` says why if it failed."""

    number: int
    label: str
    parameters: Parameters
    seconds: float
    result: dict[str, float]
    error: str | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None

    @property
    def reason(self) -> str:
        """The line of the error that says what was wrong."""
        lines = [line.strip() for line in (self.error or "").splitlines() if line.strip()]
        lines = [line for line in lines if not line.startswith("It is kept")] or [""]
        return lines[-1].replace("|", "/")  # it may stand in a table

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.result.items())
        return f"FAILED: {self.reason}" if self.failed else numbers


def notebook_of(folder: Path, combination: Combination) -> Path:
    """The executed notebook of a run, in the folder of its sweep."""
    return folder / "runs" / f"{combination.name}.ipynb"


def outcome_of(folder: Path, combination: Combination) -> Outcome | None:
    """How a run ended, if it has; None for one that did not begin or was cut off."""
    path = notebook_of(folder, combination).with_suffix(".json")
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(**told | {"number": combination.number, "label": combination.label})


def run_one(notebook: Path, combination: Combination, folder: Path) -> Outcome:
    """Executes one run and keeps how it ended: last of all, so that half a run leaves nothing."""
    from annlib.course.running.execute import run  # imports Jupyter, as above

    output = notebook_of(folder, combination)
    record = output.with_suffix(".json")
    record.unlink(missing_ok=True)
    number, label, _, parameters = combination
    threads = int(parameters.get("threads") or 0) or (os.cpu_count() or 1)
    executed = run(notebook, output, parameters, A_WEEK, threads)
    error, result = executed.error, {}
    try:
        result = {} if error else result_in(output)
    except ValueError as problem:
        error = str(problem)
    outcome = Outcome(number, label, parameters, executed.seconds, result, error)
    half = record.with_suffix(".part")  # renamed when it is whole; what checkpoints do needs torch
    half.write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
    os.replace(half, record)
    return outcome


def collected(grid: Grid, folder: Path) -> list[Outcome]:
    """How the runs of a grid ended, in its order; those that have not are left out."""
    found = (outcome_of(folder, combination) for combination in grid.combinations)
    return [outcome for outcome in found if outcome]


def sweep(grid: Grid, folder: Path, jobs: int = 2) -> Iterator[Outcome]:
    """The outcome of each run as it ends; first those that were finished here before.

    A failed run does not stop the others; the next sweep tries it again. Nothing of a run that was
    cut off counts. When the caller stops iterating, no further run is begun.
    """
    from annlib.course.running.execute import in_processes

    finished = [outcome for outcome in collected(grid, folder) if not outcome.failed]
    yield from finished
    numbers = {outcome.number for outcome in finished}
    waiting = [(grid.notebook, c, folder) for c in grid.combinations if c.number not in numbers]
    if waiting:  # Ctrl-C reaches every process of a terminal: it ends a worker and its kernel
        ends = signal.signal, (signal.SIGINT, signal.SIG_DFL)
        yield from in_processes(run_one, waiting, jobs, *ends)
