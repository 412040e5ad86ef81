"""annlib assign and annlib grade: makes and releases assignments, and grades submissions."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from annlib.cli.common import at_least_one, escape_letters
from annlib.files import PROJECT

OWN = ("A1", "A2", "A3")
ABOUT = "A1, A2, A3, or the folder of an assignment of your own."
Which = Annotated[Positional[str], arg(metavar="ASSIGNMENT", help=ABOUT)]


def named(name: str):  # -> Assignment; imported when it is needed
    """One of annlib's, or one in a folder of the teacher's own."""
    from annlib.course.assignments.a1 import A1
    from annlib.course.assignments.a2 import A2
    from annlib.course.assignments.a3 import A3
    from annlib.grader.release import load_own

    return dict(zip(OWN, (A1, A2, A3), strict=True)).get(name) or load_own(Path(name), OWN)


@dataclass(frozen=True)
class Release:
    """Write the zip for students: the notebook without solutions, and the public checks."""

    assignment: Which
    out: Path = Path("build/assignments")  # Folder of the zip.
    points: Path | None = None  # TOML of points and rules for lateness, as for grade.

    def run(self) -> None:
        from annlib.grader.release import release

        print(release(PROJECT, named(self.assignment), self.out, self.points))


@dataclass(frozen=True)
class Export:
    """Write a source notebook for nbgrader, for a course that is graded with it."""

    assignment: Which
    out: Path = Path("build/nbgrader/source")  # Folder `source` of nbgrader's course.

    def run(self) -> None:
        from annlib.grader.release import export

        print(export(PROJECT, named(self.assignment), self.out))


@dataclass(frozen=True)
class New:
    """Make the folder of an assignment of your own, which can be released and graded as it is."""

    name: Annotated[Positional[str], arg(metavar="NAME")]  # Such as A4: the notebook's name.
    out: Path = Path()  # Where the folder NAME is made.

    def run(self) -> None:
        from annlib.grader.release import make_own

        folder = make_own(self.name, self.out)
        print(f"{folder}\nannlib assign release {folder}\nannlib grade {folder} submissions/")


COMMANDS = {"release": Release, "export": Export, "new": New}


@dataclass(frozen=True)
class Grade:
    """Grade a folder of submissions, one file or folder per student, in a sandbox.

    A person reads the answers to open questions: answers.html shows them. Write points and remarks
    into by_hand.csv, also for other tasks, and grade again with --resume: then they count. The
    output folder keeps lists, points and rules, so the next call does not need these options.
    """

    assignment: Which
    submissions: Annotated[Positional[Path], arg(metavar="SUBMISSIONS")]
    """Folder with NAME.ipynb, NAME.zip, NAME.py or a folder NAME for each student."""
    out: Path | None = None  # Folder of grades.csv, feedback and report; else build/grades/NAME.
    jobs: int = 2  # Submissions at a time; each takes a core and up to 4 GiB.
    seed: int | None = None  # Of the numbers in hidden tests; if not given, drawn and kept there.
    roster: Path | None = None  # CSV: id, name, group; or as Moodle or Canvas exports it.
    late: Path | None = None  # CSV of lines `student,days`, or as a platform exports it.
    late_percent: float | None = None  # Taken off for each day begun; else of points.toml, or 10.
    late_days: float | None = None  # Later ones get nothing; else of points.toml, or 3.
    grace: float | None = None  # Minutes late that cost nothing; else of points.toml, or 0.
    requests: Path | None = None  # CSV of `student,task,reason`: what is to be graded again.
    points: Path | None = None  # TOML file with points of tasks, checks and criteria.
    anonymous: bool = False  # Codes instead of names in answers.html and by_hand.csv.
    unsafe: bool = False  # Without bubblewrap: submissions can read and delete your files.
    as_user: str | None = None  # If root grades: who runs the submissions, such as nobody.
    share: tuple[int, int] | None = None
    """N M: only the N-th of M equal shares (1 1 is all), for machines that share a disk.
    Give all of them the same --seed; then grade with --resume, which writes the tables."""
    resume: bool = False  # Skip submissions that were graded before and are the same.

    def run(self) -> None:
        from annlib.grader.batch import asked_again, grade, keep, kept_seed, write_all
        from annlib.grader.gradebook import FILES, open_book, reweighted
        from annlib.grader.intake import collect
        from annlib.grader.release import template
        from annlib.grader.roster import identified, read_roster
        from annlib.grader.sandbox import user_number, why_not
        from annlib.grader.similarity import similar

        at_least_one("--jobs", self.jobs)
        escape_letters("replace")  # names in letters that this terminal has not
        user = None if self.as_user is None else user_number(self.as_user)
        if self.unsafe and (missing := why_not(user)):
            print(f"NOT ISOLATED, your files can be read and deleted: {missing}", file=sys.stderr)
        assignment = named(self.assignment)
        out = self.out or Path("build/grades") / assignment.name
        seed, key = kept_seed(out, assignment.name, self.seed)
        given = (self.roster, self.late, self.requests, self.points)
        lists = [path or out / name for name, path in zip(FILES, given, strict=True)]
        roster = read_roster(lists[0]) if self.roster or lists[0].exists() else {}
        blank = template(PROJECT, assignment)
        whole = identified(collect(self.submissions, assignment, blank.open_answers[""]), roster)
        submissions = share_of(whole, self.share, self.seed)
        settings = {"percent": self.late_percent, "days": self.late_days, "grace": self.grace}
        settings["anonymous"] = self.anonymous or None
        students = {one.student for one in whole}
        counted, book = open_book(assignment, students, roster, out, lists, settings, key)
        for name, path in zip(FILES, given, strict=True):
            if path:  # copied once it has been read
                keep(out / name, path.read_bytes())
        wanted, say = asked_again(submissions, book.requests), partial(print, flush=True)
        options = (self.jobs, self.unsafe, self.resume, say)
        results = grade(assignment, wanted, out, seed, *options, user=user)
        if not self.share:
            book = book._replace(similar=similar(whole, blank))
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
