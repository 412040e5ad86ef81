"""Checker of lesson 06: one step of training, on a network small enough to follow by hand."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from annlib.config import IGNORE_INDEX
from annlib.course.exercises.checking import NotYet, draw, expect, fresh
from annlib.course.exercises.training import near, number_of, uniform
from annlib.course.lines import say
from annlib.model.ann import Logits

AUX_WEIGHT = 0.4
OLD_GRADIENTS = (
    "The step was taken along old gradients, before backward() had made new ones: step() comes "
    "after backward()."
)
StepOf = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, float], Tensor | float]


class TinyNet(nn.Module):
    """Two outputs over one layer: enough to see whether a step reaches all of it."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 1)
        self.classifier = nn.Conv2d(6, num_classes, 1)
        self.auxiliary = nn.Conv2d(6, num_classes, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=fresh())

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Logits:
        features = self.body(images).relu()
        logits = Logits(self.classifier(features), self.auxiliary(features))
        return logits.resize(size or images.shape[2:], align_corners=False)


def training_step(student: StepOf) -> None:
    """model, optimizer, images, labels, lr -> loss; all parameters moved along their gradients"""
    for _ in range(2):
        num_classes, old_lr, lr = draw(3, 6), uniform(0.5, 0.9), uniform(0.05, 0.2)
        model = TinyNet(num_classes)
        images = torch.randn(2, 3, 5, 7, generator=fresh())
        labels = torch.randint(num_classes, (2, 5, 7), generator=fresh())
        labels[:, :, :3] = IGNORE_INDEX
        before = deepcopy(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=old_lr)
        for parameter in model.parameters():  # left over from an earlier step
            parameter.grad = torch.ones_like(parameter)
        found, has_graph = loss_of(student, model, optimizer, images, labels, lr)
        check_loss(found, before, images, labels)
        check_move(model, before, images, labels, lr, old_lr)
        expect(
            not has_graph,
            "The step is right, but the loss still hangs on its graph: whoever keeps losses for a "
            "curve keeps the maps of every step in memory. Give back loss.detach().",
        )
    say(
        "Right: the rate is set, old gradients are gone, both outputs are paid for, and every "
        "parameter has taken exactly one step."
    )


def loss_of(student: StepOf, *inputs: object) -> tuple[float, bool]:
    """The loss that the student's step gives back, and whether a graph hangs on it."""
    results: list[Tensor | float] = []

    def step(*given: object) -> Tensor | float:
        results.append(student(*given))
        return results[-1]

    step.__name__ = getattr(student, "__name__", "training_step")
    try:
        found = number_of(step, *inputs)
    except NotYet as error:
        expect("inplace operation" not in str(error), OLD_GRADIENTS)
        raise
    return found, isinstance(results[-1], Tensor) and results[-1].requires_grad


def losses(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed over labelled pixels, of the main and of the auxiliary output."""
    main, aux = model(images)
    return tuple(
        cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
        for logits in (main, aux)
    )


def check_loss(found: float, model: nn.Module, images: Tensor, labels: Tensor) -> None:
    with torch.no_grad():
        main, aux = (float(loss) for loss in losses(model, images, labels))
    every, valid = labels.numel(), int((labels != IGNORE_INDEX).sum())
    slips = {
        (main + AUX_WEIGHT * aux) / valid: "You divide by the labelled pixels. The published loss "
        "divides by all pixels, ignored ones included; segmentation_loss does that.",
        main / every: "The auxiliary loss is missing: its output would never learn, and would "
        "not help the layers below it.",
        main / valid: "The auxiliary loss is missing, and the mean is over labelled pixels only.",
        (main + aux) / every: f"The auxiliary loss counts in full; its weight is {AUX_WEIGHT}.",
        (AUX_WEIGHT * main + aux) / every: "The weight is on the wrong loss: the main one counts "
        "in full.",
        main + AUX_WEIGHT * aux: "That is a sum over pixels: it would grow with the picture. Take "
        "the mean.",
    }
    right = (main + AUX_WEIGHT * aux) / every
    for value, advice in slips.items():
        expect(near(found, right) or not near(found, value), advice)
    expect(
        near(found, right),
        f"The loss you return is {found:.4g}, but for these weights it was {right:.4g} before the "
        "step. Return the loss that the gradients came from.",
    )


def check_move(
    model: nn.Module,
    before: nn.Module,
    images: Tensor,
    labels: Tensor,
    lr: float,
    old_lr: float,
) -> None:
    """Compares the parameters with those that a right step leads to."""
    main, aux = losses(before, images, labels)
    start = list(before.parameters())
    gradients = torch.autograd.grad((main + AUX_WEIGHT * aux) / labels.numel(), start)
    ways = zip(start, model.parameters(), strict=True)
    moves = [then.detach() - now.detach() for then, now in ways]
    check_slips(moves, gradients, lr, old_lr)
    names = [name for name, _ in model.named_parameters()]
    still = [name for name, move in zip(names, moves, strict=True) if not bool(move.any())]
    expect(not still, f"{', '.join(still)} did not move: does the loss reach all of the network?")
    expect(
        moved(moves, lr, gradients),
        "The parameters moved, but not by one step along the gradient of main + 0.4 x auxiliary. "
        "Is step() called twice, or another loss sent backward than you return?",
    )


def moved(moves: Sequence[Tensor], rate: float, along: Sequence[Tensor]) -> bool:
    """Whether each parameter went by its rate along these gradients."""
    pairs = zip(moves, along, strict=True)
    return all(torch.allclose(move, rate * one, atol=1e-5) for move, one in pairs)


def check_slips(
    moves: Sequence[Tensor], gradients: Sequence[Tensor], lr: float, old_lr: float
) -> None:
    """Tells the steps apart that forgotten or misplaced parts lead to."""
    stale = [torch.ones_like(one) for one in gradients]  # what stood in .grad before the step
    both = [one + old for one, old in zip(gradients, stale, strict=True)]
    expect(
        not moved(moves, 0, stale),
        "No parameter moved: optimizer.step() is missing, or the gradients were set to zero "
        "between backward() and step().",
    )
    for rate in (lr, old_lr):
        expect(
            not moved(moves, rate, both),
            "Gradients of an earlier step are still in: backward() adds to what is there. "
            "zero_grad() comes before it.",
        )
        expect(not moved(moves, rate, stale), OLD_GRADIENTS)
    expect(
        not moved(moves, old_lr, gradients),
        'The step has the optimiser\'s old rate: set group["lr"] = lr for each group of '
        "optimizer.param_groups first.",
    )
