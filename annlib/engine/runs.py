"""The runs below a folder, read back from what each of them left there."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from annlib.engine.headers import Header, read_header
from annlib.engine.lines import Line, parse
from annlib.engine.records import (
    HISTORY,
    STARTS,
    VALIDATION,
    read_history,
    read_starts,
    read_validations,
)

SETTINGS, LAST = "experiment.json", "last.safetensors"
MARKS = {SETTINGS, LAST, HISTORY, STARTS, VALIDATION}  # one of them makes a folder that of a run
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What lies in the folder of a run. What is missing there is empty; see `troubles` for why."""

    folder: Path
    settings: dict[str, Any]  # as in experiment.json; {} if that cannot be read
    saved: Header | None  # of last.safetensors
    starts: list[Line]  # see annlib.engine.records, as are the next two
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
