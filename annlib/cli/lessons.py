"""annlib lessons, course and lab: builds, executes, hands out and opens the notebooks."""

import json
import os
import shutil
import sys
import webbrowser
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from annlib.files import PACKAGE, PROJECT, all_or_nothing

HERE, FIRST = Path(), "00_start_here.ipynb"
NOT_HANDED_OUT = ("source", "solutions", "teaching", "rubric.json", "README.md", "RUBRIC.md")
NOT_HANDED_OUT += ("*.saved-*", ".*")


@dataclass(frozen=True)
class Build:
    """Write the learner and the solution notebook of every lesson in notebooks/source/.

    A notebook whose cells were edited is kept as NAME.saved-DATE.ipynb.
    """

    def run(self) -> None:
        from annlib.course.authoring import build_all

        for notebook, kept in build_all(HERE).items():
            print(f"{notebook} had edited cells: kept as {kept}" if kept else notebook)


@dataclass(frozen=True)
class Run:
    """Execute lessons, check their outputs, and write an index of the executed notebooks."""

    lessons: Annotated[tuple[str, ...], Positional] = ()
    """Numbers or names, such as 04; all if none is given."""
    mode: Literal["quick", "learn", "full"] = "quick"
    """How long the lessons train: quick for tests, learn for a laptop, full for a GPU."""
    device: str = "auto"  # auto takes a GPU if there is one; else cpu, cuda or cuda:N.
    seed: int = 0  # Of everything random in the lessons.
    data_root: str = ""  # Folder of real data, for the lessons that use it.
    experiment: str = ""  # What to train or to score, by the name that `annlib list` shows.
    jobs: int = 2  # Notebooks at a time.
    out: Path = Path("build/course")  # Folder of the executed notebooks and of index.html.
    resume: bool = False  # Skip lessons that succeeded before with the same parameters.

    def run(self) -> None:
        from annlib.course.running.release import release
        from annlib.experiments import find_experiment

        if self.experiment:
            find_experiment(self.experiment)  # an unknown one is told before anything runs
        if self.data_root and not Path(self.data_root).is_dir():
            raise FileNotFoundError(f"There is no folder {self.data_root} (--data-root).")
        if self.seed < 0:
            raise ValueError(f"--seed is {self.seed}: give 0 or more.")
        root = self.data_root and str(Path(self.data_root).resolve())
        optional = {"data_root": root, "experiment": self.experiment}
        parameters = {"mode": self.mode, "device": self.device, "seed": self.seed}
        parameters |= {name: value for name, value in optional.items() if value}
        say, options = partial(print, flush=True), (self.jobs, self.resume)
        here = HERE if (HERE / "notebooks/source").is_dir() else PROJECT
        findings = release(here, self.out, parameters, say, self.lessons, *options)
        if sys.stdout.isatty() and not os.environ.get("CI"):
            webbrowser.open((self.out / "index.html").resolve().as_uri())
        if findings:  # the last lines on the screen
            print("\n".join(findings))
            sys.exit(f"{len(findings)} findings")
        print("All green")


@dataclass(frozen=True)
class Slides:
    """Write slides of an executed lesson: one HTML file, no network, no script.

    Page Down and Page Up turn the pages; printing gives a page for each slide, two for a long one.
    """

    lesson: Positional[str]  # Number or name, such as 04.
    executed: Path = Path("build/course")  # The folder that `annlib lessons run` wrote.
    out: Path = Path("build/slides")  # Folder of the slides.

    def run(self) -> None:
        from annlib.course.running.release import chosen, write_slides

        here = HERE if (HERE / "notebooks/source").is_dir() else PROJECT
        name = chosen(here, (self.lesson,))[0].stem
        notebook = self.executed / f"solutions/{name}.ipynb"
        if not notebook.exists():
            raise FileNotFoundError(
                f"{notebook} does not exist, and slides show the figures of an executed lesson. "
                f"Run `annlib lessons run {self.lesson}` first, or name its folder: --executed."
            )
        path = self.out / f"{name}.html"
        print(f"{write_slides(notebook, path, here / 'notebooks')} slides: {path}")


@dataclass(frozen=True)
class Course:
    """Write the lessons to fill in, and the grids for annlib sweep, into a new folder."""

    folder: Annotated[Path, Positional]  # A new or empty folder.
    solutions: bool = False  # For teachers: the solved notebooks, too, in the folder solutions.

    def run(self) -> None:
        from annlib import __version__

        lessons = PROJECT / "notebooks"
        left_out = [name for name in NOT_HANDED_OUT if name != "solutions" or not self.solutions]
        with all_or_nothing(self.folder) as folder:
            shutil.copytree(
                lessons, folder, ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True
            )
            lines = []
            for one in sorted(folder.glob("*.ipynb")):
                head = "".join(json.loads(one.read_bytes())["cells"][0]["source"])
                lines.append(f"- [{head.splitlines()[0].lstrip('# ')}]({one.name})")
            text = Path(__file__).with_name("course.md").read_text(encoding="utf-8")
            text = text.format(version=__version__, lessons="\n".join(lines))
            (folder / "README.md").write_text(text, encoding="utf-8")
        print(f"{len(lines)} lessons in {self.folder}. To begin: annlib lab {self.folder}")


@dataclass(frozen=True)
class Lab:
    """Open JupyterLab at the first lesson, with the settings that the lessons need."""

    folder: Annotated[Path | None, Positional] = None
    """Folder of the lessons; without one, this folder or its folder notebooks."""
    no_browser: bool = False  # Print the address, open no browser.

    def run(self) -> None:
        folders = (self.folder,) if self.folder else (HERE, HERE / "notebooks")
        lesson = next((one / FIRST for one in folders if (one / FIRST).is_file()), None)
        if lesson is None:
            said = f"{folders[0].resolve()} holds no lessons: {FIRST} is missing. To write them: "
            raise FileNotFoundError(f"{said}annlib course my_course, then: annlib lab my_course")
        command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", str(lesson)]
        command += [f"--LabApp.app_settings_dir={PACKAGE / 'course/jupyterlab'}"]
        os.execv(sys.executable, command + ["--no-browser"] * self.no_browser)


COMMANDS = {"build": Build, "run": Run, "slides": Slides}
