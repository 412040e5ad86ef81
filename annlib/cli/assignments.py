"""annlib assign and annlib grade: releases assignments and grades submissions."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from annlib.cli.common import at_least_one

HERE = Path()
Name = Literal["A1", "A2", "A3"]


def named(name: Name):  # -> Assignment; imported when it is needed
    from annlib.course.assignments.a1 import A1
    from annlib.course.assignments.a2 import A2
    from annlib.course.assignments.a3 import A3

    return {one.name: one for one in (A1, A2, A3)}[name]


@dataclass(frozen=True)
class Release:
    """Write the zip for students: the notebook without solutions, and the public checks."""

    assignment: Annotated[Name, Positional]
    out: Path = Path("build/assignments")
    """Folder of the zip."""

    def run(self) -> None:
        from annlib.grader.release import release

        print(release(HERE, named(self.assignment), self.out))


@dataclass(frozen=True)
class Export:
    """Write a source notebook for nbgrader, for a course that is graded with it."""

    assignment: Annotated[Name, Positional]
    out: Path = Path("build/nbgrader/source")
    """Folder `source` of nbgrader's course."""

    def run(self) -> None:
        from annlib.grader.release import export

        print(export(HERE, named(self.assignment), self.out))


COMMANDS = {"release": Release, "export": Export}


@dataclass(frozen=True)
class Grade:
    """Grade a folder of submissions, one file or folder a student, in a sandbox.

    Answers to open questions are read by a person: answers.html has them, by_hand.csv takes the
    points; the next call, with --resume, counts them.
    """

    assignment: Annotated[Name, Positional]
    submissions: Annotated[Path, Positional]
    out: Path | None = None
    """Folder of grades.csv, feedback and report; else build/grades/NAME."""
    jobs: int = 2
    """Submissions at a time; each takes a core and up to 4 GiB."""
    seed: int | None = None
    """Of the numbers in hidden tests; drawn and kept in the folder unless given."""
    late: Path | None = None
    """CSV with lines `student,days`: 10 % off for each day begun, nothing left after three."""
    unsafe: bool = False
    """Go on without bubblewrap: submissions can then read and delete your files."""
    as_user: str | None = None
    """NAME or number of the user who runs the submissions, where root grades; such as nobody."""
    share: tuple[int, int] | None = None
    """N M: the N-th of M equal shares only (1 1 is all), for array jobs on several machines that
    share a disk. Give all of them the same --seed; then grade with --resume for the tables."""
    resume: bool = False
    """Leave out what was graded before and has not changed, nor have the tests."""

    def run(self) -> None:
        from annlib.grader.batch import grade, write_all
        from annlib.grader.by_hand import SHEET, read_sheet
        from annlib.grader.intake import collect
        from annlib.grader.reports import read_days
        from annlib.grader.sandbox import user_number, why_not

        at_least_one("--jobs", self.jobs)
        sys.stdout.reconfigure(errors="replace")  # names in letters that this terminal has not
        user = None if self.as_user is None else user_number(self.as_user)
        if self.unsafe and (missing := why_not(user)):
            print(f"NOT ISOLATED, your files can be read and deleted: {missing}", file=sys.stderr)
        assignment = named(self.assignment)
        out = self.out or Path("build/grades") / assignment.name
        submissions = share_of(collect(self.submissions, assignment), self.share, self.seed)
        students = {one.student for one in submissions}
        days = read_days(self.late, students) if self.late else {}
        given = {} if self.share else read_sheet(out / SHEET, assignment, students)
        options = (self.seed, self.jobs, self.unsafe, self.resume, partial(print, flush=True))
        results, changed = grade(assignment, submissions, out, *options, user=user)
        if not self.share:
            print("\n".join(map(str, write_all(assignment, results, changed, days, given, out))))


def share_of(found: list, share: tuple[int, int] | None, seed: int | None) -> list:
    """Every M-th submission, from the N-th on; raises ValueError for what is not a share."""
    if share is None:
        return found
    number, shares = share
    if not 1 <= number <= shares or seed is None:
        raise ValueError(
            f"--share {number} {shares} with --seed {seed}: machines would leave some out, or ask "
            "different questions. Number the shares from 1, and give all the same --seed."
        )
    return found[number - 1 :: shares]
