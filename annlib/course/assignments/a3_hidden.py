"""Hidden checks of assignment A3, fourth task: one run of the recipe, and what it depends on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Generator, nn

from annlib.course.assignments import a3_slips as slips
from annlib.course.assignments import a3_world as world
from annlib.course.grading.assignment import integer
from annlib.course.grading.questions import (
    NOT_FINITE,
    OTHER,
    WRONG_SHAPE,
    Answer,
    Call,
    Check,
    Misconception,
    close,
    failed,
)

NAME = "run"
OptimizerOf = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ADAM = partial(torch.optim.Adam, lr=world.LEARNING_RATE)
GUESS, NEAR_A_GUESS = 1 / world.PATTERNS, 0.15  # scores after a handful of steps
TOLERANCE = 1e-7  # in double precision a run repeats itself far better
BUILDING = Lock()  # weights are drawn from torch's one generator, and grading has threads


def fresh_network(seed: int) -> nn.Module:
    """The baseline before its first step."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return world.Network(lambda variant: world.PyramidBlock(), 0)


def reference(
    seed: int,
    steps: int,
    weights_seed: int | None = None,
    batch: Callable[[int, int], world.Maps] = world.training_maps,
    optimizer_of: OptimizerOf = ADAM,
    forgets: bool = True,
    moves: bool = True,
    score: Callable[[nn.Module], float] = world.score,
) -> float:
    """The score of a run of the baseline.  Everything after `steps` is how a mistake differs."""
    network = fresh_network(seed if weights_seed is None else weights_seed)
    optimizer = optimizer_of(network.parameters())
    for step in range(steps):
        features, labels = batch(seed, step)
        if forgets:
            optimizer.zero_grad()
        F.cross_entropy(network(features), labels, ignore_index=world.IGNORE).backward()
        if moves:
            optimizer.step()
    return score(network)


MISTAKES: Mapping[Misconception, Callable[[int, int], float]] = {
    slips.WEIGHTS_FIXED: partial(reference, weights_seed=0),
    slips.MAPS_FIXED: partial(reference, batch=lambda seed, step: world.training_maps(0, step)),
    slips.ONE_BATCH: partial(reference, batch=lambda seed, step: world.training_maps(seed, 0)),
    slips.STEPS_FROM_ONE: partial(
        reference, batch=lambda seed, step: world.training_maps(seed, step + 1)
    ),
    slips.STEP_MORE: lambda seed, steps: reference(seed, steps + 1),
    slips.GRADIENTS_ADD_UP: partial(reference, forgets=False),
    slips.NO_STEP: partial(reference, moves=False),
    slips.OTHER_RATE: partial(reference, optimizer_of=torch.optim.Adam),
    slips.OTHER_OPTIMIZER: partial(
        reference, optimizer_of=partial(torch.optim.SGD, lr=world.LEARNING_RATE)
    ),
    slips.ON_TRAINING_MAPS: lambda seed, steps: reference(
        seed,
        steps,
        score=lambda network: world.probability(network, *world.training_maps(seed, steps - 1)),
    ),
}


def check_recipe(points: float, seed: int, steps: int) -> Check:
    """The score of the baseline, asked for twice."""
    calls = [Call(NAME, (0, seed, steps))] * 2

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        if any(answer.output.numel() != 1 for answer in answers):
            return WRONG_SHAPE
        score, again = (answer.output.double().flatten()[0] for answer in answers)
        if not close(score, again, 0):
            return slips.NOT_SEEDED

        def explains(made: Callable[[int, int], float]) -> bool:
            return close(score, torch.tensor(made(seed, steps), dtype=torch.float64), TOLERANCE)

        if explains(reference):
            return None
        return next((slip for slip, made in MISTAKES.items() if explains(made)), OTHER)

    return Check("the recipe", points, calls, judge)


def check_change(points: float, seeds: tuple[int, int], steps: int) -> Check:
    """Variant 1 is trained, too; a run of the baseline in between may not matter."""
    asked = [(1, seeds[0]), (0, seeds[0]), (1, seeds[0]), (1, seeds[1])]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        if any(answer.output.numel() != 1 for answer in answers):
            return WRONG_SHAPE
        scores = [answer.output.double().item() for answer in answers]
        if not all(map(isfinite, scores)):
            return NOT_FINITE
        first, baseline, again, other = scores
        if first != again:
            return slips.NOT_SEEDED
        if first == baseline:
            return slips.NO_EFFECT
        if first == other:
            return slips.SEED_IGNORED
        guesses = (first, baseline, other)
        return None if all(abs(g - GUESS) < NEAR_A_GUESS for g in guesses) else slips.KNOWS_AT_ONCE

    calls = [Call(NAME, (variant, seed, steps)) for variant, seed in asked]
    return Check("a change", points, calls, judge)


def draw(generator: Generator) -> list[Check]:
    def seed() -> int:
        return integer(generator, 10**6, 10**7)

    return [
        check_recipe(2, seed(), integer(generator, 3, 6)),
        check_change(1, (seed(), seed()), integer(generator, 3, 5)),
    ]
