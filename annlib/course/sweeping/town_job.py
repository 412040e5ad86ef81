"""What the job notebook train_town needs: an experiment from its parameters, data, and scores."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from torch import nn
from torch.utils.data import DataLoader

from annlib.config import Experiment, Head, TestConfig
from annlib.data.loading import Transformed, make_loader
from annlib.data.scenes import CLASS_NAMES, HOUSES, Scenes
from annlib.data.sources import FIRST_VAL_SEED
from annlib.data.transforms import to_tensors, training_transform
from annlib.engine.evaluate import evaluate_labels
from annlib.engine.inference import labeller
from annlib.experiments import town


class TownScores(NamedTuple):
    """Shares between 0 and 1."""

    miou: float
    house_accuracy: float  # right among the pixels that are, and were taken for, some house


def scales(told: str | Sequence[int]) -> tuple[int, ...]:
    """The sides of the grids of anchors: "1,3,6,8" or [1, 3, 6, 8] -> (1, 3, 6, 8)"""
    words = told.split(",") if isinstance(told, str) else told
    try:
        found = tuple(int(word) for word in words)
    except ValueError as error:
        raise ValueError(
            f'pool_scales is {told!r}: whole numbers with commas, "1,3,6,8".'
        ) from error
    if not found or min(found) < 1:
        raise ValueError(f"pool_scales is {told!r}: each grid has at least one cell a side.")
    return found


def experiment(
    head: Head, pool_scales: str | Sequence[int], iterations: int, seed: int
) -> Experiment:
    """The town's experiment of that head, with these anchors, steps and seed."""
    if head not in get_args(Head):
        raise ValueError(f"head is {head!r}: one of {', '.join(get_args(Head))}.")
    plan = town(head)
    anchors = scales(pool_scales) if head in ("apnb", "ann") else plan.model.pool_scales
    model = replace(plan.model, pool_scales=anchors)
    return replace(plan, model=model, train=replace(plan.train, iterations=iterations, seed=seed))


def batches(plan: Experiment, num_scenes: int) -> DataLoader:
    """Training batches of so many scenes, in an order that follows from the seed."""
    if num_scenes < plan.data.batch_size:
        raise ValueError(f"num_scenes is {num_scenes}, below a batch of {plan.data.batch_size}.")
    data = Transformed(Scenes(num_scenes), training_transform(plan.data))
    return make_loader(data, plan.data.batch_size, training=True, seed=plan.train.seed)


def scores_on(model: nn.Module, plan: Experiment, num_scenes: int) -> TownScores:
    """Scores on scenes that no network was trained on."""
    unseen = Scenes(num_scenes, first_seed=FIRST_VAL_SEED)
    samples = make_loader(Transformed(unseen, to_tensors), 10, training=False)
    label = labeller(model, TestConfig())
    matrix = evaluate_labels(label, samples, len(CLASS_NAMES))
    return TownScores(matrix.scores().miou, matrix.accuracy_among(HOUSES))
