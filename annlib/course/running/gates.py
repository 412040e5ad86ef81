"""What an executed lesson must satisfy; each gate returns its findings.

Claims that a quick run cannot measure (long trainings, timings) are compared with a recorded run.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from annlib.course.lesson import PROGRESS, ROOT, Claim, claims_in, read_notebook
from annlib.course.running.execute import Run, is_learner

FOLDER = ROOT / "data/results/lessons"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
STATED = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h) \((quick|learn|full)\)")
SECONDS = {"s": 1, "min": 60, "h": 3600}
TOLERANCE, SILENT_SECONDS, SHORTEST_ALT = 1.5, 60, 15
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


class Report(NamedTuple):
    run: Run
    findings: dict[str, list[str]]  # of each gate: {"time": ["..."], "widgets": []}

    def sentences(self) -> list[str]:
        """The findings, each with the name of the notebook and of the gate."""
        place = f"{self.run.output.parent.name}/{self.run.output.name}"
        return [f"{place} [{gate}] {text}" for gate, all_ in self.findings.items() for text in all_]


def record_of(notebook: NotebookNode) -> Path:
    source = notebook.metadata.get("annlib", {}).get("source", "")
    return FOLDER / f"{Path(source).stem}.json"


def widget_models(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """{model id: model} of the widgets saved in the notebook."""
    return notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})


def name_of(cell: NotebookNode) -> str:
    """By its first tag, or else its first line."""
    return f"cell {(cell.metadata.get('tags') or [cell.source.partition(chr(10))[0][:60]])[0]!r}"


def named_outputs(notebook: NotebookNode) -> list[tuple[str, NotebookNode]]:
    """(cell, output) for every output, those inside widgets included."""
    found = [(name_of(cell), one) for cell in notebook.cells for one in cell.get("outputs", [])]
    for model in widget_models(notebook).values():
        outputs = model["state"].get("outputs", [])
        found += [("a widget", nbformat.from_dict(output)) for output in outputs]
    return found


def widget_errors(notebook: NotebookNode) -> Iterator[str]:
    """Crashed widget callbacks, on which papermill reports success."""
    for place, one in named_outputs(notebook):
        if place == "a widget" and one.output_type == "error":
            yield f"{place} raised {one.ename}: {one.evalue}. Its figure stays empty for learners."


def only_not_started(notebook: NotebookNode) -> Iterator[str]:
    """Errors of a learner edition other than "not started"."""
    for place, one in named_outputs(notebook):
        if one.output_type == "error" and one.ename != "NotYet":
            said = f"{place} raised {one.ename}: {one.evalue}. With an unfilled exercise a"
            yield f"{said} cell may only raise NotYet: use annlib's own function there."


def stated_seconds(header: str) -> dict[str, float]:
    """{"quick": 20.0} from the header's line `- **Runs in:** 20 s (quick), 2 min (learn)`."""
    lines = "\n".join(line for line in header.splitlines() if "**Runs in:**" in line)
    return {mode: float(n) * SECONDS[unit] for n, unit, mode in STATED.findall(lines)}


def cell_seconds(cell: NotebookNode) -> float:
    """How long a cell ran; 0 for one that did not."""
    return cell.metadata.get("papermill", {}).get("duration") or 0


def mode_and_time(notebook: NotebookNode) -> tuple[str, float | None]:
    """The mode of a run, and the seconds that the header states for it."""
    run = notebook.metadata.get("papermill", {})  # absent if the run ended before its first cell
    mode = run.get("parameters", {}).get("mode", "learn")
    headers = [c.source for c in notebook.cells if "header" in c.metadata.get("tags", [])]
    return mode, stated_seconds("\n".join(headers)).get(mode)


def time_budget(notebook: NotebookNode) -> Iterator[str]:
    """A run that took more than 1.5 times what the header promises for its mode."""
    mode, stated = mode_and_time(notebook)
    if stated is None:
        yield f"The header does not say how long {mode!r} runs: `- **Runs in:** 20 s ({mode})`."
        return
    # Without the set-up cell: how long libraries take to load depends on the disk.
    cells = [c for c in notebook.cells if "setup" not in c.metadata.get("tags", [])]
    total, slowest = sum(map(cell_seconds, cells)), max(cells, key=cell_seconds)
    if total > (limit := TOLERANCE * stated):
        yield (
            f"{total:.0f} s in mode {mode!r}, but the header states {stated:.0f} s (limit "
            f"{limit:.0f} s). Slowest: {cell_seconds(slowest):.0f} s, {name_of(slowest)}."
        )


def claims_hold(notebook: NotebookNode) -> Iterator[str]:
    """Numbers in the text that neither this run nor the recorded one confirms."""
    stated = [one for cell in notebook.cells for one in cell.metadata.get("claims", [])]
    path, recorded, made = record_of(notebook), {}, claims_in(notebook)
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))["claims"]
        fields = Claim._fields[1:]
        recorded = {name: Claim(name, *map(one.get, fields)) for name, one in kept.items()}
    for text, name in stated:
        if (claim := made.get(name)) is None:
            yield f"the text states {text!r}, but no cell claims {name!r}."
            continue
        if claim.judge == "none":
            continue
        claim = recorded.get(name) if claim.judge == "record" else claim
        number = NUMBER.search(text.replace("−", "-"))
        if claim is None:
            yield (
                f"the text states {text!r} by {name!r}, which this mode does not measure "
                "and data/results/lessons does not hold: python -m tools.record_claims keeps it."
            )
        elif number is None:
            yield f"{text!r} leans on claim {name!r} but holds no number."
        elif not abs(float(number[0].replace(",", "")) - claim.value) <= claim.within * (1 + 1e-9):
            yield (
                f"the text states {text!r}, but {name!r} came out as {claim.value:.4g} "
                f"{claim.unit} (within {claim.within:g}): change the text, or find out why."
            )


def no_silent_minute(notebook: NotebookNode) -> Iterator[str]:
    """Cells that took more than a minute without a progress bar."""
    for cell in notebook.cells:
        bars = [output for output in cell.get("outputs", []) if PROGRESS in output.get("data", {})]
        if cell_seconds(cell) > SILENT_SECONDS and not bars:
            took = f"{name_of(cell)} took {cell_seconds(cell):.0f} s without a word, so learners"
            yield f"{took} think it hangs: loop with annlib.course.lesson.progress."


def figures_have_alt(notebook: NotebookNode) -> Iterator[str]:
    """Images without a description, and figures that came out as text only."""
    for place, output in named_outputs(notebook):
        data = output.get("data", {})
        alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
        if "image/png" in data and len(alt.strip()) < SHORTEST_ALT:
            yield (
                f"{place} shows an image with the alt text {alt!r}, so learners who cannot see it "
                "get nothing. Show it with its description by annlib.course.plots.show."
            )
        if "image/png" not in data and data.get("text/plain", "").startswith("<Figure"):
            yield f"{place} shows a figure as the text {data['text/plain']!r} only."


def all_cells_ran(notebook: NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            yield f"{name_of(cell)} was not executed."


def review(run: Run) -> Report:
    """All gates for one run, of either edition."""
    notebook = read_notebook(run.output)
    findings: dict[str, Iterable[str]] = {"runs": [run.error] if run.error else []}
    if is_learner(notebook):
        findings["only not started"] = only_not_started(notebook)
    elif not run.error:
        findings["claims"] = claims_hold(notebook)
    # What did not run after an error was said already.
    findings["complete"] = [] if run.error else all_cells_ran(notebook)
    findings |= {"widgets": widget_errors(notebook), "time": time_budget(notebook)}
    findings |= {"progress": no_silent_minute(notebook), "alt text": figures_have_alt(notebook)}
    return Report(run, {gate: list(found) for gate, found in findings.items()})
