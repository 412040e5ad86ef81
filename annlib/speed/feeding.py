"""How many workers a training needs so that it never waits for its data, and whether it does."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

from torch.utils.data import DataLoader, Dataset

from annlib.engine.cost_tables import device_name
from annlib.engine.costs import Measuring, share_of_one_gpu, training_cost
from annlib.engine.machine import batches
from annlib.engine.shrinking import picture_size
from annlib.engine.timing import pace, watched
from annlib.zoo import Published

MARGIN = 1.25  # workers share the memory and its caches, and some batches take longer than others
STEP_IN_FORWARDS = 3  # a training step: once forward, and backward twice as much work


@dataclass(frozen=True)
class Need:
    """What a training at some speed needs.

    waiting: share of its time that it waited, with `tried` workers: there are cores for no more.
    """

    who: str
    images_per_second: float
    workers: int
    tried: int
    waiting: float


def workers_for(images_per_second: float, one_worker: float) -> int:
    """one_worker: images a second that a worker prepares."""
    return max(1, ceil(MARGIN * images_per_second / one_worker))


def possible(workers: int) -> int:
    """As many as this machine has cores for."""
    return min(workers, os.cpu_count() or 1)


def published_rate(row: Published) -> float | None:
    """Images a second that one of the published GPUs trained, as estimated from its inference.

    Taken as proportional to the pixels. None where no inference was published.
    """
    if row.frames_per_second is None or row.experiment.test.mode == "slide":
        return None
    (height, width), (crop_height, crop_width) = (
        picture_size(row.experiment, 1),
        row.experiment.data.crop_size,
    )
    crops = height * width / (crop_height * crop_width)
    return row.frames_per_second * crops / STEP_IN_FORWARDS


def rate_of_one_worker(loader: DataLoader, timed: int) -> float:
    """Images a second from a loader with one worker, of which nobody asks anything else."""
    stream = iter(loader)
    size = len(last_of(stream, 1 + in_advance(loader))[0])
    started = time.perf_counter()
    last_of(stream, timed)
    return timed * size / (time.perf_counter() - started)


def share_waited(loader: DataLoader, seconds_per_batch: float, timed: int) -> float:
    """Of the time of a training that leaves the CPU alone, as a GPU's: a sleep stands in for it.

    What the workers prepared in advance, before the first batch was asked for, is used up first.
    """
    waits: list[float] = []
    warm_up = 1 + in_advance(loader)
    for _ in islice(watched(loader, waits), warm_up + timed):
        time.sleep(seconds_per_batch)
    waited = sum(waits[warm_up:])
    return waited / (waited + timed * seconds_per_batch)


def in_advance(loader: DataLoader) -> int:
    """Batches that workers keep ready."""
    return loader.num_workers * (loader.prefetch_factor or 0)


def last_of(stream: Iterator[Any], number: int) -> Any:
    """The last of the next batches."""
    *_, batch = islice(stream, number)
    return batch


class Feeding:
    """A published row's training data, in batches of the share of one GPU."""

    def __init__(self, row: Published, dataset: Dataset, how: Measuring):
        """how.repeat: how many batches are looked at each time."""
        self.row = row
        self.experiment = share_of_one_gpu(row)
        self.dataset = dataset
        self.how = how
        self.one_worker = rate_of_one_worker(self.loader(1), how.repeat)  # images a second

    def loader(self, workers: int) -> DataLoader:
        return batches(self.experiment, self.dataset, self.how.device, workers)

    def need_of(self, who: str, images_per_second: float) -> Need:
        """Of a training elsewhere, which is imitated here."""
        workers = workers_for(images_per_second, self.one_worker)
        tried = possible(workers)
        seconds = self.experiment.data.batch_size / images_per_second
        waiting = share_waited(self.loader(tried), seconds, self.how.repeat)
        return Need(who, images_per_second, workers, tried, waiting)

    def need_here(self) -> Need:
        """Of the row's training on this device."""
        device, compute, timed = self.how.device, self.how.compute, self.how.repeat
        cost = training_cost(self.row, self.how)
        images_per_second = 1000 * cost.images / cost.timing.median
        workers = workers_for(images_per_second, self.one_worker)
        tried = possible(workers)
        warm_up = 1 + in_advance(self.loader(tried))
        found = pace(self.experiment, self.dataset, device, tried, compute, warm_up, timed)
        waiting = found.waiting / found.seconds
        return Need(device_name(device), images_per_second, workers, tried, waiting)
