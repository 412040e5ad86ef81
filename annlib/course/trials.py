"""One training run of a comparison: an arm, a seed, and what came out."""

import time
from dataclasses import replace
from typing import NamedTuple

import torch
from torch.utils.data import Subset

from annlib.config import Experiment
from annlib.course.progress import progress
from annlib.data.classes import BALLOON_TOWN
from annlib.data.loading import make_loader
from annlib.data.scenes import HOUSES
from annlib.data.sources import Halves
from annlib.engine.evaluate import evaluate_labels
from annlib.engine.inference import labeller
from annlib.engine.train import make_optimizer, train
from annlib.model.baselines import build_model


class Trial(NamedTuple):
    """What one run found: name of a metric -> its value."""

    arm: str
    seed: int
    found: dict[str, float]


def with_anchors(
    experiment: Experiment, scales: tuple[int, ...], steps: int, seed: int
) -> Experiment:
    """The same experiment with other grids of anchors, so many steps, and a seed."""
    return replace(
        experiment,
        model=replace(experiment.model, pool_scales=scales),
        train=replace(experiment.train, iterations=steps, seed=seed),
    )


def run_trial(
    arm: str, plan: Experiment, halves: Halves, device: torch.device, num_scored: int
) -> Trial:
    """Trains as planned, with a bar, and scores on the first pictures of the other half."""
    seed, steps = plan.train.seed, plan.train.iterations
    torch.manual_seed(seed)
    model = build_model(plan.model).to(device, memory_format=torch.channels_last)
    batches = make_loader(halves.train, plan.data.batch_size, training=True, seed=seed)
    started = time.perf_counter()
    training = train(model, make_optimizer(model, plan.train), batches, plan.train)
    for _ in progress(training, steps, f"steps of {arm}, seed {seed}"):
        pass
    found = {"seconds": time.perf_counter() - started}
    samples = Subset(halves.val, range(min(num_scored, len(halves.val))))
    matrix = evaluate_labels(
        labeller(model, plan.test), make_loader(samples, 8, training=False), halves.spec.num_classes
    )
    found["mIoU"] = matrix.scores().miou
    if halves.spec.name == BALLOON_TOWN.name:
        found["house accuracy"] = matrix.accuracy_among(HOUSES)
    return Trial(arm, seed, found)
