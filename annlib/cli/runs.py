"""annlib runs: lists and compares training runs, and draws their learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg, subcommand

from annlib.engine.metrics import percent, table
from annlib.engine.runs import Run, or_nan

if TYPE_CHECKING:
    from annlib.course.plots.style import FigureWithAlt


WIDEST = 40  # characters of a setting that is a long list


def runs_table(runs: Sequence[Run], root: Path) -> str:
    """One line a run: how far it is, what it reached, when and where."""
    header = ["run", "experiment", "seed", "steps", "loss", "mIoU %", "best %"]
    header += ["started (UTC)", "time", "on", "state"]
    return table(header, [row(run, root) for run in runs])


def row(run: Run, root: Path) -> list[str]:
    started, seconds = run.started, run.seconds
    return [
        str(run.folder.relative_to(root)),
        run.name,
        or_dash(run.seed),
        f"{run.step}/{or_dash(run.iterations)}",
        "-" if run.loss is None else f"{run.loss:.3f}",
        percent(or_nan(run.scores.get("miou"))),
        percent(or_nan(run.best_miou)),
        "-" if started is None else started[:16].replace("T", " "),
        "-" if seconds is None else str(timedelta(seconds=round(seconds))),
        "-" if run.device is None else f"{run.device}, {run.precision}",
        f"{run.state}, damaged" if run.troubles else run.state,
    ]


def or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def labels(runs: Sequence[Run]) -> list[str]:
    """A short name for each: that of its folder, or the whole path where two have the same."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"seed": 3}} -> {"train.seed": 3}"""
    found = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def circumstances(run: Run) -> dict[str, Any]:
    """All that a run depends on: its settings, and what its last session ran with."""
    start = run.starts[-1] if run.starts else {}
    parts = ("compute", "device", "processes", "hardware", "versions", "git")
    where = {key: start[key] for key in parts if key in start}
    if "git" in where:  # the list of changed files would fill the table
        where["git"] = {key: where["git"][key] for key in ("commit", "dirty")}
    return flat(run.settings | where)


def settings_table(runs: Sequence[Run]) -> str:
    """What differs between runs, one line a setting; a dash where a run does not say."""
    known = [circumstances(run) for run in runs]
    keys = list(dict.fromkeys(key for values in known for key in values))
    rows = [
        [key, *(shortened(values.get(key)) for values in known)]
        for key in keys
        if any(values.get(key) != known[0].get(key) for values in known)
    ]
    if not rows:
        return "The runs have the same settings, versions and hardware."
    return table(["differs", *labels(runs)], rows)


def shortened(value: object) -> str:
    text = or_dash(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def scores_table(runs: Sequence[Run]) -> str:
    """How far each run is, and its newest scores, side by side."""
    shares = {"mIoU %": "miou", "mean accuracy %": "mean_accuracy", "pixel %": "pixel_accuracy"}
    rows = [
        ["steps", *(f"{run.step}/{or_dash(run.iterations)}" for run in runs)],
        ["scored after step", *(or_dash(run.scores.get("step")) for run in runs)],
        ["loss", *("-" if run.loss is None else f"{run.loss:.4f}" for run in runs)],
        *([name, *(share(run, key) for run in runs)] for name, key in shares.items()),
        ["best mIoU %", *(percent(or_nan(run.best_miou)) for run in runs)],
    ]
    return table(["newest scores", *labels(runs)], rows)


def share(run: Run, key: str) -> str:
    return percent(or_nan(run.scores.get(key)))


def classes_table(runs: Sequence[Run]) -> str:
    """IoU of every class in percent, and how many points later runs are above the first.

    Says why there is no such table for runs without scores, or with other classes.
    """
    unscored = [name for name, run in zip(labels(runs), runs, strict=True) if not ious(run)]
    if unscored:
        return f"No IoU of single classes yet: {', '.join(unscored)}."
    names = class_names(runs[0])
    if any(class_names(run) != names or len(ious(run)) != len(names) for run in runs):
        return "The runs do not name the same classes: their IoUs have no common lines."
    first, *others = labels(runs)
    header = ["IoU %", first]
    for name in others:
        header += [name, "difference"]
    return table(header, [class_row(name, runs, k) for k, name in enumerate(names)])


def class_row(name: str, runs: Sequence[Run], index: int) -> list[str]:
    first, *others = (ious(run)[index] for run in runs)
    cells = [name, percent(first)]
    for iou in others:
        difference = iou - first
        cells += [percent(iou), "-" if difference != difference else f"{100 * difference:+.2f}"]
    return cells


def ious(run: Run) -> list[float]:
    return [or_nan(iou) for iou in run.scores.get("iou", [])]


def class_names(run: Run) -> list[str]:
    """As noted in its checkpoint; empty without one."""
    return run.saved.notes.get("classes", {}).get("class_names", []) if run.saved else []


@dataclass(frozen=True)
class Listing:
    """Show a line for each run: how far it is, what it reached, when and where."""

    def run(self, root: Path) -> None:
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

        if len(self.runs) < 2:
            raise ValueError("Name two or more runs: annlib runs compare runs/A runs/B")
        runs = [named(path, root) for path in self.runs]
        for text in (settings_table(runs), scores_table(runs), classes_table(runs)):
            print(f"{text}\n")
        tell_troubles(runs)
        from annlib.course.plots.training import (
            learning_curves,  # may lack matplotlib: the tables are out
        )

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
    from annlib.course.plots.training import learning_curves

    write(learning_curves([run], [run.folder.resolve().name]), run.folder / "curve.png")


def write(figure: "FigureWithAlt", path: Path) -> None:
    """Writes a picture; says where, and what it shows."""
    from annlib.model.checkpoint import write_atomically

    write_atomically(path, figure.png())
    print(f"{path}: {figure.alt}")
