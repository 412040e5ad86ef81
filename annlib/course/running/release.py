"""What `make course` does: run both editions, judge them, write pages."""

from collections.abc import Callable
from pathlib import Path

import nbformat

from annlib.course.authoring.build import check_current, sources, targets
from annlib.course.running.execute import Parameters, Run, run_all
from annlib.course.running.gates import Report, record, review
from annlib.course.running.pages import publish

CELL_SECONDS = {"quick": 600, "learn": 3600, "full": 7 * 24 * 3600}  # then it is stopped


def chosen(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The sources whose number or name is given, in the order of the course; all for none.

    "4", "04" and "04_anchors" mean the same. Raises ValueError for a name that no lesson has.
    """
    found, wanted = sources(root), set()
    for name in names:
        stem = Path(name).stem
        start = f"{int(stem):02}_" if stem.isdigit() else None
        called = [s for s in found if s.stem == stem or (start and s.stem.startswith(start))]
        if not called:
            known = ", ".join(source.stem for source in found)
            raise ValueError(f"No lesson {name!r}. Name them by number or name: {known}.")
        wanted.update(called)
    return [source for source in found if source in wanted or not names]


def release(
    root: Path,
    folder: Path,
    parameters: Parameters,
    say: Callable[[str], None],
    names: tuple[str, ...] = (),
    jobs: int = 2,
    resume: bool = False,
    keep_record: bool = False,
) -> list[str]:
    """Write `folder`/index.html and return every finding; none: the course may go out.

    Learner editions stop at what is not filled in, so they are run in quick mode only.
    """

    def tell_all(findings: list[str]) -> list[str]:
        for finding in findings:
            say(finding)
        return findings

    def judge(edition: str) -> list[Report]:
        notebooks = [n for s in chosen(root, names) for n, e in built[s].items() if e == edition]
        out = folder / ("solutions" if edition == "solution" else edition)
        ended: list[Run] = []

        def tell(run: Run) -> None:
            ended.append(run)
            state = f"{'failed' if run.error else 'ran'} in {run.seconds:.0f} s"
            say(f"{len(ended)} of {len(notebooks)}: {out.name}/{run.notebook.name} {state}")

        limit = CELL_SECONDS[str(parameters.get("mode", "learn"))]
        runs = run_all(notebooks, out, parameters, jobs, tell, limit, resume)
        reports = [review(run) for run in runs]
        tell_all([finding for report in reports for finding in report.sentences()])
        return reports

    findings, built = tell_all(check_current(root)), targets(root)
    reports = judge("solution")
    for place, report in enumerate(reports if keep_record else []):
        if not report.run.error:  # record its claims, and compare the text with them again
            notebook = nbformat.read(report.run.output, as_version=4)
            say(f"Recorded: {record(notebook, report.run.seconds)}")
            reports[place] = review(report.run)
    if parameters.get("mode") == "quick":
        for report, learner in zip(reports, judge("learner"), strict=True):
            report.findings["learner edition"] = learner.sentences()
    say(f"Pages: {publish(reports, folder)}")
    return findings + [finding for report in reports for finding in report.sentences()]
