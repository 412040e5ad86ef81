"""A model and its batches, laid out for the machine, or the machines, that are to run them."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from annlib.config import Compute, Experiment
from annlib.data.loading import Share, make_loader
from annlib.engine.compiling import compiled
from annlib.engine.distributed import rank, world_size
from annlib.engine.sync_norm import share_statistics


def placed(model: nn.Module, device: torch.device, compute: Compute) -> nn.Module:
    """On the device, in the memory layout, with batch norm shared between processes."""
    # Channels last: convolutions read a pixel's channels together, which suits CPUs and GPUs.
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    return share_statistics(model, device).to(device, memory_format=layout)


def runner(model: nn.Module, device: torch.device, compute: Compute) -> nn.Module:
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
