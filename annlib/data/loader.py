"""Data loaders whose batches depend only on the seed and the step."""

import errno
import os
import signal
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from annlib.data.transforms import Pair, Transform
from annlib.seeds import seed_for, seeded

CUT = (errno.ECONNRESET, errno.ECONNREFUSED, errno.ENOENT, errno.EPIPE)
Share = tuple[int, int]  # of every batch: the rank of a process, and how many train together


class Draw(NamedTuple):
    """Which sample, and the seed of its random transform."""

    index: int
    seed: int


class ResumableBatchSampler(Sampler[list[Draw]]):
    """Endless batches of draws from step `start` on: every epoch a new shuffle of all samples.

    Batch t is the same after a resume and for any number of workers or processes. batch counts
    the samples of all processes; this one gets its share. A batch may reach into the next epoch.
    """

    def __init__(self, num_samples: int, batch: int, seed: int, start: int, share: Share = (0, 1)):
        if num_samples < 1:
            raise ValueError("There is no sample to train on.")
        if batch % share[1]:
            said = f"A batch of {batch} cannot be shared equally by {share[1]} processes: use a"
            raise ValueError(f"{said} number of processes that divides {batch}.")
        self.num_samples, self.batch_size, self.seed = num_samples, batch, seed
        self.start, self.rank, self.part = start, share[0], batch // share[1]

    def __iter__(self) -> Iterator[list[Draw]]:
        shuffled_for, order = -1, torch.empty(0)
        for step in count(self.start):
            batch, first = [], step * self.batch_size + self.rank * self.part
            for position in range(first, first + self.part):
                epoch, place = divmod(position, self.num_samples)
                if epoch != shuffled_for:
                    generator = torch.Generator().manual_seed(seed_for("epoch", self.seed, epoch))
                    order = torch.randperm(self.num_samples, generator=generator)
                    shuffled_for = epoch
                batch.append(Draw(int(order[place]), seed_for("sample", self.seed, position)))
            yield batch


class Transformed(Dataset):
    """A data set of uint8 pairs, seen through a transform."""

    def __init__(self, dataset: Dataset, transform: Transform):
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(*self.dataset[index])


class Seeded(Dataset):
    """A data set whose random transform depends on the draw's seed only, in any worker."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        with seeded("draw", draw.seed):
            return self.dataset[draw.index]


class Loader(DataLoader):
    """Its workers end with an error immediately: garbage collection would wait 5 s for each."""

    def __iter__(self) -> Iterator:
        samples: Any = super().__iter__()
        try:
            yield from samples
        finally:
            if self.num_workers:
                samples._shutdown_workers()


def leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C and torchrun's SIGTERM go to a group of processes: gives workers one of their own."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:  # Windows has no groups
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def worker_errors() -> Iterator[None]:
    """Inside, the death of a data worker becomes an OSError that says what may have killed it."""
    try:
        yield
    except (RuntimeError, EOFError, OSError) as error:
        # One that dies while it hands over a batch cuts a connection, which names no file.
        died = isinstance(error, EOFError) or "DataLoader worker" in str(error)
        if isinstance(error, OSError):
            died = error.errno in CUT and error.strerror == os.strerror(error.errno)
            died = died and error.filename is None
        if not died:
            raise
        text = "A data worker was killed, most often because the machine's memory is used up: use"
        raise OSError(errno.ECHILD, f"{text} fewer workers, or none (--workers 0).") from error


def check_open_files(workers: int) -> None:
    """Raises OSError for a limit of open files at which workers could wait for each other forever.

    Each needs pipes, and a descriptor for each tensor of a batch that it has ready.
    """
    if workers and os.path.isdir("/dev/fd"):  # not on Windows, which has no such limit
        from resource import RLIMIT_NOFILE, getrlimit

        limit, needed = getrlimit(RLIMIT_NOFILE)[0], len(os.listdir("/dev/fd")) + 32 + 16 * workers
        if 0 <= limit < needed:
            text = f"Too many open files: --workers {workers} needs {needed}, the limit is {limit}."
            raise OSError(errno.EMFILE, f"{text} Raise it (ulimit -n {needed}), or --workers 0.")


def make_loader(
    dataset: "Dataset[Pair]",
    batch_size: int,
    training: bool,
    seed: int = 0,
    start: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    share: Share = (0, 1),
) -> "DataLoader[Pair]":
    """images float32 (B, 3, H, W), labels int64 (B, H, W); every sample once, in order.

    Training: endless, shuffled, from step `start` on, only this process's share of every batch.
    """
    check_open_files(workers)
    generator = torch.Generator()  # the loader's own, so that the caller's is not drawn from
    if not training:
        return Loader(dataset, batch_size, num_workers=workers, generator=generator)
    samples = len(cast(Sized, dataset))
    return Loader(
        Seeded(dataset),
        batch_sampler=ResumableBatchSampler(samples, batch_size, seed, start, share),
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=leave_interrupts_to_the_parent,
        generator=generator,
    )
