"""Training: the loss, the learning rate, the optimiser, and the loop as a generator.

The caller owns everything that is not training: printing, plotting, saving, stopping.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.functional import cross_entropy, interpolate
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from annlib.config import IGNORE_INDEX, Precision, RuntimeConfig, TrainConfig
from annlib.engine.distributed import mean_over_ranks, rank, world_size
from annlib.model.ann import Logits
from annlib.model.layers import ChannelDropout
from annlib.seeds import seeded

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Inside, the model computes in that precision; float32 needs nothing."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])


class Possible(NamedTuple):
    """What a device can do of what was asked for."""

    compute: RuntimeConfig
    obstacle: str | None  # why it is less than that


def compiled(model: nn.Module, compute: RuntimeConfig) -> nn.Module:
    """The model, or what torch.compile makes of it: with the same parameters, called the same way.

    Its first calls take a minute or more, in which kernels are written and compiled; so do those
    with pictures of another size. CUDA graphs record all kernels of a call, and replay them
    without asking Python again: that pays where maps are small and a GPU waits for the next launch.
    """
    if not compute.compile:
        return model
    return torch.compile(model, mode="reduce-overhead" if compute.cuda_graphs else "default")


def possible(compute: RuntimeConfig, device: torch.device) -> Possible:
    """Compiling and CUDA graphs where the device can do them; else without, and the reason.

    Raises ValueError for CUDA graphs without compiling, and for those of gradients that several
    parts of a batch add up: a replay writes them to where those of the part before are.
    """
    if compute.cuda_graphs and not compute.compile:
        raise ValueError("CUDA graphs are made in compiling: give --compile with --cuda-graphs.")
    if compute.cuda_graphs and compute.accumulate > 1:
        raise ValueError(
            f"CUDA graphs (--cuda-graphs) cannot add up the gradients of {compute.accumulate} "
            "parts of a batch: leave out --cuda-graphs or --accumulate."
        )
    if compute.cuda_graphs and device.type != "cuda":
        compute = replace(compute, cuda_graphs=False)
        return Possible(compute, f"There are no CUDA graphs on a {device.type}: going on without.")
    obstacle = why_not_compile(device) if compute.compile else None
    if obstacle is None:
        return Possible(compute, None)
    told = f"torch.compile does not work here, so nothing is compiled. {obstacle}"
    return Possible(replace(compute, compile=False, cuda_graphs=False), told)


def why_not_compile(device: torch.device) -> str | None:
    """None where it works; else one line. It needs a C++ compiler, and Triton for a GPU.

    Found out by compiling a sum, which takes some seconds the first time.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except RuntimeError as error:  # all that torch.compile raises is one
        return str(error).splitlines()[0]
    return None


class Step(NamedTuple):
    """What one step of training leaves behind."""

    number: int  # steps done so far, this one included
    loss: Tensor  # scalar, on the device until somebody reads it: reading waits for the GPU
    lr: float


def segmentation_loss(
    logits: Logits, labels: Tensor, aux_weight: float, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of both outputs.  (B, K, H, W), labels (B, H, W) -> scalar

    The mean is over all pixels, ignored ones included, as in the reference
    (mmseg/models/losses/cross_entropy_loss.py, avg_non_ignore=False).
    """
    loss = mean_over_all_pixels(logits.main, labels, class_weights)
    if logits.aux is None:
        return loss
    return loss + aux_weight * mean_over_all_pixels(logits.aux, labels, class_weights)


def mean_over_all_pixels(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """(B, K, H, W), (B, H, W) -> scalar; an ignored pixel adds 0 to the sum and 1 to the count"""
    total = cross_entropy(logits, labels, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / labels.numel()


def poly_lr(step: int, config: TrainConfig) -> float:
    """The learning rate of step 0, 1, ...: polynomial from base_lr down to min_lr.

    This is the schedule of the released weights (mmcv 0.x, PolyLrUpdaterHook). MMEngine 1.x
    divides by iterations - 1 instead, which differs by at most 1.4 % in the last steps.
    """
    remaining = max(0.0, 1 - step / config.iterations)
    lr = (config.base_lr - config.min_lr) * remaining**config.power + config.min_lr
    return lr * min(1.0, (step + 1) / (config.warmup + 1))


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of the recipe. SGD decays every parameter, as the reference does."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=config.base_lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,  # one pass over the weights instead of four
        )
    # AdamW's decay is not scaled by the gradient: on norms and biases it would only do harm.
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.base_lr, fused=True)


def make_scaler(device: torch.device, compute: RuntimeConfig) -> GradScaler:
    """Keeps small gradients of fp16 above zero; for other precisions it does nothing."""
    return GradScaler(device.type, enabled=compute.precision == "fp16")


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

    batches: images (B, 3, H, W) float32 normalised, labels (B, H, W) int64; where several
    processes train together, this one's share. Step t uses nothing random but a seed made from
    (config.seed, t), so a resumed run repeats an uninterrupted one. Raises FloatingPointError when
    a loss is no number, before it has touched the weights (the running statistics of batch norm
    have seen the batch by then). For this a GPU is waited for once a step.
    """
    device = next(model.parameters()).device
    scaler = scaler or make_scaler(device, compute)
    weights = class_weights(config, device)
    model.train()
    for number, (images, labels) in zip(range(start, config.iterations), batches, strict=False):
        lr = poly_lr(number, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        labels = subsample_labels(labels.to(device, non_blocking=True), config.label_stride)
        images = images.to(device, non_blocking=True)
        loss = torch.zeros((), device=device)
        for part, (images_part, labels_part) in enumerate(microbatches(images, labels, compute)):
            with (
                gradients_exchanged(model, part + 1 == compute.accumulate),
                seeded("step", config.seed, number, device=device),
            ):
                place_dropout(model, rank() * compute.accumulate + part, compute)
                with autocast(device, compute.precision):
                    logits = model(images_part, size=labels.shape[1:])
                share = segmentation_loss(logits, labels_part, config.aux_weight, weights)
                share = share / compute.accumulate
                scaler.scale(share).backward()
            loss = loss + share.detach()  # float64 stays float64
        loss = mean_over_ranks(loss)
        check_finite(loss, number + 1, lr)
        update(model, optimizer, scaler, config.clip_norm)
        yield Step(number + 1, loss, lr)


def class_weights(config: TrainConfig, device: torch.device) -> Tensor | None:
    """float32 (K,), or None where all classes are equal."""
    if not config.class_weights:
        return None
    return torch.tensor(config.class_weights, dtype=torch.float32, device=device)


def microbatches(
    images: Tensor, labels: Tensor, compute: RuntimeConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch in equal parts, for a device that cannot hold it whole."""
    if len(images) % compute.accumulate:
        raise ValueError(
            f"A batch of {len(images)} pictures cannot be worked through in {compute.accumulate} "
            f"equal parts: accumulate (--accumulate) must divide {len(images)}."
        )
    return zip(images.chunk(compute.accumulate), labels.chunk(compute.accumulate), strict=True)


def place_dropout(model: nn.Module, part: int, compute: RuntimeConfig) -> None:
    """Tells dropout which part of the batch comes next, of those of all processes."""
    for module in model.modules():
        if isinstance(module, ChannelDropout):
            module.part, module.num_parts = part, world_size() * compute.accumulate


def gradients_exchanged(model: nn.Module, now: bool) -> AbstractContextManager:
    """Processes exchange gradients once a step: with the last part of the batch."""
    shared = isinstance(model, DistributedDataParallel)
    return model.no_sync() if shared and not now else nullcontext()


def subsample_labels(labels: Tensor, stride: int) -> Tensor:
    """The label in the middle of each cell of stride x stride.  (B, H, W) -> (B, H', W')"""
    if stride == 1:
        return labels
    size = [-(-side // stride) for side in labels.shape[1:]]
    # float64 holds every int64 label exactly; interpolate knows no integers.
    return interpolate(labels[:, None].double(), size, mode="nearest-exact")[:, 0].long()


def check_finite(loss: Tensor, number: int, lr: float) -> None:
    """Stops a training that would write NaN into every weight."""
    if not loss.isfinite():
        raise FloatingPointError(
            f"The loss of step {number} is {float(loss.detach())} (learning rate {lr:.3g}). One "
            "update with it would make every weight NaN, so training stopped with the weights of "
            f"step {number - 1}. If the images are finite and normalised, start a new run with a "
            "smaller base_lr, a warmup or a clip_norm in the experiment. The last checkpoint is "
            "kept, but going on from it with the same settings would lead here again."
        )


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    clip_norm: float | None,
) -> None:
    """One step of the optimiser along the gradients at hand."""
    if clip_norm is not None:
        scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), clip_norm)
    scaler.step(optimizer)
    scaler.update()
