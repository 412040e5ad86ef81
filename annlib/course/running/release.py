"""What `make course` does: check the sources, run both editions, judge them, write the pages."""

from collections.abc import Callable
from pathlib import Path

from annlib.course.authoring.building import check_current, notebooks_of, sources
from annlib.course.authoring.lint import lint_all
from annlib.course.running.gates import Report, review
from annlib.course.running.pages import publish
from annlib.course.running.runs import Parameters, Run, run_all


def release(
    root: Path, folder: Path, say: Callable[[str], None], parameters: Parameters, jobs: int = 2
) -> list[str]:
    """Write `folder`/index.html and return every finding; none means that the course may go out."""
    findings = check_current(root) + lint_all(root)
    for finding in findings:
        say(finding)
    editions = [notebooks_of(source, root) for source in sources(root)]
    solutions = [solution for _, solution in editions]
    learners = [learner for learner, _ in editions]
    solutions = execute(solutions, folder / "solutions", say, parameters, jobs)
    learners = execute(learners, folder / "learner", say, parameters, jobs)
    reports = [
        Report(solution.run, solution.findings | {"learner edition": told(learner)})
        for solution, learner in zip(solutions, learners, strict=True)
    ]
    say(f"Pages: {publish(reports, folder)}")
    return findings + [finding for report in reports for finding in told(report)]


def execute(
    notebooks: list[Path],
    folder: Path,
    say: Callable[[str], None],
    parameters: Parameters,
    jobs: int,
) -> list[Report]:
    """Run notebooks and judge them, telling what happens."""

    def tell(run: Run) -> None:
        state = "failed" if run.error else "ran"
        say(f"{folder.name}/{run.notebook.name} {state} in {run.seconds:.0f} s")

    reports = [review(run) for run in run_all(notebooks, folder, parameters, jobs, tell)]
    for report in reports:
        for finding in told(report):
            say(finding)
    return reports


def told(report: Report) -> list[str]:
    """The findings of one run as sentences that name the notebook and the gate."""
    place = f"{report.run.output.parent.name}/{report.run.output.name}"
    return [f"{place} [{gate}] {text}" for gate, found in report.findings.items() for text in found]
