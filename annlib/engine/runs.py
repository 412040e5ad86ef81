"""The folder of a run: its lock, and its records, one JSON object a line, written and read."""

import errno
import json
import os
import socket
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from annlib.config import RuntimeConfig
from annlib.engine.distributed import world_size
from annlib.engine.metrics import Scores, number_or_none
from annlib.engine.results import provenance, to_json
from annlib.model.checkpoint import Header, read_header, write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

try:
    import fcntl
except ImportError:  # Windows: there, do not train two runs into one folder
    fcntl = None

Line = dict[str, Any]
SETTINGS, LAST = "experiment.json", "last.safetensors"
HISTORY = "history.jsonl"  # {"step", "loss", "lr"} every few steps
VALIDATION = "validation.jsonl"  # {"step", "miou", "mean_accuracy", "pixel_accuracy", "iou"}
STARTS = "starts.jsonl"  # provenance of each start: a run that was resumed has several
OPTIONS = "run.json"  # where the data are, and how often to validate
LOCK = "run.lock"  # locked while a process trains into the folder
MARKS = {SETTINGS, LAST, HISTORY, STARTS, VALIDATION}  # one of them makes a folder that of a run
SHARES = ("miou", "mean_accuracy", "pixel_accuracy")


def parse(text: bytes) -> Line | None:
    """The JSON object in a line, None if it does not hold a whole one."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def read_lines(path: Path, keys: Iterable[str] = ()) -> list[Line]:
    """The objects of a file; an empty list if it does not exist.

    A last line that was cut off, by a kill, a full disk or a power failure, is left out. Raises
    ValueError for damage anywhere else, and for a line without one of the keys.
    """
    *texts, last = path.read_bytes().split(b"\n") if path.exists() else [b""]
    lines = [parse(text) for text in texts]
    if None in lines:
        number = lines.index(None) + 1
        raise ValueError(
            f"{path} is damaged: its line {number} is not a JSON object ({texts[number - 1][:40]!r}"
            "). Look at the lines around it: if they are whole, delete that one and go on."
        )
    end = parse(last)  # empty after a line break, unless a line was cut off
    lines += [] if end is None else [end]
    for line in lines:
        if missing := sorted(set(keys) - line.keys()):
            raise ValueError(
                f"{path} is damaged, or of another version: a line lacks {', '.join(missing)}."
            )
    return lines


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Replaces the file, whole or not at all."""
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def append_line(path: Path, line: Line) -> None:
    """Adds a line at the end, in place of one that was cut off there."""
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            is_whole = file.read() == b"\n"
        if not is_whole:
            write_lines(path, read_lines(path))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def forget_after(folder: Path, step: int) -> None:
    """Drops what was recorded after the checkpoint of that step: it will be recorded again."""
    for path in (folder / HISTORY, folder / VALIDATION):
        if path.exists():
            write_lines(path, [line for line in read_lines(path) if line["step"] <= step])


def record_options(
    folder: Path, data: Path | None, classes: str | None, score_every: int | None, keep: int
) -> None:
    """Notes what a resumed run needs besides its experiment: options of `annlib train`."""
    place = None if data is None else {"given": str(data), "path": str(Path(data).resolve())}
    options = {"data": place, "classes": classes, "score_every": score_every, "keep": keep}
    write_atomically(folder / OPTIONS, to_json(options))


def record_start(folder: Path, step: int, device: torch.device, compute: RuntimeConfig) -> None:
    """Notes where, with what and how a run starts or, after `step` steps, resumes."""
    how = {"step": step, "device": device.type, "processes": world_size()}
    append_line(folder / STARTS, provenance() | how | {"compute": asdict(compute)})


def record_validation(folder: Path, step: int, scores: Scores) -> None:
    """Notes the scores of a step, in place of older ones of that step. NaN becomes null."""
    shares = {key: number_or_none(getattr(scores, key)) for key in SHARES}
    line = {"step": step, **shares, "iou": [number_or_none(iou) for iou in scores.iou.tolist()]}
    path = folder / VALIDATION
    write_lines(path, [*(old for old in read_lines(path) if old["step"] != step), line])


def read_history(folder: Path) -> list[Line]:
    """The recorded steps: {"step", "loss", "lr"} each."""
    return read_lines(folder / HISTORY, ("step", "loss", "lr"))


def read_validations(folder: Path) -> list[Line]:
    """The recorded scores as `record_validation` got them, NaN included."""
    lines = read_lines(folder / VALIDATION, ("step", "iou", *SHARES))
    return [
        line
        | {key: or_nan(line[key]) for key in SHARES}
        | {"iou": [or_nan(iou) for iou in line["iou"]]}
        for line in lines
    ]


def read_starts(folder: Path) -> list[Line]:
    """The recorded starts, see `record_start`."""
    keys = ("started", "versions", "hardware", "step", "device", "processes", "compute")
    return read_lines(folder / STARTS, keys)


def or_nan(share: float | None) -> float:
    return nan if share is None else share


def open_event_log(folder: Path, step: int = 0) -> "SummaryWriter | None":
    """Writes TensorBoard's event files into the folder; None without the package tensorboard.

    step: where the run resumes; what was written of later steps is hidden. The name of an event
    file holds the time and the machine: do not publish it.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


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
        """Steps in its checkpoint: where it can resume."""
        return self.saved.step if self.saved else 0

    @property
    def state(self) -> str:
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
        gpus = start["hardware"]["gpus"]
        name = gpus[0] if start["device"] == "cuda" and gpus else start["device"]
        name = name if start["processes"] == 1 else f"{start['processes']} x {name}"
        return f"{name}, {start['compute']['precision']}"


def read_run(folder: Path) -> Run:
    """The run in a folder, as far as it can be read; FileNotFoundError without any file."""
    folder = Path(folder)
    if not any((folder / mark).exists() for mark in MARKS):
        raise FileNotFoundError(
            f"There is no run in {folder}: `annlib runs` lists those there are."
        )
    found: dict[str, Any] = {"settings": {}, "saved": None}
    troubles = []

    def read_settings(folder: Path) -> dict[str, Any]:
        """Also those of another version of annlib."""
        values = parse((folder / SETTINGS).read_bytes())
        recipe = values.get("train") if values else None
        if not isinstance(recipe, dict) or not {"seed", "iterations"} <= recipe.keys():
            raise ValueError(
                f"{folder / SETTINGS} is damaged: it does not hold the settings of an experiment."
            )
        return values

    for name, read in (
        ("settings", read_settings),
        ("saved", lambda folder: read_header(folder / LAST) if (folder / LAST).exists() else None),
        ("starts", read_starts),
        ("history", read_history),
        ("validations", read_validations),
    ):
        try:
            found[name] = read(folder)
        except (OSError, ValueError) as error:
            troubles.append(problem_of(error))
            found.setdefault(name, [])
    return Run(folder, **found, troubles=tuple(troubles))


def problem_of(error: Exception) -> str:
    """Without the number of an OSError."""
    has_file = isinstance(error, OSError) and error.filename
    return f"{error.filename}: {error.strerror}" if has_file else str(error)


def find_runs(root: Path) -> list[Run]:
    """All runs in a folder, which must exist, and below, damaged ones too, the newest last."""
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root}. `annlib train` makes runs/NAME-seedN.")
    closed: list[OSError] = []
    tree = os.walk(root, onerror=closed.append)
    runs = [read_run(Path(folder)) for folder, _, files in tree if MARKS.intersection(files)]
    runs += [Run(Path(e.filename), {}, None, [], [], [], (problem_of(e),)) for e in closed]

    def start_of(run: Run) -> str:
        changed = datetime.fromtimestamp(run.folder.stat().st_mtime, UTC)
        return run.started or changed.isoformat(timespec="seconds")

    return sorted(runs, key=start_of)


class FolderLock:
    """An exclusive lock on the folder of a run, held until this object, or its process, is gone.

    The system releases it when the process ends, even by kill -9. Network file systems share it
    between machines (NFS with its lock service does); a warning tells where there are no locks.
    Raises FileExistsError when another process holds it.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 1000, 0).decode() or "another process"
            os.close(file)
            raise FileExistsError(
                f"{folder} is in use by {owner}. Two runs in one folder would mix their histories "
                "and overwrite each other's checkpoints. Wait until it ends, stop it (Ctrl-C saves "
                "its state; a notebook keeps the folder until its kernel ends), or choose another "
                "folder (--out)."
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                os.close(file)
                raise
            warnings.warn(
                f"{folder} cannot be locked on its file system ({error.strerror}): make sure that "
                "no second run trains into it.",
                stacklevel=2,
            )
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()} since {started}".encode())
        weakref.finalize(self, self.unlock, file, os.getpid())
        self.file = file

    @staticmethod
    def unlock(file: int, owner: int) -> None:
        if os.getpid() == owner:  # not in a worker process, which inherits the object
            os.ftruncate(file, 0)  # removes the name of the machine
            os.close(file)


LOCKS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def lock_folder(folder: Path) -> FolderLock:
    """The lock on a folder; trainers of one process, one after the other, share it."""
    path = folder.resolve()
    lock = LOCKS.get(path) or FolderLock(path)
    LOCKS[path] = lock
    return lock


def release_in_child() -> None:
    """Closes the files in a forked process: it must not hold the locks when its parent is gone."""
    for lock in LOCKS.values():
        os.close(lock.file)
    LOCKS.clear()


if fcntl:
    os.register_at_fork(after_in_child=release_in_child)
