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

CELL_SECONDS = {"quick": 600, "learn": 3600, "full": 7 * 24 * 3600}  # then it is taken to hang


class Batch(NamedTuple):
    """How lessons are run: where their pages go, with which parameters, how many at a time."""

    folder: Path
    parameters: Parameters
    jobs: int = 2
    resume: bool = False

    @property
    def mode(self) -> str:
        return str(self.parameters.get("mode", "learn"))


def chosen(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The sources whose number or name is given, in the order of the course; all for none.

    Raises ValueError for a name that no lesson has.
    """
    found = sources(root)
    for name in names:
        if not any(is_called(source, name) for source in found):
            known = ", ".join(source.stem for source in found)
            raise ValueError(f"No lesson {name!r}. Name them by number or name: {known}.")
    return [s for s in found if not names or any(is_called(s, name) for name in names)]


def is_called(source: Path, name: str) -> bool:
    """Whether "4", "04" or "04_anchors" means this lesson."""
    stem = Path(name).stem
    return stem == source.stem or (stem.isdigit() and int(stem) == int(source.stem[:2]))


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
    if keep_record:
        reports = [kept(report, say) for report in reports]
    if batch.mode == "quick":
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
        say(
            f"{len(ended)} of {len(notebooks)}: {edition}/{run.notebook.name} {state} in "
            f"{run.seconds:.0f} s"
        )

    runs = run_all(
        notebooks,
        batch.folder / edition,
        batch.parameters,
        batch.jobs,
        tell,
        CELL_SECONDS[batch.mode],
        batch.resume,
    )
    reports = [review(run) for run in runs]
    for report in reports:
        for finding in told(report):
            say(finding)
    return reports


def kept(report: Report, say: Callable[[str], None]) -> Report:
    """Records the claims of a run that ended well, and compares the text with them once more."""
    if report.run.error:
        return report
    notebook = nbformat.read(report.run.output, as_version=4)
    say(f"Recorded: {record(notebook, report.run.seconds)}")
    return review(report.run)


def told(report: Report) -> list[str]:
    """The findings of one run as sentences that name the notebook and the gate."""
    place = f"{report.run.output.parent.name}/{report.run.output.name}"
    return [f"{place} [{gate}] {text}" for gate, found in report.findings.items() for text in found]
