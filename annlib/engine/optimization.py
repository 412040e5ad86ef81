"""Training: the loss, the learning rate, the optimizer, and the loop as a generator.

The caller prints, plots, saves and stops: see annlib.engine.trainer for a run on disk.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.functional import cross_entropy, interpolate
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from annlib.config import IGNORE_INDEX, RuntimeConfig, TrainConfig
from annlib.engine.distributed import mean_over_ranks, rank, world_size
from annlib.engine.inference import autocast
from annlib.model.ann import Logits
from annlib.model.layers import ChannelDropout
from annlib.seeds import seeded

CPU_MESSAGES = ("can't allocate memory", "not enough memory")  # torch has no class for these


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch could not get memory for a tensor, or Python for anything else."""
    on_cpu = any(message in str(error) for message in CPU_MESSAGES)
    return on_cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def possible(compute: RuntimeConfig, device: torch.device) -> tuple[RuntimeConfig, str | None]:
    """The options that the device supports, and why one of them is left out.

    A sum is compiled to find out, which takes some seconds the first time: torch.compile needs a
    C++ compiler, and Triton for a GPU. Raises ValueError for CUDA graphs without compiling, or
    together with accumulated gradients: a replay overwrites those of the microbatch before.
    """
    if compute.cuda_graphs and not compute.compile:
        raise ValueError("CUDA graphs are made in compiling: give --compile with --cuda-graphs.")
    if compute.cuda_graphs and compute.accumulate > 1:
        said = f"CUDA graphs (--cuda-graphs) cannot add up the gradients of {compute.accumulate} "
        raise ValueError(f"{said}parts of a batch: leave out --cuda-graphs or --accumulate.")
    if compute.cuda_graphs and device.type != "cuda":
        compute = replace(compute, cuda_graphs=False)
        return compute, f"There are no CUDA graphs on a {device.type}: going on without."
    if compute.compile:
        try:
            torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
        except RuntimeError as error:  # the base of all that torch.compile raises
            reason = f"torch.compile does not work here, so nothing is compiled. {error}"
            return replace(compute, compile=False, cuda_graphs=False), reason.splitlines()[0]
    return compute, None


def segmentation_loss(
    logits: Logits, labels: Tensor, aux_weight: float, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the main and the auxiliary logits.  (B, K, H, W), labels (B, H, W) -> scalar

    The mean is over all pixels, ignored ones included, as in the reference
    (mmseg/models/losses/cross_entropy_loss.py, avg_non_ignore=False).
    """
    # The sum that is part of this operation depends on the order of a GPU's threads.
    reduction = "none" if torch.are_deterministic_algorithms_enabled() else "sum"
    options = {"ignore_index": IGNORE_INDEX, "reduction": reduction}
    main, *aux = [
        cross_entropy(scores, labels, class_weights, **options).sum() / labels.numel()
        for scores in logits
        if scores is not None
    ]
    return main + aux_weight * aux[0] if aux else main


def poly_lr(step: int, config: TrainConfig) -> float:
    """The learning rate of step 0, 1, ...: polynomial from base_lr down to min_lr.

    This is the schedule of the released weights (mmcv 0.x, PolyLrUpdaterHook). MMEngine 1.x
    divides by iterations - 1 instead, which differs by at most 1.4 % in the last steps.
    """
    remaining = max(0.0, 1 - step / config.iterations)
    lr = (config.base_lr - config.min_lr) * remaining**config.power + config.min_lr
    return lr * min(1.0, (step + 1) / (config.warmup + 1))


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of the recipe. SGD decays every parameter, as the reference does."""
    # fused: one pass over the weights instead of four
    if config.optimizer == "sgd":
        recipe = config.base_lr, config.momentum, 0.0, config.weight_decay
        return torch.optim.SGD(model.parameters(), *recipe, fused=True)
    # AdamW's decay is not scaled by the gradient: on norms and biases it would only do harm.
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}]
    groups += [{"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.base_lr, fused=True)


def subsample_labels(labels: Tensor, stride: int) -> Tensor:
    """The label in the middle of each cell of stride x stride.  (B, H, W) -> (B, H', W')"""
    if stride == 1:
        return labels
    size = [-(-side // stride) for side in labels.shape[1:]]
    # float64 holds every int64 label exactly; interpolate does not accept integers.
    return interpolate(labels[:, None].double(), size, mode="nearest-exact")[:, 0].long()


@contextmanager
def enough_values(num_images: int) -> Iterator[None]:
    """Inside, torch's error on batch norm over one value says which settings lead to it."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            f"Batch norm gets one value a channel: {num_images} image at a time, on a map of 1 x 1 "
            "position (the head ppm always has one). Its variance is 0: nothing could be learned. "
            "Train on 2 or more images at a time (batch_size, --accumulate), or on larger crops."
        ) from error


@contextmanager
def deterministic(is_asked: bool) -> Iterator[None]:
    """Inside, if asked, ValueError for operations that may not give the same bits every time."""
    before = torch.get_deterministic_debug_mode()
    try:
        torch.set_deterministic_debug_mode("error" if is_asked else before)
        yield
    except RuntimeError as error:
        if not is_asked or "deterministic" not in str(error):
            raise
        said = f"--deterministic refuses what may vary: {str(error).splitlines()[0]} Train "
        raise ValueError(f"{said}without it, on a CPU, or with another head.") from error
    finally:
        torch.set_deterministic_debug_mode(before)


class Step(NamedTuple):
    """The result of one training step."""

    number: int  # steps done so far, this one included
    loss: Tensor  # scalar on the device: reading it waits for the GPU
    lr: float


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    config: TrainConfig,
    start: int = 0,
    compute: RuntimeConfig = RuntimeConfig(),
    scaler: GradScaler | None = None,
) -> Iterator[Step]:
    """Trains from step `start` to config.iterations, one step each time the caller asks.

    batches: images (B, 3, H, W) float32 normalised, labels (B, H, W) int64; this process's share.
    Step t draws random numbers only from a seed made of (config.seed, t), so a resumed run equals
    an uninterrupted one. Raises FloatingPointError for a loss that is not finite, before it changes
    the weights (the running statistics of batch norm have seen the batch by then).
    """
    device = next(model.parameters()).device
    # Keeps small gradients of fp16 above zero; a no-op for other precisions.
    scaler = scaler or GradScaler(device.type, enabled=compute.precision == "fp16")
    precision, weights = autocast(device, compute.precision), None
    if config.class_weights:
        weights = torch.tensor(config.class_weights, dtype=torch.float32, device=device)
    dropouts = [module for module in model.modules() if isinstance(module, ChannelDropout)]
    parts, processes, process = compute.accumulate, world_size(), rank()
    model.train()
    for number, (images, labels) in zip(range(start, config.iterations), batches, strict=False):
        if len(images) % parts:
            said = f"A batch of {len(images)} images cannot be split into {parts} equal parts: "
            raise ValueError(f"{said}accumulate (--accumulate) must divide {len(images)}.")
        lr = poly_lr(number, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        labels = subsample_labels(labels.to(device, non_blocking=True), config.label_stride)
        images = images.to(device, non_blocking=True)
        loss = torch.zeros((), device=device)
        chunks = zip(images.chunk(parts), labels.chunk(parts), strict=True)
        for part, (part_images, part_labels) in enumerate(chunks):
            for dropout in dropouts:  # it draws the mask of the whole batch and takes this part
                dropout.part, dropout.num_parts = process * parts + part, processes * parts
            # Processes exchange gradients once a step, with the last part of the batch.
            is_last = part + 1 == parts
            with (
                model.no_sync()
                if isinstance(model, DistributedDataParallel) and not is_last
                else nullcontext(),
                seeded("step", config.seed, number, device=device),
                deterministic(compute.deterministic),
            ):
                with precision, enough_values(len(part_images)):
                    logits = model(part_images, size=labels.shape[1:])
                part_loss = segmentation_loss(logits, part_labels, config.aux_weight, weights)
                scaler.scale(part_loss / parts).backward()
            loss = loss + part_loss.detach() / parts  # float64 stays float64
        if processes > 1:
            loss = mean_over_ranks(loss)
        if not loss.isfinite():  # it would write NaN into every weight
            raise FloatingPointError(
                f"The loss of step {number + 1} is {float(loss)} (learning rate {lr:.3g}); an "
                "update with it would make every weight NaN. Training stopped with the weights of "
                f"step {number}. Resuming with the same settings would lead here again. If the "
                "images are finite, start a new run with a smaller base_lr, warmup or clip_norm."
            )
        if config.clip_norm is not None:
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        yield Step(number + 1, loss, lr)
