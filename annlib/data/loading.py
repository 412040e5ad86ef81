"""Batches in an order that depends on the seed and the step alone."""

import signal
from collections.abc import Iterator
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


class BatchesFrom(Sampler[list[Draw]]):
    """Endless batches of draws from step `start` on: every epoch a new shuffle of all samples.

    Batch t is the same whether training began at 0 or was resumed, and whatever the number of
    workers. The last samples of an epoch share a batch with the first of the next.
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int, start: int):
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, order = -1, torch.empty(0)
        position = self.start * self.batch_size
        while True:
            batch = []
            for _ in range(self.batch_size):
                if position // self.num_samples != epoch:
                    epoch = position // self.num_samples
                    order = self.shuffled(epoch)
                index = int(order[position % self.num_samples])
                batch.append(Draw(index, seed_for("sample", self.seed, position)))
                position += 1
            yield batch

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
    """Ctrl-C reaches every process of a terminal; the parent decides when its workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_loader(
    dataset: Dataset,
    batch_size: int,
    training: bool,
    seed: int = 0,
    start: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader:
    """images float32 (B, 3, H, W), labels int64 (B, H, W).

    Training: endless, shuffled, from step `start` on, in memory that a GPU copies from without
    waiting if `pin_memory`. Otherwise: every sample once, in order.
    """
    generator = torch.Generator()  # the loader's own; it would draw from the caller's otherwise
    if not training:
        return DataLoader(dataset, batch_size, num_workers=workers, generator=generator)
    return DataLoader(
        Seeded(dataset),
        batch_sampler=BatchesFrom(len(dataset), batch_size, seed, start),
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=leave_interrupts_to_the_parent,
        generator=generator,
    )
