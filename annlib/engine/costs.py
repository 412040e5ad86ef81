"""What a published row costs here: frames a second, a training step, memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from annlib.config import Compute, Experiment, TrainConfig
from annlib.engine.benchmark import Timing, peak_bytes, time_calls
from annlib.engine.inference import labeller
from annlib.engine.machine import placed, runner
from annlib.engine.shrinking import picture_size, shrunk
from annlib.engine.train import Step, make_optimizer, train
from annlib.model.baselines import build_model
from annlib.model.frozen import frozen
from annlib.zoo import Published


@dataclass(frozen=True)
class Cost:
    """Of one picture to segment, or of one step of training on one GPU's share of a batch."""

    images: int
    size: tuple[int, int]  # of the picture, or of the crop
    timing: Timing  # milliseconds
    peak_gib: float  # weights, gradients, momentum and maps together


@dataclass(frozen=True)
class Measuring:
    """How a row is measured."""

    device: torch.device
    compute: Compute = Compute()
    shrink: int = 1
    repeat: int = 10


def answers(experiment: Experiment, how: Measuring) -> Iterator[Tensor]:
    """A network and, each time it is asked for, the classes (1, H, W) of one picture.

    From the picture on the device to class indices on the CPU: all of the published measurement,
    and the first resize, which that one counts among the loading of data.
    """
    model = placed(frozen(build_model(experiment.model)), how.device, how.compute)
    model = runner(model, how.device, how.compute)
    label = labeller(model, experiment.test, how.compute.precision)
    images = torch.randn(1, 3, *picture_size(experiment, how.shrink), device=how.device)
    while True:
        yield label(images).cpu()


def inference_cost(row: Published, how: Measuring) -> Cost:
    """Of segmenting one picture the way the row is tested, single scale."""
    small = shrunk(row.experiment, how.shrink)
    asked = answers(small, how)
    peak = peak_bytes(lambda: next(asked), how.device)  # the network is built in the first call
    timing = time_calls(lambda: next(asked), how.device, how.repeat)
    return Cost(1, picture_size(small, how.shrink), timing, peak / 2**30)


def share_of_one_gpu(row: Published) -> Experiment:
    """The row with the part of its batch that one of the published GPUs worked on."""
    data = replace(row.experiment.data, batch_size=row.batch_per_gpu)
    return replace(row.experiment, data=data)


def training_steps(experiment: Experiment, how: Measuring) -> Iterator[Step]:
    """The steps of a training on one batch of noise; built when the first one is asked for."""
    model = placed(build_model(experiment.model), how.device, how.compute)
    yield from steps_on(noise(experiment, how.device), model, experiment.train, how.compute)


def steps_on(
    batch: tuple[Tensor, Tensor], model: nn.Module, config: TrainConfig, compute: Compute
) -> Iterator[Step]:
    """The steps of training a placed network on one batch, over and over."""
    optimizer = make_optimizer(model, config)
    runs = runner(model, batch[0].device, compute)
    return train(runs, optimizer, iter(lambda: batch, None), config, compute=compute)


def noise(experiment: Experiment, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of one batch: what is in them changes no cost."""
    size, number = experiment.data.crop_size, experiment.data.batch_size
    images = torch.randn(number, 3, *size, device=device)
    labels = torch.randint(experiment.model.num_classes, (number, *size), device=device)
    return images, labels


def training_cost(row: Published, how: Measuring) -> Cost:
    """Of one step on one GPU's share of a batch, data loading and exchange of gradients excluded.

    Memory is that of the second step: from then on the optimiser holds its momentum.
    """
    small = shrunk(share_of_one_gpu(row), how.shrink)
    steps = training_steps(small, how)
    peak = peak_bytes(lambda: (next(steps), next(steps)), how.device)
    timing = time_calls(lambda: next(steps), how.device, how.repeat)
    return Cost(small.data.batch_size, small.data.crop_size, timing, peak / 2**30)


def device_hours(row: Published, step: Cost) -> float:
    """Of the whole training, all GPUs together: each works on its share of every step."""
    return row.experiment.train.iterations * row.num_gpus * step.timing.median / 3.6e6
