"""Checkers of lesson 06: the first loss, the learning rate, and a training step."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from math import log, log2, log10

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from annlib.config import IGNORE_INDEX
from annlib.course.checks.base import NotYet, attempt_number, expect, judge, passed, result_of, text
from annlib.course.checks.inputs import draw, fresh, normal, uniform
from annlib.model.ann import Logits


def first_loss(student: Callable[[int, float, float], float]) -> None:
    """num_classes, share of labelled pixels, aux_weight -> loss with equal probabilities"""
    for _ in range(2):
        classes, labelled, aux = draw(5, 150), uniform(0.55, 0.95), uniform(0.2, 0.5)
        each, outputs = log(classes), 1 + aux
        two = outputs * labelled
        slips = {
            "ignored pixels forgotten": outputs * each,
            "divided by the share": outputs * each / labelled,
            "no auxiliary output": labelled * each,
            "share in one loss only": (labelled + aux) * each,
            "only the auxiliary loss": aux * labelled * each,
            "both losses in full": 2 * labelled * each,
            "bits": two * log2(classes),
            "digits": two * log10(classes),
            "probability for loss": two / classes,
            "sign of the logarithm": -two * each,
        }
        found = attempt_number(student, classes, labelled, aux)
        judge(found, two * each, slips, text("another first loss", classes, labelled, aux, found))
    passed("first_loss")


def poly_rate(student: Callable[[int, int, float, float, float], float]) -> None:
    """step, steps, base, power, floor -> learning rate of that step"""
    steps, base, power = draw(60, 90), uniform(0.01, 0.05), uniform(0.6, 0.85)
    floor = base * uniform(0.1, 0.2)
    found = [attempt_number(student, step, steps, base, power, floor) for step in range(steps)]
    rates, falls = torch.tensor(found, dtype=torch.float64), base - floor
    done = torch.arange(steps).double() / steps
    left, one_less = 1 - done, done * steps / (steps - 1)
    slips = {
        "no power": falls * left + floor,
        "power of what is done": falls * (1 - done**power) + floor,
        "floor as a cut": (base * left**power).clamp(min=floor),
        "no floor": base * left**power,
        "power of the base, too": (falls * left) ** power + floor,
        "steps - 1": falls * (1 - one_less).clamp(min=0) ** power + floor,
    }
    otherwise = "another curve"
    if found[0] > base * 1.0001:
        otherwise = "Step 0 has more than the base rate: what falls is base - floor, not base."
    elif found[0] < base * 0.9999:
        otherwise = text("step 0 below the base rate", base, found[0])
    elif not (rates.diff() < 0).all():
        otherwise = "The rate must fall in every step; yours does not. Is there a `//` in it?"
    elif min(found) <= floor:
        otherwise = "Your rate goes below the floor before the end: add the floor to what falls."
    judge(rates, falls * left**power + floor, slips, otherwise, rtol=1e-4, atol=1e-9)
    last = attempt_number(student, steps, steps, base, power, floor)
    judge(last, floor, {}, text("more than the floor at the end", steps, floor, last), rtol=1e-4)
    half = attempt_number(student, steps // 2, 2 * (steps // 2), base, 1.0, 0.0)
    judge(half, base / 2, {}, "half way", rtol=1e-4)
    passed("poly_rate")


AUX_WEIGHT = 0.4
OLD_GRADIENTS = "old gradients"


class TinyNet(nn.Module):
    """Two outputs over one layer with batch norm; it notes how it is called."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.classifier = nn.Conv2d(6, num_classes, 1)
        self.auxiliary = nn.Conv2d(6, num_classes, 1)
        for parameter in self.parameters():  # so large that clipping at 5 changes the gradients
            nn.init.normal_(parameter, std=30.0, generator=fresh())
        nn.init.zeros_(self.norm.bias)  # no ReLU is dead
        self.calls: list[tuple[bool, tuple[int, ...]]] = []  # training mode, size

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Logits:
        self.calls.append((self.training, tuple(size or images.shape[2:])))
        features = self.norm(self.body(images)).relu()
        logits = Logits(self.classifier(features), self.auxiliary(features))
        return logits.resize(self.calls[-1][1], align_corners=False)


def training_step(student: Callable[..., Tensor | float]) -> None:
    """model, optimizer, images, labels, lr -> loss; all parameters moved along their gradients"""
    for _ in range(2):
        num_classes, lr = draw(3, 6), uniform(0.05, 0.2)
        model = TinyNet(num_classes).double()
        images = normal(2, 3, 20, 28, dtype=torch.float64)
        labels = torch.randint(num_classes, (2, 10, 14), generator=fresh())  # coarser than images
        labels[:, :, :5] = IGNORE_INDEX
        before, parameters = deepcopy(model), list(model.parameters())
        optimizer = torch.optim.SGD([{"params": parameters[:3]}, {"params": parameters[3:]}], lr=1)
        for group in optimizer.param_groups:
            group["lr"] = uniform(0.5, 0.9)
        old_rates = [group["lr"] for group in optimizer.param_groups for _ in group["params"]]
        for parameter in parameters:  # left over from an earlier step
            parameter.grad = torch.ones_like(parameter)
        try:
            result = result_of(student, model, optimizer, images, labels, lr)
        except NotYet as error:
            check_calls(model, labels)
            expect("inplace operation" not in str(error), OLD_GRADIENTS)
            raise
        check_calls(model, labels)
        found = attempt_number(lambda result=result: result)
        main, aux = (
            cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
            for logits in before(images, labels.shape[1:])
        )
        every, valid = labels.numel(), int((labels < num_classes).sum())
        both = main + AUX_WEIGHT * aux
        slips = {
            "mean over labelled pixels": both / valid,
            "no auxiliary loss": main / every,
            "labelled pixels, no auxiliary loss": main / valid,
            "auxiliary loss in full": (main + aux) / every,
            "weight on the main loss": (AUX_WEIGHT * main + aux) / every,
            "sum over pixels": both,
        }
        loss = both / every
        judge(found, loss, slips, text("another loss", found, loss.item()))
        check_moves(before, model, torch.autograd.grad(loss, before.parameters()), lr, old_rates)
        expect(not isinstance(result, Tensor) or not result.requires_grad, "graph kept")
    passed("training_step")


def check_calls(model: TinyNet, labels: Tensor) -> None:
    expect(model.training and all(training for training, _ in model.calls), "evaluation mode")
    wanted = tuple(labels.shape[1:])
    for _, size in model.calls:
        expect(size == wanted, "logits of the images' size", size, wanted)


def check_moves(
    before: nn.Module, model: nn.Module, gradients: Sequence[Tensor], lr: float, old: list[float]
) -> None:
    def step(rates: list[float], along: Sequence[Tensor]) -> Tensor:
        return torch.cat([(rate * one).flatten() for rate, one in zip(rates, along, strict=True)])

    pairs = zip(before.parameters(), model.named_parameters(), strict=True)
    moves = {name: then.detach() - now.detach() for then, (name, now) in pairs}
    new, num_first = [lr] * len(moves), 3
    stale = [torch.ones_like(one) for one in gradients]  # what .grad held before the step
    both = [one + 1 for one in gradients]
    found, right = step([1.0] * len(moves), [*moves.values()]), step(new, gradients)
    share = float(found @ right / (right @ right))
    slips = {
        "no step": torch.zeros_like(found),
        "no zero_grad": [step(new, both), step(old, both)],
        OLD_GRADIENTS: [step(new, stale), step(old, stale)],
        "old rate": step(old, gradients),
        "rate of the first group": step(new[:num_first] + old[num_first:], gradients),
        "clipped or scaled": share * right if 0 < share < 0.999 else [],
    }
    otherwise = "another step"
    still = [name for name, move in moves.items() if not move.any()]
    if still:
        otherwise = f"{', '.join(still)} did not move: does the loss reach all of the network?"
    judge(found, right, slips, otherwise, atol=1e-6)
