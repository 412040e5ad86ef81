"""One notebook, many parameters: the grid, its runs, and one table of what came out."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.display import display

from annlib.config import fits
from annlib.course import lesson
from annlib.engine.metrics import table
from annlib.engine.results import provenance, to_json, write_results
from annlib.files import in_project, read_json, write_atomically

if TYPE_CHECKING:  # pandas and Jupyter take seconds, which a lesson without a table can spare
    from pandas import DataFrame

SEED = "seed"
RESULT = "application/vnd.annlib.result+json"
A_WEEK = 7 * 24 * 3600  # seconds for a cell: a sweep trains, and SLURM has its own clock
LEGEND = "Mean ± standard deviation over seeds (number of runs). Failed runs count in no mean."


class Combination(NamedTuple):
    number: int  # of this run in its grid, from 1
    label: str  # how it differs from the others: "head ann, seed 0"
    name: str  # of its files; another notebook or another value gives another name
    parameters: lesson.Parameters


class Grid(NamedTuple):
    notebook: Path
    varied: tuple[str, ...]  # the parameters by which runs differ, the seed last
    combinations: tuple[Combination, ...]

    def number(self, number: int) -> Combination:
        """Raises ValueError unless 1 <= number <= how many there are."""
        size = len(self.combinations)
        if 1 <= number <= size:
            return self.combinations[number - 1]
        raise ValueError(f"No combination {number}: this grid has {size}, counted from 1.")


def read_grid(path: Path) -> Grid:
    """The grid of a JSON file, its notebook sought here or beside it.  Raises ValueError."""
    told = read_json(path)
    kinds = {"notebook": str, "base": dict, "grid": dict, "runs": list}
    fits = isinstance(told, dict) and "notebook" in told
    fits = fits and all(isinstance(value, kinds.get(key, object)) for key, value in told.items())
    if not fits or not all(isinstance(one, dict) for one in told.get("runs", ())):
        form = '{"notebook": "...ipynb", "base": {}, "grid": {}, "runs": [{}]}'
        raise ValueError(f"{path} must hold {form}; base, grid and runs may be missing.")
    lesson.refuse_unknown(told, [*kinds], path.name)
    places = [in_project(Path(told["notebook"])), path.parent / told.pop("notebook")]
    if not (found := [place for place in places if place.is_file()]):
        raise FileNotFoundError(f"The notebook is neither {' nor '.join(map(str, places))}.")
    return make_grid(found[0], **({"grid": {}} | told))


def make_grid(
    notebook: Path,
    grid: Mapping[str, Sequence[Any]],
    base: Mapping[str, Any] | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
) -> Grid:
    """All combinations of the grid's values, then the extra runs; `base` goes for all of them.

    Raises ValueError, before anything runs, for a parameter that the notebook does not have, and
    for a combination that comes twice: one run would count as two.
    """
    base, known = dict(base or {}), lesson.known_parameters(notebook)
    for given in (grid, base, *runs):
        lesson.refuse_unknown(given, list(known), notebook.name)
    for name, values in grid.items():
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"grid: {name} is {values!r}; it takes a list of values: [0, 1, 2].")
    points = [zip(grid, values, strict=True) for values in product(*grid.values())]
    given = [base | dict(one) for one in [*(points if grid or not runs else []), *runs]]
    given = [lesson.check_parameters(notebook, parameters) for parameters in given]
    everything = [known | parameters for parameters in given]
    texts = [json.dumps(parameters, sort_keys=True) for parameters in everything]
    forms = list(map(plain, everything))
    for number, form in enumerate(forms, 1):
        if (first := forms.index(form) + 1) != number:
            raise ValueError(
                f"Combinations {first} and {number} are the same, so one run would count as two. "
                "Is a value twice in the grid, or an extra run already part of it?"
            )
    names = {name for parameters in given for name in parameters}
    varied = [n for n in everything[0] if n in names and len({plain(e[n]) for e in everything}) > 1]
    varied.sort(key=lambda name: name == SEED)  # the others in the order of the notebook
    # What the notebook does: its code, without its outputs and its text.
    cells = lesson.read_notebook(notebook).cells
    code = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
    combinations = []
    for number, (text, parameters) in enumerate(zip(texts, everything, strict=True), 1):
        words = [f"{name} {show(parameters[name])}" for name in varied]
        readable = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:60]
        identity = hashlib.sha256((text + code).encode()).hexdigest()[:8]
        name, label = f"{readable}-{identity}".strip("-"), ", ".join(words) or "the only run"
        combinations.append(Combination(number, label, name, parameters))
    return Grid(notebook, tuple(varied), tuple(combinations))


def plain(value: object) -> str:
    """A value as JSON in which 1.0 is 1 and -0.0 is 0."""
    whole = lambda x: int(float(x)) if float(x).is_integer() else float(x)  # noqa: E731
    return json.dumps(json.loads(json.dumps(value), parse_float=whole), sort_keys=True)


def show(value: object) -> str:
    """A value in a table: lists without brackets."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def show_result(values: Mapping[str, float]) -> None:
    values = {name: v.item() if hasattr(v, "item") else v for name, v in values.items()}
    for name, value in values.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            raise ValueError(f"The result {name!r} is {value!r}: a table of means needs a number.")
    text = "Result: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    display({RESULT: values, "text/plain": text}, raw=True)


def result_in(notebook: Path) -> dict[str, float]:
    """The results of an executed notebook, and its claims.  Raises ValueError if it has neither."""
    content, found = lesson.read_notebook(notebook), {}
    with suppress(AttributeError, KeyError, TypeError):  # changed: no result is found
        found = {name: claim.value for name, claim in lesson.claims_in(content).items()}
        for output in (one for cell in content.cells for one in cell.get("outputs", [])):
            found |= output.get("data", {}).get(RESULT, {})
    if not found or not all(fits(value, float) for value in found.values()):
        said = f"{notebook.name} ran to its end but shows no result of finite numbers: its last "
        raise ValueError(said + 'cell calls show_result({"miou": ...}) of annlib.course.sweeping.')
    return found


class Outcome(NamedTuple):
    """How one run of a grid ended. `result` is empty and `error` says why if it failed."""

    number: int
    label: str
    parameters: lesson.Parameters
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
    """The executed notebook of a run, in the folder of its sweep, also of one that varied less."""
    exact = folder / "runs" / f"{combination.name}.ipynb"
    others = [] if exact.is_file() else exact.parent.glob(f"*{combination.name[-8:]}.ipynb")
    return min(others, default=exact)


def outcome_of(folder: Path, combination: Combination) -> Outcome | None:
    """How a run ended, if it has; None for one that did not begin or was cut off."""
    notebook, (number, label, _, parameters) = notebook_of(folder, combination), combination
    seconds, error, result = 0.0, None, {}
    try:
        if (told := lesson.read_note(notebook)) is None:
            return None
        seconds, error = told["seconds"], told["error"]
        result = {} if error else result_in(notebook)
    except ValueError as problem:  # damaged: it failed, and the others stay visible
        error = str(problem)
    return Outcome(number, label, parameters, seconds, result, error)


def run_one(notebook: Path, combination: Combination, folder: Path) -> Outcome:
    from annlib.course.running.execute import run

    parameters = combination.parameters
    threads = int(parameters.get("threads") or 0) or (os.cpu_count() or 1)
    run(notebook, notebook_of(folder, combination), parameters, A_WEEK, threads)
    return outcome_of(folder, combination)


def collected(grid: Grid, folder: Path) -> list[Outcome]:
    """How the runs of a grid ended, in its order; those that have not are left out."""
    return [found for one in grid.combinations if (found := outcome_of(folder, one))]


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
        ends = signal.signal, signal.SIGINT, signal.SIG_DFL
        yield from in_processes(run_one, waiting, jobs, *ends)


def cells(grid: Grid, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The runs that differ in nothing but the seed, together, in the order of the grid.

    A failed or missing run is counted, never left out. "numbers" is a DataFrame with a row for
    each number: mean, sd (NaN for one run), n.
    """
    from pandas import DataFrame

    ended, found = {outcome.number: outcome for outcome in outcomes}, []
    names = [name for name in grid.varied if name != SEED]
    rows = [[plain(one.parameters[name]) for name in names] for one in grid.combinations]
    frame = DataFrame(rows, columns=names, index=range(len(rows)))
    for _, group in frame.groupby(names, sort=False) if names else [((), frame)]:
        members = [grid.combinations[place] for place in group.index]
        runs = [ended[one.number] for one in members if one.number in ended]
        results = DataFrame([run.result for run in runs if not run.failed])
        numbers = {"mean": results.mean(), "sd": results.std(), "n": results.count()}
        cell = {"parameters": {name: show(members[0].parameters[name]) for name in names}}
        cell["seeds"] = [one.parameters.get(SEED) for one in members]
        cell |= {"num_failed": sum(r.failed for r in runs), "num_missing": len(members) - len(runs)}
        found.append(cell | {"numbers": DataFrame(numbers)})
    return found


def summary(grid: Grid, outcomes: Sequence[Outcome]) -> "DataFrame":
    """One line a cell, in words: mean ± standard deviation (number of runs) of each number."""
    from pandas import DataFrame

    rows = []
    for cell in cells(grid, outcomes):
        said = {
            name: f"{mean:.3f}{'' if n < 2 else f' ±{sd:.3f}'} ({n})"
            for name, mean, sd, n in cell["numbers"].itertuples(name=None)
        }
        counts = {"failed": str(cell["num_failed"]), "not run": str(cell["num_missing"])}
        rows.append((cell["parameters"] or {"runs": "all runs"}, said, counts))
    numbers = dict.fromkeys(name for _, said, _ in rows for name in said)
    columns = [*rows[0][0], *numbers, *rows[0][2]]
    return DataFrame([a | b | c for a, b, c in rows], columns=columns).fillna("-")


def summary_table(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    frame = summary(grid, outcomes)
    return table(list(frame.columns), frame.values.tolist())


def report(grid: Grid, outcomes: Sequence[Outcome]) -> str:
    """The summary, what its numbers mean, and one line a run: its numbers, or its error."""
    ended = {outcome.number: outcome for outcome in outcomes}
    numbers, rows = list(dict.fromkeys(name for o in outcomes for name in o.result)), []
    for one in grid.combinations:
        outcome = ended.get(one.number)
        found = outcome.result if outcome else {}
        values = [f"{found[name]:.4g}" if name in found else "-" for name in numbers]
        state = "not run" if outcome is None else "finished"
        state = f"failed: {outcome.reason}" if outcome and outcome.failed else state
        rows.append([str(one.number), one.label, *values, state])
    runs = table(["run", "what", *numbers, "state"], rows)
    return f"{summary_table(grid, outcomes)}\n\n{LEGEND}\n\n{runs}"


def write_all(grid: Grid, outcomes: Sequence[Outcome], folder: Path, command: str) -> str:
    """table.md, whose text is returned, results.json, index.html, and results.csv.

    The last has a line for each cell and number, an empty one for a cell without numbers.
    """
    from pandas import DataFrame

    found, lines = cells(grid, outcomes), []
    for cell in found:
        counts = {"failed": cell["num_failed"], "not_run": cell["num_missing"]}
        numbers = cell["numbers"].rename_axis("number").reset_index().to_dict("records")
        lines += [cell["parameters"] | one | counts for one in numbers or [{"number": "", "n": 0}]]
        numbers = cell["numbers"].astype(object)
        cell["numbers"] = numbers.where(numbers.notna(), None).to_dict("index")
    names = [name for name in grid.varied if name != SEED]
    columns = [*names, "number", "mean", "sd", "n", "failed", "not_run"]
    csv = DataFrame(lines, columns=columns).to_csv(index=False, lineterminator="\n")
    values = {"made": provenance(), "notebook": grid.notebook.name, "varied": grid.varied}
    runs = [outcome._asdict() for outcome in sorted(outcomes)]
    write_atomically(folder / "results.json", to_json(values | {"cells": found, "runs": runs}))
    write_atomically(folder / "results.csv", csv.encode())
    write_atomically(folder / "index.html", index_page(grid, outcomes, folder).encode())
    return write_results(report(grid, outcomes), folder / "table.md", command)


def index_page(grid: Grid, outcomes: Sequence[Outcome], folder: Path) -> str:
    """The table, and a card for each run: how it ended, its images, and its notebook."""
    from annlib.course.running.release import INDEX, images_in

    ended, cards = {outcome.number: outcome for outcome in outcomes}, []
    for one in grid.combinations:
        card = {"title": f"{one.number}. {one.label}", "text": "not run"}
        if outcome := ended.get(one.number):
            notebook, executed = notebook_of(folder, one), []
            with suppress(OSError, ValueError):  # gone, or damaged: its card says so
                executed = lesson.read_notebook(notebook).cells
            card["images"] = images_in(o for cell in executed for o in cell.get("outputs", []))
            card["link"] = notebook.relative_to(folder).as_posix()
            card |= {"text": f"{outcome}, {outcome.seconds:.0f} s", "problem": outcome.error}
        cards.append(card)
    title = f"{grid.notebook.stem}: {len(outcomes)} of {len(grid.combinations)} runs"
    summed = summary(grid, outcomes).to_html(index=False, border=0)
    return INDEX.render(title=title, table=summed, text=LEGEND, cards=cards)
