"""annlib runs: lists and compares training runs, and draws their learning curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg, subcommand

from annlib.course.runs import Run, find_runs, read_run
from annlib.engine.metrics import SHARES, percent, table
from annlib.engine.runs import OPTIONS, or_nan, parse

WIDEST = 40  # characters of a setting that is a long list


def or_dash(value: object, form: str = "") -> str:
    return "-" if value is None else format(value, form) if form else str(value)


def steps(run: Run) -> str:
    return f"{run.step}/{or_dash(run.iterations)}"


def runs_table(runs: Sequence[Run], root: Path) -> str:
    """One line a run: its steps, its scores, when and where it was trained."""
    header = ["run", "experiment", "seed", "steps", "loss", "mIoU %", "best %"]
    header += ["started (UTC)", "time", "on", "state"]
    rows = [
        [
            *(str(run.folder.relative_to(root)), run.name, or_dash(run.seed)),
            *(steps(run), or_dash(run.loss, ".3f")),
            *(percent(run.scores.get("miou")), percent(run.best_miou)),
            or_dash(run.started)[:16].replace("T", " "),
            "-" if run.seconds is None else str(timedelta(seconds=round(run.seconds))),
            or_dash(run.device),
            f"{run.state}, damaged" if run.troubles else run.state,
        ]
        for run in runs
    ]
    return table(header, rows)


def labels(runs: Sequence[Run]) -> list[str]:
    """The names of their folders, or the whole paths where two names are the same."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"seed": 3}} -> {"train.seed": 3}"""
    found = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def settings_table(runs: Sequence[Run]) -> str:
    """What differs between the settings and the last starts of runs; a dash for unknown."""
    known = []
    for run in runs:
        start = run.starts[-1] if run.starts else {}
        parts = ("compute", "device", "processes", "hardware", "versions")
        where = {key: start[key] for key in parts if key in start}
        if isinstance(git := start.get("git"), dict):  # its changed files would fill the table
            where["git"] = {key: git.get(key) for key in ("commit", "dirty")}
        path = run.folder / OPTIONS
        told = path.is_file() and parse(path.read_bytes()) or {}
        where["run"] = {key: told.get(key) for key in ("files", "classes", "init", "backbone")}
        known.append(flat(run.settings | where))
    rows = []
    for key in dict.fromkeys(key for values in known for key in values):
        if any(values.get(key) != known[0].get(key) for values in known):
            texts = [or_dash(values.get(key)) for values in known]
            short = [t if len(t) <= WIDEST else f"{t[: WIDEST - 1]}…" for t in texts]
            rows.append([key, *short])
    if not rows:
        return "The runs have the same settings, versions and hardware."
    return table(["differs", *labels(runs)], rows)


def scores_table(runs: Sequence[Run]) -> str:
    """The steps of each run and its newest scores, side by side."""
    lines = [["steps", "scored after step", "loss"]]
    lines[0] += ["mIoU %", "mean accuracy %", "pixel %", "best mIoU %"]
    for run in runs:
        shares = [percent(run.scores.get(key)) for key in SHARES]
        line = [steps(run), or_dash(run.scores.get("step")), or_dash(run.loss, ".4f")]
        lines.append([*line, *shares, percent(run.best_miou)])
    return table(["newest scores", *labels(runs)], list(map(list, zip(*lines, strict=True))))


def classes_table(runs: Sequence[Run]) -> str:
    """IoU of every class in percent and gains on the first run, or why they cannot be compared."""
    ious = [[or_nan(iou) for iou in run.scores.get("iou", [])] for run in runs]
    unscored = [name for name, iou in zip(labels(runs), ious, strict=True) if not iou]
    if unscored:
        return f"No IoU of single classes yet: {', '.join(unscored)}."
    notes = [run.saved.notes if run.saved else {} for run in runs]
    names = [one.get("classes", {}).get("class_names", []) for one in notes]
    if any(other != names[0] for other in names) or any(len(iou) != len(names[0]) for iou in ious):
        return "The runs do not name the same classes: their IoUs have no common lines."
    first, *others = labels(runs)
    header = ["IoU %", first, *(text for name in others for text in (name, "difference"))]
    rows = []
    for name, reference, *values in zip(names[0], *ious, strict=True):
        row = [name, percent(reference)]
        for iou in values:
            gain = iou - reference
            row += [percent(iou), "-" if gain != gain else f"{100 * gain:+.2f}"]
        rows.append(row)
    return table(header, rows)


def print_troubles(runs: Sequence[Run]) -> None:
    for trouble in (trouble for run in runs for trouble in run.troubles):
        print(f"Damaged: {trouble}")


def write_curves(runs: Sequence[Run], path: Path) -> None:
    """Draws the learning curve of a run, or those of several on one axis."""
    from annlib.course.plots.training import learning_curves
    from annlib.model.checkpoint import write_atomically

    figure = learning_curves(runs, labels(runs))
    write_atomically(path, figure.png())
    print(f"{path}: {figure.alt}")


def named(path: Path, root: Path) -> Run:
    """The run in that folder, or in the one of that name below `root`."""
    return read_run(path if path.is_dir() else root / path)


@dataclass(frozen=True)
class Listing:
    """Show a line for each run: its steps, its scores, when and where it was trained."""

    def run(self, root: Path) -> None:
        runs = find_runs(root)
        none = f"No runs in {root} yet. `annlib train` makes some."
        print(runs_table(runs, root) if runs else none)
        print_troubles(runs)


@dataclass(frozen=True)
class Compare:
    """Show what differs between runs, their scores side by side, and all curves on one axis."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN RUN [...]")]
    """Two or more folders of runs, the one to compare with first."""
    out: Path = Path("runs/comparison.png")  # The figure of the curves.

    def run(self, root: Path) -> None:
        if len(self.runs) < 2:
            raise ValueError("Name two or more runs: annlib runs compare runs/A runs/B")
        runs = [named(path, root) for path in self.runs]
        for text in (settings_table(runs), scores_table(runs), classes_table(runs)):
            print(f"{text}\n")
        print_troubles(runs)
        write_curves(runs, self.out)  # last: matplotlib may be missing


@dataclass(frozen=True)
class Curve:
    """Draw loss, learning rate and validation mIoU of a run into its curve.png."""

    folder: Annotated[Positional[Path], arg(metavar="RUN")]  # Folder of the run.

    def run(self, root: Path) -> None:
        run = named(self.folder, root)
        print_troubles([run])
        write_curves([run], run.folder / "curve.png")


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder, the newest last; compare some of them; draw their curves."""

    root: Annotated[Positional[Path], arg(metavar="[ROOT]")] = Path("runs")
    """Folder of the runs. `compare` and `curve` also find runs by their names there."""
    what: (
        Annotated[Listing, subcommand("list", prefix_name=False)]
        | Annotated[Compare, subcommand("compare", prefix_name=False)]
        | Annotated[Curve, subcommand("curve", prefix_name=False)]
    ) = Listing()

    def run(self) -> None:
        self.what.run(self.root)
