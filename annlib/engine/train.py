"""Training: the loss, the learning rate, the optimiser, and the loop as a generator.

The caller owns everything that is not training: printing, plotting, saving, stopping.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.nn.utils import clip_grad_norm_

from annlib.config import IGNORE_INDEX, TrainConfig
from annlib.model.ann import Logits
from annlib.seeds import seeded


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
        )
    # AdamW's decay is not scaled by the gradient: on norms and biases it would only do harm.
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.base_lr, fused=True)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    config: TrainConfig,
    start: int = 0,
) -> Iterator[Step]:
    """Trains from step `start` to config.iterations, one step each time the caller asks.

    batches: images (B, 3, H, W) float32 normalised, labels (B, H, W) int64. Step t uses nothing
    random but a seed made from (config.seed, t), so a resumed run repeats an uninterrupted one.
    Raises FloatingPointError when a loss is no number, before it has touched the weights (the
    running statistics of batch norm have seen the batch by then). For this a GPU is waited for
    once a step, between forward and backward, where its queue is soon filled again.
    """
    device = next(model.parameters()).device
    class_weights = (
        torch.tensor(config.class_weights, dtype=torch.float32, device=device)
        if config.class_weights
        else None
    )
    model.train()
    for number, (images, labels) in zip(range(start, config.iterations), batches, strict=False):
        lr = poly_lr(number, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        labels = thin_out(labels.to(device, non_blocking=True), config.label_stride)
        with seeded("step", config.seed, number, device=device):
            logits = model(images.to(device, non_blocking=True), size=labels.shape[1:])
        loss = segmentation_loss(logits, labels, config.aux_weight, class_weights)
        check_finite(loss, number + 1, lr)
        update(model, optimizer, loss, config.clip_norm)
        yield Step(number + 1, loss.detach(), lr)


def thin_out(labels: Tensor, stride: int) -> Tensor:
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
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, clip_norm: float | None
) -> None:
    """One gradient step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip_norm is not None:
        clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
