"""Training runs as the lessons use them: comparisons, full runs, and the job notebook."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from annlib.config import Experiment, Head, Precision, RuntimeConfig, TestConfig
from annlib.course.attention import model_input
from annlib.course.lesson import OpenedLesson, progress
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES
from annlib.data.classes import BALLOON_TOWN
from annlib.data.datasets import BUILT_IN, FIRST_VAL_SEED, DatasetSplits, open_data
from annlib.data.folders import find_pairs
from annlib.data.io import read_image, read_labels
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import to_tensors, training_transform
from annlib.engine.inference import make_label_predictor
from annlib.engine.metrics import evaluate_labels
from annlib.engine.predictor import Network, find_network
from annlib.engine.profiler import peak_bytes
from annlib.engine.row_costs import Measuring, shrunk, training_steps
from annlib.engine.train import make_optimizer, train
from annlib.engine.trainer import Training, fit_classes
from annlib.experiments import find_experiment, town
from annlib.model.build import build_model
from annlib.zoo import ZOO, Published


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
    arm: str, plan: Experiment, halves: DatasetSplits, device: torch.device, num_scored: int
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
        make_label_predictor(model, plan.test),
        make_loader(samples, 8, training=False),
        halves.spec.num_classes,
    )
    found["mIoU"] = matrix.scores().miou
    if halves.spec.name == BALLOON_TOWN.name:
        found["house accuracy"] = matrix.accuracy_among(HOUSES)
    return Trial(arm, seed, found)


DEFAULT = "balloon_r50"


def chosen_experiment(lesson: OpenedLesson, steps: int | None) -> Experiment:
    """The experiment of the parameters, with the lesson's seed.  steps: None for its own number."""
    experiment = find_experiment(lesson.experiment or DEFAULT)
    iterations = steps or experiment.train.iterations
    recipe = replace(experiment.train, seed=lesson.seed, iterations=iterations)
    return replace(experiment, train=recipe)


def data_of(experiment: Experiment, lesson: OpenedLesson) -> DatasetSplits:
    """Raises FileNotFoundError, naming the parameter, for data that is not there."""
    if lesson.data_root is None and experiment.data.dataset != "balloon_town":
        raise FileNotFoundError(
            f"{experiment.name} trains on {experiment.data.dataset}, which does not come with "
            "annlib: set the parameter data_root to its folder (annlib data prepare --help tells "
            f"how to get one), or leave experiment empty to train {DEFAULT} on Balloon Town."
        )
    return open_data(experiment.data, lesson.data_root)


def open_full_run(
    lesson: OpenedLesson, folder: Path, steps: int | None = None
) -> tuple[Training, DatasetSplits]:
    """A run in `folder`, begun or gone on with, and its data; in bf16 where the device can.

    Published rows begin with the reference's ImageNet weights, as `annlib train` does.
    """
    experiment = chosen_experiment(lesson, steps)
    halves = data_of(experiment, lesson)
    experiment = fit_classes(experiment, halves)
    short = lesson.device.type == "cuda" and torch.cuda.is_bf16_supported()
    resume = (folder / "last.safetensors").exists()
    compute = RuntimeConfig("bf16" if short else "fp32")
    training = Training(experiment, halves.spec, folder, lesson.device, resume, compute)
    if experiment.name in ZOO and not resume:
        from annlib.model.hub import load_backbone  # needs the file, or a way to fetch it

        load_backbone(training.model, "reference")
    return training, halves


def refuse_without_gpu(lesson: OpenedLesson) -> None:
    """Raises ValueError where data_root or experiment ask for a run that a CPU cannot take."""
    if lesson.device.type == "cpu" and (lesson.experiment or lesson.data_root):
        raise ValueError(
            f"experiment {lesson.experiment or DEFAULT!r} asks for the full run at the end of this "
            "lesson, which is far too long for a CPU. Leave experiment and data_root empty, or run "
            "with device='cuda'."
        )


SCENE = (128, 192)


class Scored(NamedTuple):
    """Shares between 0 and 1."""

    miou: float
    house_accuracy: float


def rehearsed_network(row: Published, shrink: int, seed: int) -> Network:
    """The row's network with random weights, tested on sides divided by `shrink`."""
    plan = shrunk(row.experiment, shrink)

    def load() -> nn.Module:
        torch.manual_seed(seed)
        return build_model(plan.model)

    return find_network(row.name)._replace(
        name=f"{row.name}, random weights", test=plan.test, load=load
    )


def sample_picture(root: Path, dataset: str) -> tuple[np.ndarray, Tensor]:
    """The first validation picture as it lies on disk: uint8 (H, W, 3), raw labels uint8 (H, W)"""
    pairs = find_pairs(root, BUILT_IN[dataset], "val")
    return read_image(pairs.images[0]).permute(1, 2, 0).numpy(), read_labels(pairs.labels[0])


def town_scores(model: nn.Module, test: TestConfig, num_scenes: int) -> Scored:
    """Scores on unseen scenes, tested one way or another."""
    unseen = Scenes(num_scenes, first_seed=FIRST_VAL_SEED)
    samples = make_loader(Transformed(unseen, to_tensors), 4, training=False)
    matrix = evaluate_labels(make_label_predictor(model, test), samples, len(CLASS_NAMES))
    return Scored(matrix.scores().miou, matrix.accuracy_among(HOUSES))


def parameters_of(head: str) -> int:
    """Of the town's network with that head, the auxiliary part included."""
    return sum(p.numel() for p in build_model(town(head).model).parameters())


def measured_step(head: str, pictures: int, device: torch.device) -> int:
    """The most bytes that two steps of SGD hold at once, with so many scenes in a batch."""
    plan = town(head)
    data = replace(plan.data, crop_size=SCENE, batch_size=pictures)
    plan = replace(plan, data=data, train=replace(plan.train, optimizer="sgd"))
    steps = training_steps(plan, Measuring(device))
    return peak_bytes(lambda: (next(steps), next(steps)), device)


def same_classes(model: nn.Module, image: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The share of pixels with the same class in fp32 and bf16, and both answers (H, W)."""
    images = model_input(image).to(next(model.parameters()).device)
    kinds: tuple[Precision, ...] = ("fp32", "bf16")
    found = {
        kind: make_label_predictor(model, TestConfig(), kind)(images)[0].cpu().numpy()
        for kind in kinds
    }
    return float((found["fp32"] == found["bf16"]).mean()), found


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
    label = make_label_predictor(model, TestConfig())
    matrix = evaluate_labels(label, samples, len(CLASS_NAMES))
    return TownScores(matrix.scores().miou, matrix.accuracy_among(HOUSES))
