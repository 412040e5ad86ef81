"""Answers to the exercises of lesson 06, right ones and plausible wrong ones."""

from collections.abc import Callable
from math import log, log2

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from annlib.course import checks
from annlib.engine.optimization import segmentation_loss
from exercises import Gallery, Wrong


def by_formula(classes: int, labelled: float, aux: float) -> float:
    return (1 + aux) * labelled * log(classes)


def by_pixels(classes: int, labelled: float, aux: float) -> Tensor:
    each = -torch.tensor(1 / classes).log()
    return labelled * each + aux * labelled * each


FIRST = Gallery(
    checks.first_loss,
    (by_formula, by_pixels),
    {
        "ignored pixels forgotten": Wrong(lambda k, s, a: (1 + a) * log(k), "share of labelled"),
        "divided by the share": Wrong(lambda k, s, a: (1 + a) * log(k) / s, "add 0 to the sum"),
        "auxiliary loss forgotten": Wrong(lambda k, s, a: s * log(k), "auxiliary loss is missing"),
        "share in one loss only": Wrong(lambda k, s, a: (s + a) * log(k), "belongs to both"),
        "only the auxiliary loss": Wrong(lambda k, s, a: a * s * log(k), "main loss counts once"),
        "both in full": Wrong(lambda k, s, a: 2 * s * log(k), "is weighted"),
        "bits": Wrong(lambda k, s, a: (1 + a) * s * log2(k), "natural logarithm"),
        "probability for loss": Wrong(lambda k, s, a: (1 + a) * s / k, "minus the logarithm"),
        "sign": Wrong(lambda k, s, a: -(1 + a) * s * log(k), "sign"),
    },
)


def poly(step: int, steps: int, base: float, power: float, floor: float) -> float:
    return (base - floor) * (1 - step / steps) ** power + floor


def poly_in_torch(step: int, steps: int, base: float, power: float, floor: float) -> Tensor:
    left = torch.tensor((steps - step) / steps, dtype=torch.float64)
    return torch.lerp(torch.tensor(floor).double(), torch.tensor(base).double(), left**power)


POLY = Gallery(
    checks.poly_rate,
    (poly, poly_in_torch),
    {
        "no power": Wrong(lambda t, n, b, p, f: (b - f) * (1 - t / n) + f, "power is missing"),
        "power of what is done": Wrong(
            lambda t, n, b, p, f: (b - f) * (1 - (t / n) ** p) + f, "what is left"
        ),
        "floor on top": Wrong(lambda t, n, b, p, f: b * (1 - t / n) ** p + f, "base - floor"),
        "floor forgotten": Wrong(lambda t, n, b, p, f: b * (1 - t / n) ** p, "floor is missing"),
        "floor as a cut": Wrong(lambda t, n, b, p, f: max(b * (1 - t / n) ** p, f), "cuts"),
        "rises": Wrong(lambda t, n, b, p, f: (b - f) * (t / n) ** p + f, "Step 0 must have"),
        "whole division": Wrong(
            lambda t, n, b, p, f: (b - f) * (1 - t // n) ** p + f, "fall in every step"
        ),
        "steps - 1": Wrong(
            lambda t, n, b, p, f: (b - f) * max(0, 1 - t / (n - 1)) ** p + f, "steps - 1"
        ),
        "stairs": Wrong(lambda t, n, b, p, f: b * 0.1 ** (3 * t // n), "fall in every step"),
        "power over base, too": Wrong(
            lambda t, n, b, p, f: ((b - f) * (1 - t / n)) ** p + f, "a power of the whole rate"
        ),
    },
)

Loss = Callable[[object, Tensor], Tensor]


def whole_loss(logits: object, labels: Tensor) -> Tensor:
    return segmentation_loss(logits, labels, aux_weight=0.4)


def step_with(
    loss_of: Loss = whole_loss, order: str = "rzfbs"
) -> Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, float], Tensor]:
    """A step made of: r set the rate, z zero_grad, f forward, b backward, s optimizer.step."""

    def step(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        labels: Tensor,
        lr: float,
    ) -> Tensor:
        for part in order:
            if part == "r":
                for group in optimizer.param_groups:
                    group["lr"] = lr
            elif part == "z":
                optimizer.zero_grad()
            elif part == "f":
                loss = loss_of(model(images, size=labels.shape[1:]), labels)
            elif part == "b":
                loss.backward()
            else:
                optimizer.step()
        return loss.detach()

    return step


def over_labelled(logits: object, labels: Tensor) -> Tensor:
    main = cross_entropy(logits.main, labels, ignore_index=255)
    return main + 0.4 * cross_entropy(logits.aux, labels, ignore_index=255)


def only_main(logits: object, labels: Tensor) -> Tensor:
    return segmentation_loss(logits, labels, aux_weight=0.0)


def detached_aux(logits: object, labels: Tensor) -> Tensor:
    return segmentation_loss(logits._replace(aux=logits.aux.detach()), labels, aux_weight=0.4)


def spelt_out(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, lr: float
) -> float:
    logits = model(images, labels.shape[-2:])
    sums = [
        cross_entropy(one, labels, ignore_index=255, reduction="sum") / labels.numel()
        for one in logits
    ]
    model.zero_grad(set_to_none=True)
    loss = sums[0] + 0.4 * sums[1]
    loss.backward()
    for group in optimizer.param_groups:
        group.update(lr=lr)
    optimizer.step()
    return loss.item()


def step_but(
    size: Callable[[Tensor, Tensor], object] = lambda images, labels: labels.shape[1:],
    mode: bool | None = None,
    clip: Callable[[object], object] = lambda parameters: None,
    num_groups: int | None = None,
    scale: float = 1.0,
    detach: bool = True,
) -> Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, float], Tensor]:
    """A correct step but for what is given."""

    def step(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        labels: Tensor,
        lr: float,
    ) -> Tensor:
        for group in optimizer.param_groups[:num_groups]:
            group["lr"] = lr
        if mode is not None:
            model.train(mode)
        optimizer.zero_grad()
        loss = segmentation_loss(model(images, size=size(images, labels)), labels, aux_weight=0.4)
        (scale * loss).backward()
        clip(model.parameters())
        optimizer.step()
        return loss.detach() if detach else loss

    return step


def evaluated_first(*inputs: object) -> Tensor:
    """The forward pass in evaluation mode, the mode restored."""
    inputs[0].eval()
    logits = inputs[0](inputs[2], size=inputs[3].shape[1:])
    inputs[0].train()
    return step_with(lambda _, labels: whole_loss(logits, labels))(*inputs)


STEP = Gallery(
    checks.training_step,
    (step_with(), step_with(order="fzbrs"), spelt_out, step_but(mode=True)),
    {
        "zero_grad forgotten": Wrong(step_with(order="rfbs"), "earlier step are still in"),
        "zero_grad after backward": Wrong(step_with(order="rfbzs"), "No parameter moved"),
        "step before backward": Wrong(step_with(order="rfsb"), "along old gradients"),
        "step forgotten": Wrong(step_with(order="rzfb"), "No parameter moved"),
        "rate not set": Wrong(step_with(order="zfbs"), "old rate"),
        "rate set after the step": Wrong(step_with(order="zfbsr"), "old rate"),
        "no auxiliary loss": Wrong(step_with(only_main), "auxiliary loss is missing"),
        "auxiliary loss in full": Wrong(
            step_with(lambda o, t: segmentation_loss(o, t, aux_weight=1.0)), "counts in full"
        ),
        "mean over labelled pixels": Wrong(step_with(over_labelled), "divide by the labelled"),
        "auxiliary output detached": Wrong(step_with(detached_aux), "did not move"),
        "graph kept": Wrong(step_but(detach=False), "loss.detach()"),
        "no size": Wrong(step_but(lambda images, labels: None), "coarser than images"),
        "the images' size": Wrong(
            step_but(lambda images, labels: images.shape[2:]), "coarser than images"
        ),
        "evaluation mode": Wrong(step_but(mode=False), "evaluation mode"),
        "evaluated, then trained": Wrong(evaluated_first, "evaluation mode"),
        "norm of the gradients clipped": Wrong(
            step_but(clip=lambda found: clip_grad_norm_(found, 5.0)), "clipped"
        ),
        "gradients clipped one by one": Wrong(
            step_but(clip=lambda found: clip_grad_value_(found, 0.1)), "not by one step"
        ),
        "the loss scaled": Wrong(step_but(scale=0.5), "scaled before backward"),
        "only the first group's rate": Wrong(step_but(num_groups=1), "only the first group"),
        "two steps": Wrong(step_with(order="rzfbss"), "called twice"),
    },
)

GALLERIES = {"first-loss": FIRST, "poly": POLY, "step": STEP}
