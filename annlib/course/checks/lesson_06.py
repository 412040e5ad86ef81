"""Checkers of lesson 06: the first loss, the learning rate, and a training step."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from math import log, log2, log10
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from annlib.config import IGNORE_INDEX
from annlib.course.checks.base import NotYet, draw, expect, fresh
from annlib.course.lesson import say
from annlib.model.ann import Logits

Rate = Callable[[int, int, float, float, float], float]
Value = TypeVar("Value")


def given(value: Value) -> Value:
    """The value itself; NotYet where an exercise has none to give yet."""
    expect(
        value is not None and value is not ...,
        "Nothing comes back yet: the exercise above is still to be written, or lacks its `return`.",
    )
    return value


def number_of(student: Callable[..., float | Tensor], *inputs: object) -> float:
    """What the student's function gives for these inputs, as one number."""
    name = getattr(student, "__name__", type(student).__name__)
    try:
        result = student(*inputs)
    except Exception as error:
        raise NotYet(f"{name} stopped with {type(error).__name__}: {error}") from error
    given(result)
    if isinstance(result, Tensor) and result.numel() == 1:
        return float(result.detach())
    expect(
        isinstance(result, float | int),
        f"{name} should give one number; it gives a {type(result).__name__}.",
    )
    return float(result)


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=fresh()))


def near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-12)


def first_loss(student: Callable[[int, float, float], float]) -> None:
    """num_classes, share of labelled pixels, aux_weight -> loss of a network that knows nothing"""
    for _ in range(2):
        classes, labelled, aux = draw(5, 150), uniform(0.55, 0.95), uniform(0.2, 0.5)
        found, right = (
            number_of(student, classes, labelled, aux),
            (1 + aux) * labelled * log(classes),
        )
        for value, advice in slips_of_the_first(classes, labelled, aux).items():
            expect(abs(found - right) < 1e-5 * right or abs(found - value) > 1e-6 * right, advice)
        expect(
            abs(found - right) < 1e-5 * right,
            f"For {classes} classes, {labelled:.2f} labelled and weight {aux:.2f} you get "
            f"{found:.3g}. What does one labelled pixel cost if all classes are equally likely?",
        )
    say(
        "Right: each labelled pixel costs ln K, ignored ones only dilute the mean, and the "
        "auxiliary output adds its weighted share. Any other first loss is a symptom."
    )


def slips_of_the_first(classes: int, labelled: float, aux: float) -> dict[float, str]:
    """Numbers that plausible mistakes lead to, and advice."""
    each, outputs = log(classes), 1 + aux
    return {
        outputs * each: "The share of labelled pixels is missing: ignored pixels add nothing to "
        "the sum, but they are counted in the mean.",
        outputs * each / labelled: "You divide by the share of labelled pixels. Ignored pixels add "
        "0 to the sum and 1 to the count, so they make the mean smaller.",
        labelled * each: "The auxiliary loss is missing: a second output guesses, too.",
        (labelled + aux) * each: "Both outputs are compared with the same labels: the share "
        "belongs to both losses.",
        aux * labelled * each: "Only the auxiliary loss is there: the main loss counts once.",
        2 * labelled * each: "Both losses count once with you; the auxiliary one is weighted.",
        outputs * labelled * log2(classes): "That is in bits: cross-entropy here uses the natural "
        "logarithm.",
        outputs * labelled * log10(classes): "log10 counts digits: cross-entropy here uses the "
        "natural logarithm.",
        outputs * labelled / classes: "1/K is the probability of each class. The loss of a pixel "
        "is minus the logarithm of it.",
        -outputs * labelled * each: "The sign: the logarithm of 1/K is negative, the loss is minus "
        "that.",
    }


def poly_rate(student: Rate) -> None:
    """step, steps, base, power, floor -> learning rate of that step"""
    steps, base, power = draw(60, 90), uniform(0.01, 0.05), uniform(0.6, 0.85)
    floor = base * uniform(0.1, 0.2)
    rates = [number_of(student, step, steps, base, power, floor) for step in range(steps)]
    check_rate_slips(rates, base, power, floor)
    check_ends(rates, base, floor)
    right = curve(steps, lambda done: (base - floor) * (1 - done) ** power + floor)
    expect(
        all(near(a, b) for a, b in zip(rates, right, strict=True)),
        "Start and fall are right, but the curve between them is another one. Compare with the "
        "formula: what falls, with which power of which share, and what is added in the end.",
    )
    last = number_of(student, steps, steps, base, power, floor)
    expect(
        near(last, floor),
        f"Once all {steps} steps are done nothing is left but the floor, {floor:.2g}; you have "
        f"{last:.2g}. Is the rate divided by the number of steps, or by one less?",
    )
    straight = number_of(student, steps // 2, 2 * (steps // 2), base, 1.0, 0.0)
    expect(near(straight, base / 2), "With power 1 and no floor half of the rate is left half way.")
    say(
        "Right: it starts at base, falls in every step, bends as the power says, and ends at the "
        "floor."
    )


def check_ends(rates: list[float], base: float, floor: float) -> None:
    expect(
        rates[0] <= base * 1.0001,
        "Step 0 has more than the base rate: the floor lifts the end, so what falls is base - "
        "floor, not base.",
    )
    expect(
        near(rates[0], base),
        f"Step 0 must have the base rate, {base:.3g}; yours has {rates[0]:.3g}. Which share of "
        "the steps is still to come at step 0?",
    )
    expect(
        all(after < before for before, after in zip(rates, rates[1:], strict=False)),
        "The rate must fall in every step; yours does not. Is there a `//` in it?",
    )
    expect(
        all(rate > floor for rate in rates),
        "Your rate goes below the floor before the end: add the floor to what falls.",
    )


def curve(steps: int, rule: Callable[[float], float]) -> list[float]:
    """What a rule makes of the share of steps that is done."""
    return [rule(step / steps) for step in range(steps)]


def check_rate_slips(rates: list[float], base: float, power: float, floor: float) -> None:
    """Tells plausible other curves apart."""
    steps, falls = len(rates), base - floor
    one_less = steps / max(1, steps - 1)
    slips = {
        "The power is missing: you fall along a straight line.": lambda done: (
            falls * (1 - done) + floor
        ),
        "The power belongs to what is left, 1 - step / steps, not to what is done.": lambda done: (
            falls * (1 - done**power) + floor
        ),
        "max(rate, floor) cuts the curve off. Here the floor is added to what falls: "
        "(base - floor) times the rest to the power, plus the floor.": lambda done: max(
            base * (1 - done) ** power, floor
        ),
        "The floor is missing: the rate ends at 0.": lambda done: base * (1 - done) ** power,
        "That is a power of the whole rate, base and all: only the rest gets the power.": (
            lambda done: (falls * (1 - done)) ** power + floor
        ),
        "You divide by steps - 1, as newer code does. The recipe of the released weights divides "
        "by steps.": lambda done: falls * max(0.0, 1 - done * one_less) ** power + floor,
    }
    for advice, rule in slips.items():
        alike = all(near(a, b) for a, b in zip(rates, curve(steps, rule), strict=True))
        expect(not alike, advice)


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
    check_step_slips(moves, gradients, lr, old_lr)
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


def check_step_slips(
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
