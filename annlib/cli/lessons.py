"""annlib lessons: builds, checks and executes the notebooks of the course."""

import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, subcommand

HERE = Path()


@dataclass(frozen=True)
class Build:
    """Write the learner and the solution notebook of every lesson in notebooks/source/.

    A notebook whose cells somebody has edited is kept beside, as NAME.saved-DATE.ipynb.
    """

    def run(self) -> None:
        from annlib.course.authoring.build import build_all

        for notebook, kept in build_all(HERE).items():
            print(f"{notebook} had edited cells: kept as {kept}" if kept else notebook)


@dataclass(frozen=True)
class Check:
    """Check that the notebooks follow from the sources, and that these keep the rules."""

    def run(self) -> None:
        from annlib.course.authoring.build import check_current
        from annlib.course.authoring.lint import lint_all

        finish(check_current(HERE) + lint_all(HERE))


@dataclass(frozen=True)
class Run:
    """Execute lessons, judge what came out, and write pages to look at."""

    lessons: Annotated[tuple[str, ...], Positional] = ()
    """Numbers or names, such as 04; all if none is named."""
    mode: Literal["quick", "learn", "full"] = "quick"
    """How long the lessons train: quick for tests, learn for a laptop, full for a GPU."""
    device: str = "auto"
    """auto takes a GPU where there is one; else cpu, cuda or cuda:N."""
    seed: int = 0
    """Of everything random in the lessons."""
    data_root: str = ""
    """Folder of real data, for the lessons that use it."""
    experiment: str = ""
    """What to train or to score, by the name that `annlib list` shows."""
    jobs: int = 2
    """Notebooks at a time."""
    out: Path = Path("build/course")
    """Folder of the executed notebooks and of index.html."""

    resume: bool = False
    """Leave out what ended well before, with the same parameters, in the same folder."""
    record: bool = False
    """Keep what was measured in data/results/lessons: later quick runs are compared with it."""

    def run(self) -> None:
        from annlib.course.running.release import Batch, release

        batch = Batch(self.out, self.parameters(), self.jobs, self.resume)
        findings = release(HERE, batch, say, self.lessons, self.record)
        if sys.stdout.isatty() and not os.environ.get("CI"):
            webbrowser.open((self.out / "index.html").resolve().as_uri())
        finish(findings)

    def parameters(self) -> dict[str, object]:
        """Those of every lesson, and what else was given."""
        common = {"mode": self.mode, "device": self.device, "seed": self.seed}
        given = {"data_root": self.data_root and str(Path(self.data_root).resolve())}
        given |= {"experiment": self.experiment}
        return common | {name: value for name, value in given.items() if value}


@dataclass(frozen=True)
class Lessons:
    """Build the notebooks from their sources, check them, run them."""

    what: (
        Annotated[Build, subcommand("build", prefix_name=False)]
        | Annotated[Check, subcommand("check", prefix_name=False)]
        | Annotated[Run, subcommand("run", prefix_name=False)]
    )

    def run(self) -> None:
        self.what.run()


def say(text: str) -> None:
    print(text, flush=True)


def finish(findings: list[str]) -> None:
    """Exit code 1 when anything was found; what it is has to be the last thing on the screen."""
    if findings:
        print("\n".join(findings))
        sys.exit(f"{len(findings)} findings")
    print("All green")
