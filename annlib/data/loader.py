"""Data loaders whose batches depend only on the seed and the step."""

import os
import signal
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from annlib.data.transforms import Transform
from annlib.seeds import seed_for, seeded


class Draw(NamedTuple):
    """Which sample, and the seed of what is done to it at random."""

    index: int
    seed: int


class Share(NamedTuple):
    """Which part of every batch a process works on, when several train together."""

    rank: int = 0
    size: int = 1


class BatchesFrom(Sampler[list[Draw]]):
    """Endless batches of draws from step `start` on: every epoch a new shuffle of all samples.

    Batch t is the same whether training began at 0 or was resumed, and whatever the number of
    workers or processes. The last samples of an epoch share a batch with the first of the next.
    batch_size counts the samples of all processes together; this one gets its share of them.
    """

    def __init__(
        self, num_samples: int, batch_size: int, seed: int, start: int, share: Share = Share()
    ):
        if num_samples < 1:
            raise ValueError("There is no sample to train on.")
        if batch_size % share.size:
            raise ValueError(
                f"A batch of {batch_size} cannot be shared equally by {share.size} processes: use "
                f"a number of processes that divides {batch_size}."
            )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.share = share
        self.epoch, self.order = -1, torch.empty(0)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in count(self.start):
            batch = self.batch(step)
            part = len(batch) // self.share.size
            yield batch[self.share.rank * part : (self.share.rank + 1) * part]

    def batch(self, step: int) -> list[Draw]:
        """The draws of step 0, 1, ..., those of all processes."""
        first = step * self.batch_size
        return [self.draw(position) for position in range(first, first + self.batch_size)]

    def draw(self, position: int) -> Draw:
        epoch, place = divmod(position, self.num_samples)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self.shuffled(epoch)
        return Draw(int(self.order[place]), seed_for("sample", self.seed, position))

    def shuffled(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_for("epoch", self.seed, epoch))
        return torch.randperm(self.num_samples, generator=generator)


class Transformed(Dataset):
    """A data set of uint8 pairs, seen through a transform."""

    def __init__(self, dataset: Dataset, transform: Transform):
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(*self.dataset[index])


class Seeded(Dataset):
    """A data set whose random transform obeys the draw's seed, in any worker."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        with seeded("draw", draw.seed):
            return self.dataset[draw.index]


def leave_interrupts_to_the_parent(worker: int) -> None:
    """The parent decides when its workers end, not a signal that was meant for it.

    Ctrl-C goes to all processes of a terminal, torchrun's SIGTERM to all of a group: workers get a
    group of their own. (On Windows there are no groups; there they do not hear Ctrl-C.)
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_loader(
    dataset: Dataset,
    batch_size: int,
    training: bool,
    seed: int = 0,
    start: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    share: Share = Share(),
) -> DataLoader:
    """images float32 (B, 3, H, W), labels int64 (B, H, W).

    Training: endless, shuffled, from step `start` on, in memory that a GPU copies from without
    waiting if `pin_memory`; of every batch only this process's share. Otherwise: every sample
    once, in order.
    """
    generator = torch.Generator()  # the loader's own; it would draw from the caller's otherwise
    if not training:
        return DataLoader(dataset, batch_size, num_workers=workers, generator=generator)
    return DataLoader(
        Seeded(dataset),
        batch_sampler=BatchesFrom(len(dataset), batch_size, seed, start, share),
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=leave_interrupts_to_the_parent,
        generator=generator,
    )
