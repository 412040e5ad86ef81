"""The records of a run (start, history, validation scores), written and read back.

One JSON object a line in each file: readable by people, by pandas, and after a kill.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from annlib.config import RuntimeConfig
from annlib.engine.distributed import world_size
from annlib.engine.metrics import Scores
from annlib.engine.results import provenance
from annlib.model.checkpoint import Header, read_header, write_atomically

Line = dict[str, Any]


def read_lines(path: Path) -> list[Line]:
    """The objects of a file, none if there is no file.

    A last line that was cut off, by a kill, a full disk or a power failure, is left out. Raises
    ValueError for damage anywhere else: that is no trace of an interruption.
    """
    *texts, last = path.read_bytes().split(b"\n") if path.exists() else [b""]
    lines = [parse(text) for text in texts]
    if None in lines:
        number = lines.index(None) + 1
        raise ValueError(
            f"{path} is damaged: its line {number} is no JSON object ({texts[number - 1][:40]!r}). "
            "Look at the lines around it: if they are whole, delete that one and go on."
        )
    end = parse(last)  # behind the last line break there is nothing, unless a line was cut off
    return lines if end is None else [*lines, end]


def parse(text: bytes) -> Line | None:
    """The JSON object in a line, None if it holds no whole one."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Replaces the file, whole or not at all."""
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def append_line(path: Path, line: Line) -> None:
    """Adds a line at the end, in place of one that was cut off there."""
    if is_cut_off(path):
        write_lines(path, read_lines(path))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def is_cut_off(path: Path) -> bool:
    """Whether the last line lacks its end."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def keep_until(path: Path, step: int) -> None:
    """Drops the lines of later steps: they will be taken, and written, again."""
    if path.exists():
        write_lines(path, [line for line in read_lines(path) if line["step"] <= step])


HISTORY = "history.jsonl"  # {"step", "loss", "lr"} every few steps
VALIDATION = "validation.jsonl"  # {"step", "miou", "mean_accuracy", "pixel_accuracy", "iou"}
STARTS = "starts.jsonl"  # provenance of each session: a run that is resumed has several


def record_start(folder: Path, step: int, device: torch.device, compute: RuntimeConfig) -> None:
    """Notes where, with what and how a run starts or, after `step` steps, goes on."""
    how = {"step": step, "device": device.type, "processes": world_size()}
    append_line(folder / STARTS, provenance() | how | {"compute": asdict(compute)})


def record_validation(folder: Path, step: int, scores: Scores) -> None:
    """Notes the scores of a step, in place of those that were noted of it before.

    A class without a score (NaN) is null, since JSON knows no NaN.
    """
    line = {
        "step": step,
        "miou": or_null(scores.miou),
        "mean_accuracy": or_null(scores.mean_accuracy),
        "pixel_accuracy": or_null(scores.pixel_accuracy),
        "iou": [or_null(float(iou)) for iou in scores.iou],
    }
    path = folder / VALIDATION
    others = [other for other in read_lines(path) if other["step"] != step]
    write_lines(path, [*others, line])


def or_null(share: float) -> float | None:
    return None if isnan(share) else share


def or_nan(share: float | None) -> float:
    return nan if share is None else share


def read_history(folder: Path) -> list[Line]:
    """The recorded steps: {"step", "loss", "lr"} each."""
    return complete(folder / HISTORY, {"step", "loss", "lr"})


def read_validations(folder: Path) -> list[Line]:
    """The recorded scores as `record_validation` got them, NaN included."""
    shares = {"miou", "mean_accuracy", "pixel_accuracy"}
    return [
        line | {key: or_nan(line[key]) for key in shares} | {"iou": [*map(or_nan, line["iou"])]}
        for line in complete(folder / VALIDATION, {"step", "iou"} | shares)
    ]


def read_starts(folder: Path) -> list[Line]:
    """The recorded starts, see `record_start`."""
    needed = {"started", "versions", "hardware", "step", "device", "processes", "compute"}
    return complete(folder / STARTS, needed)


def complete(path: Path, keys: set[str]) -> list[Line]:
    """The lines of a file. Raises ValueError for one that lacks a key."""
    lines = read_lines(path)
    for line in lines:
        if not keys <= line.keys():
            missing = ", ".join(sorted(keys - line.keys()))
            raise ValueError(f"{path} is damaged, or of another version: a line lacks {missing}.")
    return lines


def forget_after(folder: Path, step: int) -> None:
    """Drops what was recorded after the checkpoint of that step: it will be recorded again."""
    keep_until(folder / HISTORY, step)
    keep_until(folder / VALIDATION, step)


class EventLog:
    """Writes scalars into event files that lie in the folder of a run.

    folder: of the run, so that `tensorboard --logdir runs` shows it by its name. step: where the
    run goes on, 0 for a new one; what an earlier session wrote of later steps is hidden.
    Without a folder (in the other ones of several processes) and without the package tensorboard
    all calls do nothing.
    TensorBoard names an event file after time and machine: leave it out of what you publish.
    """

    def __init__(self, folder: Path | None, step: int = 0):
        self.writer = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One value for each curve at a step, for example {"loss": 1.2, "val/miou": 0.4}."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Brings everything to disk. At each checkpoint: earlier steps are not taken again."""
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


SETTINGS, LAST = "experiment.json", "last.safetensors"
MARKS = {SETTINGS, LAST, HISTORY, STARTS, VALIDATION}  # one of them makes a folder that of a run
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What lies in the folder of a run. What is missing there is empty; see `troubles` for why."""

    folder: Path
    settings: dict[str, Any]  # as in experiment.json; {} if that cannot be read
    saved: Header | None  # of last.safetensors
    starts: list[Line]  # see annlib.engine.runs, as are the next two
    history: list[Line]
    validations: list[Line]
    troubles: tuple[str, ...]  # a sentence for each file that is damaged or missing

    @property
    def name(self) -> str:
        """Of its experiment."""
        return self.settings.get("name", "?")

    @property
    def seed(self) -> int | None:
        return self.settings["train"]["seed"] if self.settings else None

    @property
    def iterations(self) -> int | None:
        """How many steps are planned."""
        return self.settings["train"]["iterations"] if self.settings else None

    @property
    def step(self) -> int:
        """Steps in its checkpoint: where it can go on."""
        return self.saved.step if self.saved else 0

    @property
    def state(self) -> Literal["finished", "unfinished"]:
        done = self.iterations is not None and self.step >= self.iterations
        return "finished" if done else "unfinished"

    @property
    def loss(self) -> float | None:
        """The last one recorded."""
        return self.history[-1]["loss"] if self.history else None

    @property
    def scores(self) -> Line:
        """The newest: of the checkpoint if it was scored, or else of the last validation."""
        final = self.saved.notes.get("scores", {}) if self.saved else {}
        lines = [*self.validations, {"step": self.step, **final} if "miou" in final else {}]
        return max(lines, key=lambda line: line.get("step", -1))

    @property
    def best_miou(self) -> float | None:
        found = [line["miou"] for line in [*self.validations, self.scores] if "miou" in line]
        return max((miou for miou in found if miou == miou), default=None)

    @property
    def started(self) -> str | None:
        """When it began, for the last time from step 0: UTC as in ISO 8601."""
        begun = [start for start in self.starts if start["step"] == 0] or self.starts[:1]
        return begun[-1]["started"] if begun else None

    @property
    def seconds(self) -> float | None:
        """Time of training up to its checkpoint, over all its sessions."""
        return self.saved.notes.get("seconds") if self.saved else None

    @property
    def device(self) -> str | None:
        """Where its last session computed: "cpu", or how many of which GPU."""
        if not self.starts:
            return None
        start = self.starts[-1]
        gpus = start["hardware"]["gpus"]
        name = gpus[0] if start["device"] == "cuda" and gpus else start["device"]
        return name if start["processes"] == 1 else f"{start['processes']} x {name}"

    @property
    def precision(self) -> str | None:
        return self.starts[-1]["compute"]["precision"] if self.starts else None


def read_run(folder: Path) -> Run:
    """The run in a folder; of a damaged one what can be read, and what is wrong with the rest.

    Raises FileNotFoundError for a folder without any file of a run.
    """
    folder, troubles = Path(folder), []
    if not any((folder / mark).exists() for mark in MARKS):
        raise FileNotFoundError(
            f"There is no run in {folder}: `annlib runs` lists those there are."
        )

    def attempt(read: Callable[[Path], T], otherwise: T) -> T:
        try:
            return read(folder)
        except (OSError, ValueError) as error:
            troubles.append(in_words(error))
            return otherwise

    return Run(
        folder,
        attempt(read_settings, {}),
        attempt(read_saved, None),
        attempt(read_starts, []),
        attempt(read_history, []),
        attempt(read_validations, []),
        tuple(troubles),
    )


def in_words(error: Exception) -> str:
    """Without the number of an OSError."""
    numbered = isinstance(error, OSError) and error.filename
    return f"{error.filename}: {error.strerror}" if numbered else str(error)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings as they stand there: of another version of annlib, too, if that can be."""
    path = folder / SETTINGS
    values = parse(path.read_bytes())
    recipe = values.get("train") if values else None
    if not isinstance(recipe, dict) or not {"seed", "iterations"} <= recipe.keys():
        raise ValueError(f"{path} is damaged: it does not hold the settings of an experiment.")
    return values


def read_saved(folder: Path) -> Header | None:
    """Of the latest checkpoint; None before the first."""
    path = folder / LAST
    return read_header(path) if path.exists() else None


def find_runs(root: Path) -> list[Run]:
    """All runs in a folder and below, the newest last, damaged ones among them.

    Raises FileNotFoundError if there is no such folder.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root}. `annlib train` makes runs/NAME-seedN.")
    closed: list[OSError] = []
    tree = os.walk(root, onerror=closed.append)
    runs = [read_run(Path(folder)) for folder, _, files in tree if MARKS.intersection(files)]
    runs += [Run(Path(e.filename), {}, None, [], [], [], (in_words(e),)) for e in closed]
    return sorted(runs, key=begun)


def begun(run: Run) -> str:
    """When a run began; of one that does not say so, when its folder was changed."""
    if run.started is not None:
        return run.started
    changed = run.folder.stat().st_mtime
    return datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
