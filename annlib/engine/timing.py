"""How long a training step takes here, found by taking a few."""

import time
from dataclasses import replace
from itertools import islice, pairwise

import torch
from torch.utils.data import DataLoader, Dataset

from annlib.config import Compute, Experiment
from annlib.engine.distributed import mean_over_ranks
from annlib.engine.machine import batches, placed, runner
from annlib.engine.train import make_optimizer, train
from annlib.model.baselines import build_model

WARM_UP_STEPS, TIMED_STEPS = 5, 20


def read_once(loader: DataLoader, num_batches: int) -> None:
    """Reads what the first batches will ask for: some data sets make a sample only once."""
    for batch in islice(loader.batch_sampler, num_batches):
        for draw in batch:
            loader.dataset[draw]


def seconds_per_step(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: Compute = Compute(),
) -> float:
    """Mean time of a training step, data included, once all that is done only once is done."""
    model = placed(build_model(experiment.model), device, compute)
    optimizer = make_optimizer(model, experiment.train)
    config = replace(experiment.train, iterations=WARM_UP_STEPS + TIMED_STEPS)
    loader = batches(experiment, dataset, device, workers)
    read_once(loader, config.iterations)
    times = []
    for step in train(runner(model, device, compute), optimizer, loader, config, compute=compute):
        float(step.loss)  # waits for the device
        times.append(time.perf_counter())
    durations = [b - a for a, b in pairwise(times[WARM_UP_STEPS - 1 :])]
    seconds = torch.tensor(sum(durations) / len(durations), device=device)
    return float(mean_over_ranks(seconds))  # all processes must plan the same number of steps
