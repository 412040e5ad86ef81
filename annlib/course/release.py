"""What `make course` does: check the sources, run both editions, judge them, write the pages."""

from collections.abc import Callable
from pathlib import Path

from annlib.course.gates import Report, review
from annlib.course.lessons import check_current, notebooks_of, sources
from annlib.course.lint import lint_all
from annlib.course.pages import publish
from annlib.course.runs import Run, run_all


def release(root: Path, folder: Path, say: Callable[[str], None], jobs: int = 2) -> list[str]:
    """Write `folder`/index.html and return every finding; none means that the course may go out."""
    findings = check_current(root) + lint_all(root)
    for finding in findings:
        say(finding)
    editions = [notebooks_of(source, root) for source in sources(root)]
    solutions = execute([solution for _, solution in editions], folder / "solutions", say, jobs)
    learners = execute([learner for learner, _ in editions], folder / "learner", say, jobs)
    reports = [
        Report(solution.run, solution.findings | {"learner edition": told(learner)})
        for solution, learner in zip(solutions, learners, strict=True)
    ]
    say(f"Pages: {publish(reports, folder)}")
    return findings + [finding for report in reports for finding in told(report)]


def execute(
    notebooks: list[Path], folder: Path, say: Callable[[str], None], jobs: int
) -> list[Report]:
    """Run notebooks in quick mode on the CPU and judge them, telling what happens."""

    def tell(run: Run) -> None:
        state = "failed" if run.error else "ran"
        say(f"{folder.name}/{run.notebook.name} {state} in {run.seconds:.0f} s")

    parameters = {"mode": "quick", "device": "cpu", "seed": 0}
    reports = [review(run) for run in run_all(notebooks, folder, parameters, jobs, tell)]
    for report in reports:
        for finding in told(report):
            say(finding)
    return reports


def told(report: Report) -> list[str]:
    """The findings of one run as sentences that name the notebook and the gate."""
    place = f"{report.run.output.parent.name}/{report.run.output.name}"
    return [f"{place} [{gate}] {text}" for gate, found in report.findings.items() for text in found]
