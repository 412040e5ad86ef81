"""annlib lessons and annlib course: builds, executes and hands out the notebooks of the course."""

import json
import os
import shlex
import shutil
import sys
import webbrowser
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from annlib.files import IS_CHECKOUT, PACKAGE, PROJECT, all_or_nothing

HERE = Path()
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
    device: str = "auto"
    """auto takes a GPU if there is one; else cpu, cuda or cuda:N."""
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
    """Skip lessons that succeeded before with the same parameters in the same folder."""
    record: bool = False
    """Keep what was measured in data/results/lessons: later quick runs are compared with it."""

    def run(self) -> None:
        from annlib.course.running.release import release

        if self.record and not IS_CHECKOUT:
            raise ValueError(
                "--record keeps numbers in data/results/lessons of a checkout, and this annlib was "
                "installed from a wheel: leave --record out, or clone the project."
            )
        root = self.data_root and str(Path(self.data_root).resolve())
        optional = {"data_root": root, "experiment": self.experiment}
        parameters = {"mode": self.mode, "device": self.device, "seed": self.seed}
        parameters |= {name: value for name, value in optional.items() if value}
        say, options = partial(print, flush=True), (self.jobs, self.resume, self.record)
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

    lesson: Positional[str]
    """Number or name, such as 04."""
    executed: Path = Path("build/course")
    """The folder that `annlib lessons run` wrote."""
    out: Path = Path("build/slides")
    """Folder of the slides."""

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

    folder: Annotated[Path, Positional]
    """A new or empty folder."""
    solutions: bool = False
    """For teachers: the solved notebooks, too, in the folder solutions."""

    def run(self) -> None:
        from annlib import __version__

        lessons = PROJECT / "notebooks"
        left_out = [name for name in NOT_HANDED_OUT if name != "solutions" or not self.solutions]
        with all_or_nothing(self.folder) as folder:
            shutil.copytree(
                lessons, folder, ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True
            )
            notebooks = sorted(folder.glob("*.ipynb"))
            heads = [json.loads(one.read_bytes())["cells"][0]["source"] for one in notebooks]
            titles = ["".join(text).partition("\n")[0].lstrip("# ") for text in heads]
            pairs = zip(titles, notebooks, strict=True)
            listed = "\n".join(f"- [{title}]({one.name})" for title, one in pairs)
            settings = shlex.quote(str(PACKAGE / "course/jupyterlab"))
            text = Path(__file__).with_name("course.md").read_text(encoding="utf-8")
            text = text.format(version=__version__, settings=settings, lessons=listed)
            (folder / "README.md").write_text(text, encoding="utf-8")
        print(
            f"{len(notebooks)} lessons in {self.folder}. {self.folder}/README.md says how to begin."
        )


COMMANDS = {"build": Build, "run": Run, "slides": Slides}
