"""annlib assign and annlib grade: makes and releases assignments, and grades submissions."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from annlib.cli.common import at_least_one
from annlib.files import PROJECT

OWN = ("A1", "A2", "A3")


def named(name: str):  # -> Assignment; imported when it is needed
    """One of annlib's, or one in a folder of the teacher's own."""
    from annlib.course.assignments.a1 import A1
    from annlib.course.assignments.a2 import A2
    from annlib.course.assignments.a3 import A3
    from annlib.grader.own import load

    return dict(zip(OWN, (A1, A2, A3), strict=True)).get(name) or load(Path(name), OWN)


@dataclass(frozen=True)
class Release:
    """Write the zip for students: the notebook without solutions, and the public checks."""

    assignment: Annotated[str, Positional]
    """A1, A2, A3, or the folder of an assignment of your own."""
    out: Path = Path("build/assignments")
    """Folder of the zip."""
    points: Path | None = None
    """TOML file with points and rules for lateness, as `annlib grade` takes it."""

    def run(self) -> None:
        from annlib.grader.release import release

        print(release(PROJECT, named(self.assignment), self.out, self.points))


@dataclass(frozen=True)
class Export:
    """Write a source notebook for nbgrader, for a course that is graded with it."""

    assignment: Annotated[str, Positional]
    """A1, A2, A3, or the folder of an assignment of your own."""
    out: Path = Path("build/nbgrader/source")
    """Folder `source` of nbgrader's course."""

    def run(self) -> None:
        from annlib.grader.release import export

        print(export(PROJECT, named(self.assignment), self.out))


@dataclass(frozen=True)
class New:
    """Make the folder of an assignment of your own, which can be released and graded as it is."""

    name: Annotated[str, Positional]
    """Such as A4; it becomes the name of the notebook."""
    out: Path = Path()
    """Where the folder NAME is made."""

    def run(self) -> None:
        from annlib.grader.own import make

        folder = make(self.name, self.out)
        print(f"{folder}\nannlib assign release {folder}\nannlib grade {folder} submissions/")


COMMANDS = {"release": Release, "export": Export, "new": New}


@dataclass(frozen=True)
class Grade:
    """Grade a folder of submissions, one file or folder a student, in a sandbox.

    Answers to open questions are read by a person: answers.html has them, by_hand.csv takes points
    and remarks, for other tasks, too; the next call, with --resume, counts them. Lists, points and
    rules are kept in the output folder: the next call needs none of these options.
    """

    assignment: Annotated[str, Positional]
    """A1, A2, A3, or the folder of an assignment of your own."""
    submissions: Annotated[Path, Positional]
    out: Path | None = None
    """Folder of grades.csv, feedback and report; else build/grades/NAME."""
    jobs: int = 2
    """Submissions at a time; each takes a core and up to 4 GiB."""
    seed: int | None = None
    """Of the numbers in hidden tests; drawn and kept in the folder unless given."""
    roster: Path | None = None
    """CSV with columns id, name, group, or the list that Moodle or Canvas exports."""
    late: Path | None = None
    """CSV with lines `student,days`, or with a heading, as a learning platform exports it."""
    late_percent: float | None = None
    """Off for each day begun; 10 unless points.toml says otherwise."""
    late_days: float | None = None
    """After so many days nothing is left; 3 unless points.toml says otherwise."""
    grace: float | None = None
    """Minutes late that cost nothing; 0 unless points.toml says otherwise."""
    requests: Path | None = None
    """CSV with lines `student,task,reason`: what students ask to have looked at again."""
    points: Path | None = None
    """TOML file with points of tasks, checks and criteria."""
    anonymous: bool = False
    """Codes instead of names in answers.html and by_hand.csv."""
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
        from annlib.grader.batch import asked_again, grade, keep, kept_seed, write_all
        from annlib.grader.gradebook import FILES, open_book, reweighted
        from annlib.grader.intake import collect
        from annlib.grader.release import template
        from annlib.grader.roster import identified, read_roster
        from annlib.grader.sandbox import user_number, why_not
        from annlib.grader.similarity import similar

        at_least_one("--jobs", self.jobs)
        sys.stdout.reconfigure(errors="replace")  # names in letters that this terminal has not
        user = None if self.as_user is None else user_number(self.as_user)
        if self.unsafe and (missing := why_not(user)):
            print(f"NOT ISOLATED, your files can be read and deleted: {missing}", file=sys.stderr)
        assignment = named(self.assignment)
        out = self.out or Path("build/grades") / assignment.name
        seed, key = kept_seed(out, assignment.name, self.seed)
        given = (self.roster, self.late, self.requests, self.points)
        for name, path in zip(FILES, given, strict=True):
            if path:
                keep(out / name, path.read_bytes())
        roster = read_roster(out / FILES[0]) if (out / FILES[0]).exists() else {}
        whole = identified(collect(self.submissions, assignment), roster)
        submissions = share_of(whole, self.share, self.seed)
        settings = {"percent": self.late_percent, "days": self.late_days, "grace": self.grace}
        settings["anonymous"] = self.anonymous or None
        students = {one.student for one in whole}
        counted, book = open_book(assignment, students, roster, out, settings, key)
        results = grade(
            assignment,
            asked_again(submissions, book.requests),
            out,
            seed,
            self.jobs,
            self.unsafe,
            self.resume,
            partial(print, flush=True),
            user=user,
        )
        if not self.share:
            book = book._replace(similar=similar(whole, template(PROJECT, assignment)))
            written = write_all(counted, reweighted(results, counted), out, book)
            print("\n".join(map(str, written)))


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
