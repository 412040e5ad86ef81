"""Grades a folder of submissions, several at a time, resumable, and writes the results.

Each result is a file of its own, named by what it follows from. Tables are made from these files
alone, so neither the order nor the number of jobs can change them.
"""

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from annlib.grader.by_hand import SHEET, Sheet, answers_page, sheet_csv, standing
from annlib.grader.confine import Limits
from annlib.grader.feedback import feedback
from annlib.grader.judge import Assignment, Mark, Result, Submission, mark
from annlib.grader.reports import class_report, grades_csv
from annlib.grader.sandbox import open_sandbox, stage_worker


def keep(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")  # others may write it, too
    try:
        with new.open("w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a name that is there after a power cut has its text, too
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def kept_seed(out: Path, assignment: str, seed: int | None) -> int:
    """The seed of this folder: drawn once, so that grading the same again asks the same.

    Beside it a key, so that nobody can compute the name of somebody else's feedback page.
    """
    path = out / "seed.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        before, other = stored["seed"], stored.get("assignment", assignment)
        if other != assignment:
            raise ValueError(
                f"{out} has the results of {other}, not of {assignment}: points of both would be "
                "mixed. Give another folder with --out."
            )
        if seed is not None and seed != before:
            raise ValueError(
                f"{out} was graded with seed {before}, not {seed}: results of both would be mixed. "
                "Leave --seed out, or give another folder with --out."
            )
        return before
    seed = secrets.randbits(48) if seed is None else seed
    fields = {"assignment": assignment, "seed": seed, "key": secrets.token_hex(16)}
    keep(path, json.dumps(fields))
    return seed


def version_of_checks(assignment: Assignment) -> str:
    """Changes with the source of the hidden checks and of grading itself."""
    folders = (assignment.folder, Path(__file__).parent)
    files = [p for one in folders for p in sorted(one.iterdir()) if p.suffix in (".py", ".toml")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def result_path(out: Path, student: str) -> Path:
    return out / "results" / f"{hashlib.sha256(student.encode()).hexdigest()}.json"


def read_result(path: Path) -> tuple[str, Result] | None:
    """Fingerprint and result; None if there is none, or the file is damaged: it is made again."""
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        fields = stored["result"]
        fields["marks"] = tuple(Mark(*one) for one in fields["marks"])
        fields["files"], fields["failures"] = tuple(fields["files"]), tuple(fields["failures"])
        return stored["fingerprint"], Result(**fields)
    except (ValueError, KeyError, TypeError):
        return None


def grade(
    assignment: Assignment,
    submissions: Sequence[Submission],
    out: Path,
    seed: int | None,
    jobs: int,
    unsafe: bool,
    resume: bool,
    log: Callable[[str], None],
    limits: Limits | None = None,
    user: int | None = None,
) -> tuple[list[Result], list[str]]:
    """-> the results of all, by student; and a line for each whose points have changed

    limits: others than those of the assignment. user: of the workers, where root started this

    A fault of the grader itself stops no other submission: the table says so, and the submission
    is graded again whenever grading is resumed.
    """
    limits = limits or assignment.limits
    seed = kept_seed(out, assignment.name, seed)
    version = f"{assignment.name}/{seed}/{version_of_checks(assignment)}/{limits}"
    prints = {
        one.student: hashlib.sha256(f"{one.digest}/{one.note}/{version}".encode()).hexdigest()
        for one in submissions
    }
    before = {one.student: read_result(result_path(out, one.student)) for one in submissions}
    done = [s for s, found in before.items() if resume and found and found[0] == prints[s]]
    waiting = [one for one in submissions if one.student not in done]
    with tempfile.TemporaryDirectory(prefix="annlib-grader-") as folder:
        sandbox = open_sandbox(stage_worker(Path(folder)), unsafe, user)
        with ThreadPoolExecutor(jobs) as pool:
            tasks = {pool.submit(mark, assignment, s, seed, sandbox, limits): s for s in waiting}
            try:
                for number, task in enumerate(as_completed(tasks), len(done) + 1):
                    one = tasks[task]
                    fingerprint = prints[one.student]
                    try:
                        result = task.result()
                    except Exception as error:
                        fault = "The grader failed, not the student: it has to run again."
                        cause = f"{type(error).__name__}: {error}"[:300]  # for the teacher alone
                        result = Result(one.student, one.files, fault, cause, (), (), {})
                        fingerprint = ""
                    fields = result._asdict() | {"marks": [list(m) for m in result.marks]}
                    stored = {"fingerprint": fingerprint, "result": fields}
                    text = json.dumps(stored, indent=1, sort_keys=True)
                    keep(result_path(out, one.student), text)
                    log(f"{number}/{len(submissions)} {one.student}: {result.points:g}")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    results = [read_result(result_path(out, one.student))[1] for one in submissions]
    changed = []  # check by check
    for result in results:
        earlier = before[result.student]
        old = {(m.task, m.check): m.points for m in earlier[1].marks} if earlier else {}
        for one in result.marks:
            was = old.get((one.task, one.check), one.points)
            if was != one.points:
                changed.append(
                    f"{result.student}: {one.task}, {one.check}: {was:g} -> {one.points:g}"
                )
    return results, changed


def page_name(key: str, student: str) -> str:
    """A file name that any system takes, and that nobody without the key can compute."""
    letters = "".join(c if c.isalnum() and c.isascii() else "_" for c in student)[:30]
    digest = hmac.new(key.encode(), student.encode(), "sha256").hexdigest()
    return f"{letters}-{digest[:16]}.html"


def write_all(
    assignment: Assignment,
    results: Sequence[Result],
    changed: Sequence[str],
    days: Mapping[str, float],
    given: Sheet,
    out: Path,
) -> list[Path]:
    """Returns the files that a teacher opens first.

    given: all that a person has filled in, also for answers that have changed since.
    """
    counting = standing(given, results)
    lost = [f"{s}: {q} has changed since it was read" for s, q in sorted(given.keys() - counting)]
    table, report, changes = out / "grades.csv", out / "report.html", out / "changes.txt"
    sheet, answers, seed = out / SHEET, out / "answers.html", out / "seed.json"
    by_hand = {answer: one.points for answer, one in counting.items()}
    keep(table, grades_csv(assignment, results, days, by_hand))
    keep(sheet, sheet_csv(assignment, results, given))
    keep(answers, answers_page(assignment, results))
    keep(report, class_report(assignment, results))
    keep(changes, "".join(f"{line}\n" for line in (*changed, *lost)))
    stored = json.loads(seed.read_text(encoding="utf-8"))
    key = stored.get("key", str(stored["seed"]))  # folders of earlier versions have no key
    for result in results:
        text = feedback(assignment, result, counting, days.get(result.student, 0))
        keep(out / "feedback" / page_name(key, result.student), text)
    unread = len(counting) < len(results) * len(assignment.questions)
    looked_at = [changes] if changed or lost else []
    return [table, report, *looked_at, *([answers, sheet] if unread else [])]
