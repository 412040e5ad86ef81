"""What `make course` does: check sources, run both editions, judge them, write pages."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat

from annlib.course.authoring.build import check_current, notebooks_of, sources
from annlib.course.authoring.lint import lint_all
from annlib.course.running.execute import Parameters, Run, run_all
from annlib.course.running.gates import Report, record, review
from annlib.course.running.pages import publish

CELL_SECONDS = {"quick": 600, "learn": 3600, "full": 7 * 24 * 3600}  # then it is stopped


class Batch(NamedTuple):
    """How lessons are run: where their pages go, with which parameters, how many at a time."""

    folder: Path
    parameters: Parameters
    jobs: int = 2
    resume: bool = False


def chosen(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The sources whose number or name is given, in the order of the course; all for none.

    "4", "04" and "04_anchors" mean the same. Raises ValueError for a name that no lesson has.
    """
    found = sources(root)
    called = {}
    for name in names:
        stem = Path(name).stem
        number = f"{int(stem):02}_" if stem.isdigit() else None
        called[name] = [s for s in found if s.stem == stem or (number and s.stem[:3] == number)]
        if not called[name]:
            known = ", ".join(source.stem for source in found)
            raise ValueError(f"No lesson {name!r}. Name them by number or name: {known}.")
    return [s for s in found if not names or any(s in some for some in called.values())]


def release(
    root: Path,
    batch: Batch,
    say: Callable[[str], None],
    names: tuple[str, ...] = (),
    keep_record: bool = False,
) -> list[str]:
    """Write `batch.folder`/index.html and return every finding; none: the course may go out.

    Learner editions stop at what is not filled in, so they are run in quick mode only.
    """
    findings = check_current(root) + lint_all(root)
    for finding in findings:
        say(finding)
    editions = [notebooks_of(source, root) for source in chosen(root, names)]
    reports = execute([solution for _, solution in editions], "solutions", batch, say)
    for place, report in enumerate(reports if keep_record else []):
        if not report.run.error:  # record its claims, and compare the text with them again
            notebook = nbformat.read(report.run.output, as_version=4)
            say(f"Recorded: {record(notebook, report.run.seconds)}")
            reports[place] = review(report.run)
    if batch.parameters.get("mode") == "quick":
        learners = execute([learner for learner, _ in editions], "learner", batch, say)
        reports = [
            Report(solution.run, solution.findings | {"learner edition": told(learner)})
            for solution, learner in zip(reports, learners, strict=True)
        ]
    say(f"Pages: {publish(reports, batch.folder)}")
    return findings + [finding for report in reports for finding in told(report)]


def execute(
    notebooks: list[Path], edition: str, batch: Batch, say: Callable[[str], None]
) -> list[Report]:
    """Run notebooks and judge them, telling what happens."""
    ended: list[Run] = []

    def tell(run: Run) -> None:
        ended.append(run)
        state = "failed" if run.error else "ran"
        place = f"{edition}/{run.notebook.name}"
        say(f"{len(ended)} of {len(notebooks)}: {place} {state} in {run.seconds:.0f} s")

    limit = CELL_SECONDS[str(batch.parameters.get("mode", "learn"))]
    folder = batch.folder / edition
    runs = run_all(notebooks, folder, batch.parameters, batch.jobs, tell, limit, batch.resume)
    reports = [review(run) for run in runs]
    for finding in [finding for report in reports for finding in told(report)]:
        say(finding)
    return reports


def told(report: Report) -> list[str]:
    """The findings of one run as sentences that name the notebook and the gate."""
    place = f"{report.run.output.parent.name}/{report.run.output.name}"
    return [f"{place} [{gate}] {text}" for gate, found in report.findings.items() for text in found]
