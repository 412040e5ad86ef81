"""annlib runs: what was trained so far, how runs differ, and their learning curves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg, subcommand

if TYPE_CHECKING:
    from annlib.course.plots import Picture
    from annlib.engine.runs import Run


@dataclass(frozen=True)
class Listing:
    """Show a line for each run: how far it is, what it reached, when and where."""

    def run(self, root: Path) -> None:
        from annlib.engine.run_tables import runs_table
        from annlib.engine.runs import find_runs

        runs = find_runs(root)
        none = f"No runs in {root} yet. `annlib train` makes some."
        print(runs_table(runs, root) if runs else none)
        tell_troubles(runs)


@dataclass(frozen=True)
class Compare:
    """Show what differs between runs, their scores side by side, and all curves on one axis."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN [...]")]
    """Two or more folders of runs, the one to compare with first."""
    out: Path = Path("runs/comparison.png")
    """The picture of the curves."""

    def run(self, root: Path) -> None:
        from annlib.engine.run_tables import classes_table, labels, scores_table, settings_table

        if len(self.runs) < 2:
            raise ValueError("Name two or more runs: annlib runs compare runs/A runs/B")
        runs = [named(path, root) for path in self.runs]
        for text in (settings_table(runs), scores_table(runs), classes_table(runs)):
            print(f"{text}\n")
        tell_troubles(runs)
        from annlib.course.charts import learning_curves  # may lack matplotlib: the tables are out

        write(learning_curves(runs, labels(runs)), self.out)


@dataclass(frozen=True)
class Curve:
    """Draw loss, learning rate and validation mIoU of a run into its curve.png."""

    folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of the run."""

    def run(self, root: Path) -> None:
        run = named(self.folder, root)
        tell_troubles([run])
        write_curve(run)


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder, the newest last; compare some of them; draw their curves."""

    root: Annotated[Positional[Path], arg(metavar="[ROOT]")] = Path("runs")
    """Folder of the runs. `compare` and `curve` look there for names that are no path."""
    what: (
        Annotated[Listing, subcommand("list", prefix_name=False)]
        | Annotated[Compare, subcommand("compare", prefix_name=False)]
        | Annotated[Curve, subcommand("curve", prefix_name=False)]
    ) = Listing()

    def run(self) -> None:
        self.what.run(self.root)


def named(path: Path, root: Path) -> "Run":
    """The run in that folder, or in the one of that name below `root`."""
    from annlib.engine.runs import read_run

    return read_run(path if path.is_dir() else root / path)


def tell_troubles(runs: list["Run"]) -> None:
    """What is wrong with damaged folders, a line each."""
    for run in runs:
        for trouble in run.troubles:
            print(f"Damaged: {trouble}")


def write_curve(run: "Run") -> None:
    """Draws the learning curve of a run into its folder."""
    from annlib.course.charts import learning_curve

    write(learning_curve(run), run.folder / "curve.png")


def write(picture: "Picture", path: Path) -> None:
    """Writes a picture; says where, and what it shows."""
    from annlib.model.checkpoints import write_atomically

    write_atomically(path, picture.png())
    print(f"{path}: {picture.alt}")
