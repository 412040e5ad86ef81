"""A training run on disk: its configuration, its history, its checkpoints, and how it resumes.

A run saves into last.safetensors and replaces that each time. Here the file gets further names, as
hard links where the disk knows those, so that keeping one costs no time and, until it is the only
name left, no space. A link shares its bytes: write a new file rather than over one of these.
"""

import errno
import json
import os
import re
import socket
import time
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset

from annlib.config import Experiment, RuntimeConfig, experiment_from
from annlib.data.classes import DatasetSpec
from annlib.data.datasets import (
    DatasetSplits,
    SegmentationFolder,
    class_balance,
    label_pixels,
    training_problem,
)
from annlib.data.loader import Share, make_loader
from annlib.engine.distributed import (
    any_rank,
    is_main,
    rank,
    share_statistics,
    sum_over_ranks,
    wait_for_all,
    world_size,
)
from annlib.engine.inference import make_label_predictor
from annlib.engine.metrics import Scores, evaluate_labels
from annlib.engine.results import as_json, differences, settings, to_json, versions
from annlib.engine.runs import HISTORY, append_line, forget_after, parse, read_validations
from annlib.engine.train import Step, compiled, make_optimizer, make_scaler, train
from annlib.model.build import build_model
from annlib.model.checkpoint import load, read_header, restore, save, write_atomically
from annlib.model.fused import fuse_for_training
from annlib.seeds import seeded


def prepare_model(model: nn.Module, device: torch.device, compute: RuntimeConfig) -> nn.Module:
    """On the device, in the memory layout, with batch norm shared between processes."""
    # Channels last: convolutions read a pixel's channels together, which suits CPUs and GPUs.
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    return share_statistics(model, device).to(device, memory_format=layout)


def wrap_model(model: nn.Module, device: torch.device, compute: RuntimeConfig) -> nn.Module:
    """What training calls instead of a placed model: compiled, exchanging gradients.

    It has the model's own parameters; saving and scoring go on with the model itself.
    """
    model = compiled(model, compute)
    if world_size() > 1:
        ids = [device.index] if device.type == "cuda" else None
        model = DistributedDataParallel(model, ids)
    return model


def batches(
    experiment: Experiment, dataset: Dataset, device: torch.device, workers: int, start: int = 0
) -> DataLoader:
    """This process's share of the training batches of an experiment, from step `start` on."""
    return make_loader(
        dataset,
        experiment.data.batch_size,
        training=True,
        seed=experiment.train.seed,
        start=start,
        workers=workers,
        pin_memory=device.type == "cuda",
        share=Share(rank(), world_size()),
    )


def fit_classes(experiment: Experiment, halves: DatasetSplits) -> Experiment:
    """Fits the photos_* experiments to the classes of a folder, and to how often each occurs.

    Raises ValueError for training labels that nothing can be learned from, see `training_problem`.
    """
    check_classes(experiment, halves.spec)
    model, recipe = experiment.model, experiment.train
    if experiment.data.dataset == "folder":
        model = replace(model, num_classes=halves.spec.num_classes)
    if experiment.data.dataset == "folder" or experiment.data.balance_classes:
        pixels = label_pixels(halves.train)
        if problem := training_problem(pixels, halves.spec):
            raise ValueError(f"{halves.spec.name} cannot be trained on: {problem}")
        if experiment.data.balance_classes:
            recipe = replace(recipe, class_weights=class_balance(pixels, halves.spec))
    return replace(experiment, model=model, train=recipe)


def check_classes(experiment: Experiment, spec: DatasetSpec) -> None:
    """Raises ValueError for a data set with another number of classes than a published row."""
    if experiment.model.num_classes != spec.num_classes and experiment.data.dataset != "folder":
        raise ValueError(
            f"{experiment.name} has {experiment.model.num_classes} classes, the data set "
            f"{spec.name} {spec.num_classes}. For a folder of your own there are the photos_* "
            "experiments."
        )


def fit_minutes(experiment: Experiment, minutes: float, seconds: float) -> Experiment:
    """As many steps as fit, when a step takes so many seconds."""
    iterations = max(1, int(60 * minutes / seconds))
    if is_main():
        print(f"{1000 * seconds:.0f} ms a step: {iterations} steps in {minutes:g} minutes")
    return replace(experiment, train=replace(experiment.train, iterations=iterations))


BEST, BEST_FACTS = "best.safetensors", "best.json"
NUMBERED = re.compile(r"step-(\d{6,})\.safetensors")


class Best(NamedTuple):
    """Of which step best.safetensors is, and what that scored on the validation half."""

    step: int
    miou: float


def keep(folder: Path, checkpoint: Path, step: int, miou: float | None, most: int) -> None:
    """Keeps a checkpoint just written, under names of its own in the folder of the run.

    miou: of this step on the validation half, None if it was not scored; a step that beats all
    before it becomes best.safetensors. most: so many of the latest are kept by their numbers, and
    older ones deleted; 0 keeps none and deletes none.
    It may be killed anywhere: every name holds a whole checkpoint, and the next call tidies up.
    """
    if most > 0:
        give_name(checkpoint, folder / f"step-{step:06}.safetensors")
        earlier = [number for number in numbered(folder) if number <= step]
        for number in earlier[:-most]:
            (folder / f"step-{number:06}.safetensors").unlink()
    before = best(folder)
    if miou is not None and not isnan(miou) and (before is None or miou > before.miou):
        give_name(checkpoint, folder / BEST)
        facts = json.dumps(Best(step, miou)._asdict()) + "\n"
        write_atomically(folder / BEST_FACTS, facts.encode())


def give_name(checkpoint: Path, target: Path) -> None:
    """A second name for the same bytes, which stays when `checkpoint` is replaced."""
    temporary = target.with_name(".kept.part")
    temporary.unlink(missing_ok=True)  # of a process that was killed here
    try:
        os.link(checkpoint, temporary)
        os.replace(temporary, target)
    except OSError:  # this disk knows no hard links: FAT, some network drives
        write_atomically(target, checkpoint.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)  # stays if both names were of one file already


def numbered(folder: Path) -> list[int]:
    """The steps whose checkpoints are kept by their numbers, in order."""
    names = [NUMBERED.fullmatch(path.name) for path in folder.iterdir()]
    return sorted(int(name[1]) for name in names if name)


def best(folder: Path) -> Best | None:
    """What best.safetensors is worth. None if there is none, or it is damaged: any is better.

    Which step it is, the file itself says: best.json may be older, if the run was killed between
    the two; then the record of the validations tells the score.
    """
    try:
        step = read_header(folder / BEST).step
    except (FileNotFoundError, ValueError):
        return None
    facts = folder / BEST_FACTS
    told = parse(facts.read_bytes()) if facts.exists() else None
    for line in [told or {}, *read_validations(folder)]:
        if line.get("step") == step:
            return Best(step, line["miou"])
    return None


try:
    import fcntl
except ImportError:  # Windows: there, do not train two runs into one folder
    fcntl = None

RECORD_EVERY = 20  # steps between two lines of history
SAVE_EVERY = 200  # steps between two checkpoints
LOCK = "run.lock"  # locked while a process trains into the folder


class Training:
    """A run that can stop after any step and go on as if it had not.

    folder: gets experiment.json, history.jsonl and last.safetensors, written by the first of the
    processes that train together. No other process can train into it while this object exists.
    Raises FileExistsError for a folder that holds another run or is in use by another process,
    ValueError for an experiment that differs from the one to resume.
    """

    def __init__(
        self,
        experiment: Experiment,
        spec: DatasetSpec,
        folder: Path,
        device: torch.device,
        resume: bool = False,
        compute: RuntimeConfig = RuntimeConfig(),
    ):
        self.experiment = experiment
        self.spec = spec
        self.folder = Path(folder)
        self.device = device
        self.compute = compute
        self.checkpoint = self.folder / "last.safetensors"
        self.step, self.seconds = 0, 0.0  # of training alone, over all sessions
        with seeded("model", experiment.train.seed):
            model = fuse_for_training(build_model(experiment.model))
        self.model = prepare_model(model, device, compute)
        self.optimizer = make_optimizer(self.model, experiment.train)
        self.scaler = make_scaler(device, compute)
        if resume:
            self.resume()
        else:
            self.begin()

    def begin(self) -> None:
        self.lock()
        if any(self.folder.glob("*.safetensors")):
            raise FileExistsError(
                f"{self.folder} holds a run already. Go on with it (--resume), or choose another "
                "folder (--out): nothing is overwritten."
            )
        wait_for_all()  # before any of them has written something there
        if is_main():
            write_atomically(self.folder / "experiment.json", to_json(asdict(self.experiment)))
            forget_after(self.folder, 0)  # of a run that ended before its first checkpoint

    def resume(self) -> None:
        if self.folder.is_dir():
            self.lock()
        if not self.checkpoint.exists():
            raise FileNotFoundError(
                f"{self.folder} holds no checkpoint: its run ended before the first one (there is "
                f"one every {SAVE_EVERY} steps). Start it again without --resume."
            )
        checkpoint = load(self.checkpoint)
        begun = experiment_from(checkpoint.notes["experiment"])  # with fields that are newer
        before = settings(as_json(asdict(begun)), checkpoint.notes["classes"])
        now = settings(as_json(asdict(self.experiment)), as_json(asdict(self.spec)))
        if before != now:
            differing = differences(before, now)
            raise ValueError(
                f"{self.checkpoint} was made by other settings: {', '.join(differing)}. A resumed "
                "run would be neither of the two: use the same settings, or another folder (--out)."
            )
        restore(checkpoint, self.model, self.optimizer)
        if state := checkpoint.notes.get("scaler"):
            self.scaler.load_state_dict(state)
        self.step, self.seconds = checkpoint.step, checkpoint.notes.get("seconds", 0.0)
        if is_main():
            forget_after(self.folder, self.step)  # those steps will be taken again

    def lock(self) -> None:
        """Locks the folder for as long as this object exists; under torchrun, rank 0 does.

        Raises FileExistsError, in every rank, when another process trains into the folder.
        """
        problem = None
        if is_main():
            try:
                self.held = lock_folder(self.folder)
            except FileExistsError as error:
                problem = error
        if any_rank(problem is not None):
            raise problem or FileExistsError(f"{self.folder} is in use, see the message of rank 0.")

    def steps(self, dataset: Dataset, workers: int = 0) -> Iterator[Step]:
        """Trains to the end, a step at a time, keeping history and checkpoints on the way."""
        config = self.experiment.train
        loader = batches(self.experiment, dataset, self.device, workers, self.step)
        model = wrap_model(self.model, self.device, self.compute)
        steps = train(model, self.optimizer, loader, config, self.step, self.compute, self.scaler)
        started = time.perf_counter()
        try:
            for step in steps:
                self.step = step.number
                self.seconds += time.perf_counter() - started
                if step.number % RECORD_EVERY == 0:
                    self.record(step)
                if step.number % SAVE_EVERY == 0:
                    self.save()
                yield step
                started = time.perf_counter()
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} {contents(loader, self.step)}") from error

    def save(self, scores: dict[str, Any] | None = None) -> None:
        """Replaces the checkpoint by the present state, with where it comes from."""
        if is_main():
            notes = {
                "experiment": as_json(asdict(self.experiment)),
                "classes": as_json(asdict(self.spec)),
                "compute": asdict(self.compute),
                "scaler": self.scaler.state_dict(),
                "seconds": self.seconds,
                "versions": versions(),
                "scores": scores or {},
            }
            save(self.checkpoint, self.model, self.optimizer, self.step, notes)
        wait_for_all()

    def record(self, step: Step) -> None:
        if is_main():
            line = {"step": step.number, "loss": round(float(step.loss), 6), "lr": step.lr}
            append_line(self.folder / HISTORY, line)


class FolderLock:
    """An exclusive lock on the folder of a run, held until this object, or its process, is gone.

    The system releases it when the process ends, even by kill -9. Network file systems share it
    between machines (NFS with its lock service does); where one knows no locks, a warning says so.
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
        owner = f"process {os.getpid()} on {socket.gethostname()} since {started}"
        os.write(file, owner.encode())
        weakref.finalize(self, unlock, file, os.getpid())
        self.file = file


def unlock(file: int, owner: int) -> None:
    """Releases the lock, and removes the name of the machine from the file."""
    if os.getpid() == owner:  # not in a worker process, which inherits this object
        os.ftruncate(file, 0)
        os.close(file)


LOCKS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def lock_folder(folder: Path) -> FolderLock:
    """The lock on a folder; several trainings of this process, one after the other, share it."""
    path = folder.absolute()
    lock = LOCKS.get(path) or FolderLock(path)
    LOCKS[path] = lock
    return lock


def leave_locks() -> None:
    """Closes the files in a forked process: it must not hold the locks when its parent is gone."""
    for lock in LOCKS.values():
        os.close(lock.file)
    LOCKS.clear()


if fcntl:
    os.register_at_fork(after_in_child=leave_locks)


def read_experiment(folder: Path) -> Experiment:
    """The settings of the run in a folder. Raises FileNotFoundError when it holds none."""
    path = Path(folder) / "experiment.json"
    if not path.is_file():
        raise FileNotFoundError(f"There is no run in {folder}: {path} is missing.")
    return experiment_from(json.loads(path.read_text(encoding="utf-8")))


def contents(loader: DataLoader, step: int) -> str:
    """Which samples the batch after that step is made of."""
    draws = loader.batch_sampler.batch(step)
    dataset = loader.dataset.dataset
    names = [
        dataset.images[draw.index].name
        if isinstance(dataset, SegmentationFolder)
        else f"number {draw.index}"
        for draw in draws
    ]
    return f"The batch held the pictures {', '.join(names)}: look at them first."


def score(training: Training, dataset: Dataset) -> Scores:
    """Scores on a data set whose pictures may differ in size, shared out among the processes."""
    config = training.experiment
    share = Subset(dataset, range(rank(), len(dataset), world_size()))
    matrix = evaluate_labels(
        make_label_predictor(training.model, config.test),
        make_loader(share, 1, training=False),
        config.model.num_classes,
    )
    matrix.counts = sum_over_ranks(matrix.counts.to(training.device)).cpu()
    return matrix.scores()
