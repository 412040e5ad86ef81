"""annlib lessons: notebooks made from their sources, checked, and executed."""

import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import subcommand

HERE = Path()


@dataclass(frozen=True)
class Build:
    """Write the learner and the solution notebook of every lesson in notebooks/source/."""

    def run(self) -> None:
        from annlib.course.authoring.building import build_all

        for notebook in build_all(HERE):
            print(notebook)


@dataclass(frozen=True)
class Check:
    """Check that the notebooks are what their sources say, and that the sources keep the rules."""

    def run(self) -> None:
        from annlib.course.authoring.building import check_current
        from annlib.course.authoring.lint import lint_all

        finish(check_current(HERE) + lint_all(HERE))


@dataclass(frozen=True)
class Run:
    """Execute all lessons, judge what came out, and write pages to look at."""

    mode: Literal["quick", "learn", "full"] = "quick"
    """How long the lessons train: quick for tests, learn for a laptop, full for a GPU."""
    device: str = "cpu"
    """cpu, auto, cuda or cuda:N."""
    seed: int = 0
    """Of everything random in the lessons."""
    jobs: int = 2
    """Notebooks at a time."""
    out: Path = Path("build/course")
    """Folder of the executed notebooks and of index.html."""

    def run(self) -> None:
        from annlib.course.running.release import release

        parameters = {"mode": self.mode, "device": self.device, "seed": self.seed}
        findings = release(HERE, self.out, say, parameters, self.jobs)
        if sys.stdout.isatty() and not os.environ.get("CI"):
            webbrowser.open((self.out / "index.html").resolve().as_uri())
        finish(findings)


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
