"""Reads the folders of runs, whole or damaged, for tables and learning curves."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any

from annlib.config import fits
from annlib.engine import runs as records
from annlib.engine.runs import HISTORY, STARTS, VALIDATION, Line
from annlib.files import message_of
from annlib.model.checkpoint import Header, read_header

SETTINGS, LAST = "experiment.json", "last.safetensors"
MARKS = {SETTINGS, LAST, HISTORY, STARTS, VALIDATION}  # one of them makes a folder that of a run


def read_starts(folder: Path) -> list[Line]:
    """The recorded starts, see `record_start`."""
    keys = ("started", "versions", "hardware", "step", "device", "processes", "compute")
    return records.read_lines(folder / STARTS, keys)


@dataclass(frozen=True)
class Run:
    """The files of a run. What is missing or damaged is empty; `troubles` says why."""

    folder: Path
    settings: dict[str, Any]  # as in experiment.json; {} if that cannot be read
    saved: Header | None  # of last.safetensors; None before the first checkpoint
    starts: list[Line]
    history: list[Line]
    validations: list[Line]
    troubles: tuple[str, ...]  # a sentence for each file that is damaged or missing

    @property
    def name(self) -> str:
        return self.settings.get("name", "?")

    @property
    def seed(self) -> int | None:
        return self.settings["train"]["seed"] if self.settings else None

    @property
    def iterations(self) -> int | None:
        return self.settings["train"]["iterations"] if self.settings else None

    @property
    def step(self) -> int:
        """Steps in its checkpoint: where it can resume."""
        return self.saved.step if self.saved else 0

    @property
    def state(self) -> str:
        total = self.iterations
        return "unfinished" if total is None or self.step < total else "finished"

    @property
    def loss(self) -> float | None:
        return self.history[-1]["loss"] if self.history else None

    @property
    def scores(self) -> Line:
        """The newest: of the checkpoint if it was scored, or else of the last validation."""
        final = self.saved.notes.get("scores", {}) if self.saved else {}
        lines = [*self.validations, {"step": self.step, **final} if "miou" in final else {}]
        return max(lines, key=lambda line: line.get("step", -1))

    @property
    def best_miou(self) -> float | None:
        found = (line.get("miou", nan) for line in [*self.validations, self.scores])
        return max((miou for miou in found if miou == miou), default=None)

    @property
    def started(self) -> str | None:
        """When it last started from step 0: UTC as in ISO 8601."""
        first = [start for start in self.starts if start["step"] == 0] or self.starts[:1]
        return first[-1]["started"] if first else None

    @property
    def seconds(self) -> float | None:
        """Time of training up to its checkpoint."""
        return self.saved.notes.get("seconds") if self.saved else None

    @property
    def device(self) -> str | None:
        """Where it was last trained, and in which precision, for example "2 x cpu, fp32"."""
        if not self.starts:
            return None
        start = self.starts[-1]
        gpus = start["hardware"].get("gpus")
        is_named = start["device"] == "cuda" and isinstance(gpus, list) and gpus
        name = gpus[0] if is_named else start["device"]
        name = name if start["processes"] == 1 else f"{start['processes']} x {name}"
        return f"{name}, {start['compute'].get('precision')}"


def read_run(folder: Path) -> Run:
    """The run in a folder, as far as it can be read; FileNotFoundError without any file."""
    folder = Path(folder)
    if not any((folder / mark).exists() for mark in MARKS):
        raise FileNotFoundError(f"There is no run in {folder}: `annlib runs` lists all.")
    troubles = []

    def read(reader: Callable[[Path], Any], otherwise: Any) -> Any:
        try:
            return reader(folder)
        except (OSError, ValueError) as error:
            troubles.append(message_of(error))
            return otherwise

    settings = read(read_settings, {})
    saved = read(lambda _: read_header(folder / LAST) if (folder / LAST).exists() else None, None)
    lists = [read(one, []) for one in (read_starts, records.read_history, records.read_validations)]
    return Run(folder, settings, saved, *lists, tuple(troubles))


def read_settings(folder: Path) -> dict[str, Any]:
    """Also those of another version of annlib."""
    values = records.parse((folder / SETTINGS).read_bytes())
    recipe = values.get("train") if values else None
    told = values | recipe if isinstance(recipe, dict) else {}
    if not fits(tuple(map(told.get, ("name", "seed", "iterations"))), tuple[str, int, int]):
        said = f"{folder / SETTINGS} is damaged: it does not hold the settings of an experiment."
        raise ValueError(said)
    return values


def find_runs(root: Path) -> list[Run]:
    """All runs in a folder, which must exist, and below, damaged ones too, the newest last."""
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root}. `annlib train` makes runs/NAME-seedN.")
    closed: list[OSError] = []
    seen, runs = set(), []
    for folder, inner, files in os.walk(root, onerror=closed.append, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:
            inner.clear()  # a link to a folder above, or to a run that has another name here
        elif MARKS.intersection(files):
            runs.append(read_run(Path(folder)))
        seen.add(place)
    runs += [Run(Path(e.filename), {}, None, [], [], [], (message_of(e),)) for e in closed]

    def start_of(run: Run) -> str:
        changed = datetime.fromtimestamp(run.folder.stat().st_mtime, UTC)
        return run.started or changed.isoformat(timespec="seconds")

    return sorted(runs, key=start_of)
