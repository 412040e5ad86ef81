"""Grades a folder of submissions, several at a time, resumable, and writes the results.

Each result is a file of its own, named by what it follows from. Tables are made from these files
alone, so neither the order nor the number of jobs can change them.
"""

import hashlib
import hmac
import json
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch

from annlib.grader.by_hand import SHEET, sheet_csv
from annlib.grader.confine import Limits
from annlib.grader.feedback import answers_page, feedback, page
from annlib.grader.gradebook import Gradebook, log_changes, total
from annlib.grader.judge import Assignment, Mark, Result, Submission, mark
from annlib.grader.platforms import canvas_csv, feedback_zip, moodle_csv
from annlib.grader.reports import class_report, grades_csv, note_on, number
from annlib.grader.roster import code_of
from annlib.grader.sandbox import open_sandbox, stage_worker
from annlib.grader.tables import safe_name
from annlib.model.checkpoint import write_atomically


def keep(path: Path, content: str | bytes) -> None:
    """Writes the whole file or nothing; what no file can hold, half a character, becomes `?`."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    write_atomically(path, data)


def kept_seed(out: Path, assignment: str, seed: int | None) -> tuple[int, str]:
    """The seed of this folder: drawn once, so that grading the same again asks the same.
    And a key, so that nobody can compute the name of somebody else's feedback page."""
    path = out / "seed.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        before, other = stored["seed"], stored.get("assignment", assignment)
        mixed = ": results of both would be mixed. Give another folder with --out"
        if other != assignment:
            raise ValueError(f"{out} has the results of {other}, not of {assignment}{mixed}.")
        if seed is not None and seed != before:
            was = f"{out} was graded with seed {before}, not {seed}"
            raise ValueError(f"{was}{mixed}, or leave --seed out.")
        return before, stored.get("key", str(before))  # folders of earlier versions have no key
    seed, key = secrets.randbits(48) if seed is None else seed, secrets.token_hex(16)
    keep(path, json.dumps({"assignment": assignment, "seed": seed, "key": key}))
    return seed, key


def version_of_checks(assignment: Assignment) -> str:
    """Changes with the source of the hidden checks and of grading itself."""
    folders = (assignment.folder, Path(__file__).parent)
    files = [path for one in folders for path in sorted(one.iterdir()) if path.is_file()]
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
) -> list[Result]:
    """The results of all, by student. A fault of the grader itself stops no other submission: the
    table says so, and the submission is graded again whenever grading is resumed.
    limits: others than those of the assignment. user: of the workers, where root started this"""
    limits = limits or assignment.limits
    seed, _ = kept_seed(out, assignment.name, seed)
    version = f"{assignment.name}/{seed}/{version_of_checks(assignment)}/{limits}"
    prints = {one.student: f"{one.digest}/{one.note}/{version}" for one in submissions}
    before = {one.student: read_result(result_path(out, one.student)) for one in submissions}
    done = [s for s, found in before.items() if resume and found and found[0] == prints[s]]
    waiting = [one for one in submissions if one.student not in done]
    with tempfile.TemporaryDirectory(prefix="annlib-grader-") as folder:
        sandbox = open_sandbox(stage_worker(Path(folder)), unsafe, user)
        # One thread each: torch's own wait for each other by computing, and take the workers' time.
        with ThreadPoolExecutor(jobs, "marks", torch.set_num_threads, (1,)) as pool:
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
                    stored = {"fingerprint": fingerprint, "result": result._asdict()}
                    text = json.dumps(stored, indent=1, sort_keys=True)
                    keep(result_path(out, one.student), text)
                    log(f"{number}/{len(submissions)} {one.student}: {result.points:g}")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [read_result(result_path(out, one.student))[1] for one in submissions]


def asked_again(
    submissions: Sequence[Submission], requests: Mapping[tuple[str, str], str]
) -> list[Submission]:
    """Submissions with a request run again, with fresh numbers, also where grading is resumed."""
    reasons: dict[str, str] = {}
    for (student, task), reason in sorted(requests.items()):
        reasons[student] = f"{reasons.get(student, '')}/{task}: {reason}"
    return [
        one._replace(digest=f"{one.digest}{reasons.get(one.student, '')}") for one in submissions
    ]


def page_name(key: str, student: str) -> str:
    """A file name that any system takes, and that nobody without the key can compute."""
    letters = "".join(c if c.isalnum() and c.isascii() else "_" for c in student)[:30]
    digest = hmac.new(key.encode(), student.encode(), "sha256").hexdigest()
    return f"{letters}-{digest[:16]}.html"


def write_all(
    assignment: Assignment, results: Sequence[Result], out: Path, book: Gradebook = Gradebook()
) -> list[Path]:
    """Returns the files that a teacher opens first."""
    book = book._replace(key=kept_seed(out, assignment.name, None)[1])
    totals = {result.student: total(assignment, result, book) for result in results}
    changed = log_changes(totals, out)
    pages = {r.student: feedback(assignment, r, totals[r.student], book) for r in results}
    index = []
    for one in sorted(results):
        place = f"feedback/{page_name(book.key, one.student)}"
        points = number(totals[one.student].whole) or "unread"
        index.append((book.name(one.student), points, note_on(one), place))
        keep(out / place, pages[one.student])

    def called(student: str) -> str:
        return code_of(book.key, student) if book.anonymous else safe_name(student)

    files: dict[str, str | bytes] = {
        "grades.csv": grades_csv(assignment, results, totals, book),
        "report.html": class_report(assignment, results, totals, book),
        "answers.html": answers_page(assignment, results, book),
        SHEET: sheet_csv(assignment, results, book.given, book.requests, called, book.mark),
        "feedback.html": page("index.html", f"{assignment.name}: pages with feedback", rows=index),
    }
    if book.roster:
        files["moodle.csv"] = moodle_csv(assignment, totals, book)
        files["canvas.csv"] = canvas_csv(assignment, totals, book)
        files["moodle_feedback.zip"] = feedback_zip(pages, book)
    for name, content in files.items():
        keep(out / name, content)
    unread = any(one.whole is None for one in totals.values())
    first = ["grades.csv", "report.html", *(["changes.txt"] if changed else [])]
    return [out / name for name in (*first, *(["answers.html", SHEET] if unread else []))]
