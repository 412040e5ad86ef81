"""What contestants do in a race: segment a picture, or take a step of training."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from annlib.config import Compute, Precision
from annlib.engine.costs import noise, steps_on
from annlib.engine.machine import runner
from annlib.engine.precision import autocast
from annlib.model.ann import resize_bilinear
from annlib.seeds import seeded
from annlib.speed.contestants import AS_IT_COMES, Contestant, network
from annlib.speed.reference_calls import reference_logits, reference_steps
from annlib.speed.resident import Ready
from annlib.zoo import Published

Size = tuple[int, int]  # height, width


def picture(size: Size, device: torch.device) -> Tensor:
    """Noise over regions that are alike: of noise alone all anchors would be the same.

    -> float32 (1, 3, *size), normalised
    """
    with seeded("picture"):
        regions = resize_bilinear(torch.randn(1, 3, 8, 8), size, align_corners=False)
        return (regions + 0.5 * torch.randn(1, 3, *size)).to(device)


def inference(contestant: Contestant, row: Published, size: Size, device: torch.device) -> Ready:
    """A picture to logits (1, K, *size). In fp32 all contestants return the same."""
    model = network(contestant, row, device).eval()
    runs = runner(model, device, contestant.compute)
    images, precision = picture(size, device), contestant.compute.precision

    def logits(runs: nn.Module, precision: Precision) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            if contestant.network == "reference":
                return reference_logits(runs, images)
            return runs(images).main

    return Ready(
        partial(logits, runs, precision),
        partial(logits, model, "fp32"),
        number_of_parameters(model),
        precision,
    )


def training(
    contestant: Contestant, row: Published, size: Size, num_images: int, device: torch.device
) -> Ready:
    """A step by the row's recipe -> its loss. Each call is the next step, on the same batch.

    Dropout is off: the contestants would draw different random numbers.
    """
    model = without_dropout(network(contestant, row, device))
    data = replace(row.experiment.data, crop_size=size, batch_size=num_images)
    with seeded("batch"):
        images, labels = noise(replace(row.experiment, data=data), torch.device("cpu"))
    batch = images.to(device), labels.to(device)

    def steps(compute: Compute) -> Iterator[Tensor]:
        if contestant.network == "reference":
            return reference_steps(model, *batch, row.experiment.train)
        return (step.loss for step in steps_on(batch, model, row.experiment.train, compute))

    return Ready(
        partial(next, steps(contestant.compute)),
        lambda: next(steps(AS_IT_COMES)),
        number_of_parameters(model),
        contestant.compute.precision,
    )


def without_dropout(model: nn.Module) -> nn.Module:
    """The same network, which drops nothing; the reference cannot be built like that."""
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


def number_of_parameters(model: nn.Module) -> int:
    """A parameter that two parts share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
