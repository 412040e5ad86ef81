"""The folder of a run: its lock, its records (one JSON object a line), the checkpoints it keeps.

A checkpoint that is kept gets a second name, a hard link where the disk supports it. A link shares
its bytes: never write into one of these files, replace it.
"""

import errno
import json
import os
import re
import socket
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from annlib.config import RuntimeConfig, fits, with_tuples
from annlib.engine.distributed import world_size
from annlib.engine.metrics import SHARES, Scores, number_or_none
from annlib.engine.results import provenance, to_json
from annlib.files import unique
from annlib.model.checkpoint import read_header, write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

try:
    import fcntl
except ImportError:  # Windows: there, do not train two runs into one folder
    fcntl = None

Line = dict[str, Any]
HISTORY = "history.jsonl"  # {"step", "loss", "lr"} every few steps
VALIDATION = "validation.jsonl"  # {"step", "miou", "mean_accuracy", "pixel_accuracy", "iou"}
STARTS = "starts.jsonl"  # provenance of each start: a run that was resumed has several
OPTIONS = "run.json"  # where the data are, and how often to validate
# What a line holds, by its key.
KINDS = {"step": int, "loss": float, "lr": float, "iou": tuple[float | None, ...], "started": str}
KINDS |= dict.fromkeys(SHARES, float | None) | {"device": str, "processes": int}
KINDS |= dict.fromkeys(("versions", "hardware", "compute"), dict)
LOCK = "run.lock"  # locked while a process trains into the folder


def parse(text: bytes) -> Line | None:
    """The JSON object in a line, None if it does not hold a whole one."""
    try:
        values = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def read_lines(path: Path, keys: Iterable[str] = ()) -> list[Line]:
    """The objects of a file; an empty list if it does not exist.

    A last line that was cut off, by a kill, a full disk or a power failure, is left out. Raises
    ValueError for damage anywhere else, and for a line without one of the keys.
    """
    texts = path.read_bytes().split(b"\n") if path.exists() else [b""]
    *lines, last = [parse(text) for text in texts]
    if None in lines:
        number = lines.index(None) + 1
        raise ValueError(
            f"{path} is damaged: its line {number} is not a JSON object with each key once ("
            f"{texts[number - 1][:40]!r}). If the lines around it are whole, delete it and go on."
        )
    lines += [] if last is None else [last]  # the end is empty, unless a line was cut off
    for line in lines:
        if wrong := [k for k in sorted(keys) if not fits(with_tuples(line.get(k, ...)), KINDS[k])]:
            said = f"{path} is damaged, or of another version: a line lacks {', '.join(wrong)}, or "
            raise ValueError(f"{said}holds something else there. Delete that line and go on.")
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
            write_lines(path, [one for one in read_lines(path, ("step",)) if one["step"] <= step])


def record_options(
    folder: Path,
    data: Path | None,
    classes: str | None,
    score_every: int | None,
    keep: int,
    files: str | None = None,
    **others: Any,
) -> None:
    """Notes what a resumed run needs besides its experiment: options of `annlib train`.

    files: the checksum of its data. Raises ValueError for another one than noted before.
    """
    place = None if data is None else {"given": str(data), "path": str(Path(data).resolve())}
    options = {"data": place, "classes": classes, "score_every": score_every, "keep": keep}
    path = folder / OPTIONS
    is_resumed = path.exists() and (folder / "last.safetensors").exists()
    before = (parse(path.read_bytes()) or {}).get("files") if is_resumed else None
    if before and files and before != files:
        said = f"The data of the run in {folder} are others than when it began: their checksum is "
        said += f"{files}, it was {before}. Put back the images and labels that were added, "
        raise ValueError(f"{said}removed or changed, or start a new run (--out).")
    options |= others | {"files": files or before}
    write_atomically(path, to_json(options))


def record_start(folder: Path, step: int, device: torch.device, compute: RuntimeConfig) -> None:
    """Notes where, with what and how a run starts or, after `step` steps, resumes."""
    how = {"step": step, "device": device.type, "processes": world_size()}
    append_line(folder / STARTS, provenance() | how | {"compute": asdict(compute)})


def record_validation(folder: Path, step: int, scores: Scores) -> None:
    """Notes the scores of a step, in place of older ones of that step. NaN becomes null."""
    line = {"step": step} | {key: number_or_none(getattr(scores, key)) for key in SHARES}
    line["iou"] = [number_or_none(iou) for iou in scores.iou.tolist()]
    path = folder / VALIDATION
    write_lines(path, [*(old for old in read_lines(path, ["step"]) if old["step"] != step), line])


def read_history(folder: Path) -> list[Line]:
    """The recorded steps: {"step", "loss", "lr"} each."""
    return read_lines(folder / HISTORY, ("step", "loss", "lr"))


def read_validations(folder: Path) -> list[Line]:
    """The recorded scores as `record_validation` got them, NaN included."""
    lines = read_lines(folder / VALIDATION, ("step", "iou", *SHARES))
    for line in lines:
        line.update({key: or_nan(line[key]) for key in SHARES})
        line["iou"] = [or_nan(iou) for iou in line["iou"]]
    return lines


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
                for part in folder.glob(".*.part"):  # of a process that was killed while it wrote
                    part.unlink(missing_ok=True)
        except BlockingIOError:
            owner = os.pread(file, 1000, 0).decode() or "another process"
            os.close(file)
            raise FileExistsError(
                f"{folder} is in use by {owner}. Two runs in one folder would mix their histories "
                "and checkpoints. Wait until it ends, stop it (Ctrl-C saves its state; a notebook "
                "keeps the folder until its kernel ends), or choose another folder (--out)."
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


def keep_checkpoint(checkpoint: Path, step: int, miou: float | None, most: int) -> None:
    """Keeps a checkpoint just written, under a second name in its folder.

    It becomes best.safetensors if its validation mIoU is the highest so far. most: how many of the
    latest are kept by their step, and older ones deleted; 0 keeps none and deletes none.
    A kill leaves only whole checkpoints; the next call deletes what is left over.
    """
    folder = checkpoint.parent
    if most > 0:
        link(checkpoint, folder / f"step-{step:06}.safetensors")
        for old in [number for number in numbered(folder) if number <= step][:-most]:
            (folder / f"step-{old:06}.safetensors").unlink()
    before = best(folder)
    if miou is not None and not isnan(miou) and (before is None or miou > before[1]):
        link(checkpoint, folder / "best.safetensors")
        facts = json.dumps({"step": step, "miou": miou}) + "\n"
        write_atomically(folder / "best.json", facts.encode())


def link(checkpoint: Path, target: Path) -> None:
    """A second name for the same bytes, which stays when `checkpoint` is replaced."""
    temporary = target.with_name(".kept.part")
    temporary.unlink(missing_ok=True)  # of a process that was killed here
    try:
        os.link(checkpoint, temporary)
        os.replace(temporary, target)
    except OSError:  # no hard links on this disk: FAT, some network drives
        write_atomically(target, checkpoint.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)  # it stays if both names were of one file already


def numbered(folder: Path) -> list[int]:
    """The steps whose checkpoints are kept by their step, in order."""
    names = [re.fullmatch(r"step-(\d{6,})\.safetensors", path.name) for path in folder.iterdir()]
    return sorted(int(name[1]) for name in names if name)


def best(folder: Path) -> tuple[int, float] | None:
    """Step and validation mIoU of best.safetensors; None if it is missing or damaged."""
    try:
        step = read_header(folder / "best.safetensors").step
    except (FileNotFoundError, ValueError):
        return None
    facts = folder / "best.json"  # older than the file, if the run was killed between the two
    noted = facts.is_file() and parse(facts.read_bytes()) or {}
    fitting = [noted] if fits(noted.get("miou"), float) else []
    lines = [*fitting, *read_validations(folder)]
    return next(((step, line["miou"]) for line in lines if line.get("step") == step), None)
