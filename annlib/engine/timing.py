"""How long a training step takes here, and how long of it for want of data, by taking a few."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, pairwise
from statistics import mean
from typing import NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from annlib.config import Compute, Experiment
from annlib.engine.distributed import mean_over_ranks
from annlib.engine.machine import batches, placed, runner
from annlib.engine.train import make_optimizer, train
from annlib.model.baselines import build_model

WARM_UP_STEPS, TIMED_STEPS = 5, 20
Batch = TypeVar("Batch")


class Pace(NamedTuple):
    """Of a training: seconds of a step, in the mean, and of waiting for its batch among them."""

    seconds: float
    waiting: float


def read_once(loader: DataLoader, num_batches: int) -> None:
    """Reads what the first batches will ask for: some data sets make a sample only once."""
    for batch in islice(loader.batch_sampler, num_batches):
        for draw in batch:
            loader.dataset[draw]


def watched(source: Iterable[Batch], waits: list[float]) -> Iterator[Batch]:
    """The same batches; notes the seconds that each of them was waited for."""
    iterator = iter(source)
    while True:
        started = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        waits.append(time.perf_counter() - started)
        yield batch


def pace(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: Compute = Compute(),
    warm_up: int = WARM_UP_STEPS,
    timed: int = TIMED_STEPS,
) -> Pace:
    """Of `timed` training steps after `warm_up`, once all that is done only once is done."""
    model = placed(build_model(experiment.model), device, compute)
    optimizer = make_optimizer(model, experiment.train)
    config = replace(experiment.train, iterations=warm_up + timed)
    loader = batches(experiment, dataset, device, workers)
    read_once(loader, config.iterations)
    times, waits = [], []
    steps = train(
        runner(model, device, compute),
        optimizer,
        watched(loader, waits),
        config,
        compute=compute,
    )
    for step in steps:
        float(step.loss)  # waits for the device
        times.append(time.perf_counter())
    seconds = mean(b - a for a, b in pairwise(times[warm_up - 1 :]))
    # All processes must plan the same number of steps.
    found = torch.tensor([seconds, mean(waits[warm_up:])], device=device)
    return Pace(*mean_over_ranks(found).tolist())


def seconds_per_step(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: Compute = Compute(),
) -> float:
    """Mean time of a training step, data included."""
    return pace(experiment, dataset, device, workers, compute).seconds
