"""Training runs as the lessons use them: comparisons, full runs, and the job notebook."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from annlib.config import Experiment, Head, ModelConfig, RuntimeConfig, TestConfig
from annlib.course.attention import model_input
from annlib.course.lesson import OpenedLesson, progress
from annlib.course.profiler import peak_bytes
from annlib.course.row_costs import Measuring, shrunk, training_steps
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES
from annlib.data.classes import BALLOON_TOWN, DatasetSpec
from annlib.data.datasets import BUILT_IN, FIRST_VAL_SEED, DatasetSplits, checksum, open_data
from annlib.data.folders import find_pairs
from annlib.data.io import read_image, read_labels
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import to_tensors, training_transform
from annlib.engine.inference import make_label_predictor
from annlib.engine.metrics import evaluate_labels
from annlib.engine.optimization import Step
from annlib.engine.predictor import Network, find_network
from annlib.engine.runs import record_options
from annlib.engine.trainer import Trainer, fit_classes
from annlib.experiments import find_experiment, town
from annlib.model.build import build_model
from annlib.published_experiments import ZOO, Published

DEFAULT = "balloon_r50"


class Trial(NamedTuple):
    arm: str
    seed: int
    found: dict[str, float]  # name of a metric -> its value


def fit_with_progress(
    trainer: Trainer, train_data: Dataset, what: str, **options: Any
) -> list[tuple[int, float]]:
    """Trainer.fit with a progress bar in the notebook.  -> (step, loss) of every step"""
    left, losses = trainer.experiment.train.iterations - trainer.step, []
    bar = progress(range(left), left, what)

    def on_step(step: Step) -> None:
        next(bar)
        losses.append((step.number, step.loss.detach()))  # reading it would wait for the GPU

    trainer.fit(train_data, on_step=on_step, **options)
    next(bar, None)  # shows the end
    return [(number, float(loss)) for number, loss in losses]


def trainer_in_memory(plan: Experiment, spec: DatasetSpec, device: torch.device) -> Trainer:
    """A trainer that keeps nothing on disk, with first weights from torch's own seed."""
    torch.manual_seed(plan.train.seed)
    return Trainer(plan, spec, None, device, model=build_model(plan.model))


def with_anchors(plan: Experiment, scales: tuple[int, ...], steps: int, seed: int) -> Experiment:
    """The same experiment with other grids of anchors, a number of steps, and a seed."""
    recipe = replace(plan.train, iterations=steps, seed=seed)
    return replace(plan, model=replace(plan.model, pool_scales=scales), train=recipe)


def run_trial(
    arm: str, plan: Experiment, splits: DatasetSplits, device: torch.device, num_scored: int
) -> Trial:
    """Trains as planned, with a bar, and scores the first images of the validation split."""
    trainer = trainer_in_memory(plan, splits.spec, device)
    fit_with_progress(trainer, splits.train, f"steps of {arm}, seed {plan.train.seed}")
    scored = Subset(splits.val, range(min(num_scored, len(splits.val))))
    matrix = trainer.evaluate(scored, batch_size=8)
    found = {"seconds": trainer.seconds, "mIoU": matrix.scores().miou}
    if splits.spec.name == BALLOON_TOWN.name:
        found["house accuracy"] = matrix.accuracy_among(HOUSES)
    return Trial(arm, plan.train.seed, found)


def open_full_run(
    lesson: OpenedLesson, folder: Path, steps: int | None = None
) -> tuple[Trainer, DatasetSplits]:
    """A run in `folder`, new or resumed, and its data; in bf16 where the device supports it.

    steps: None for the experiment's own number. Published rows begin with the reference's ImageNet
    weights, as in `annlib train`. Raises FileNotFoundError, with the parameter, for missing data.
    """
    plan = find_experiment(lesson.experiment or DEFAULT)
    steps = steps or plan.train.iterations
    plan = replace(plan, train=replace(plan.train, seed=lesson.seed, iterations=steps))
    if lesson.data_root is None and plan.data.dataset != "balloon_town":
        raise FileNotFoundError(
            f"{plan.name} trains on {plan.data.dataset}, which does not come with annlib: set the "
            "parameter data_root to its folder (annlib data prepare --help tells how to get one), "
            f"or leave experiment empty to train {DEFAULT} on Balloon Town."
        )
    splits = open_data(plan.data, lesson.data_root)
    plan = fit_classes(plan, splits)
    has_bf16 = lesson.device.type == "cuda" and torch.cuda.is_bf16_supported()
    resume = (folder / "last.safetensors").exists()
    runtime = RuntimeConfig("bf16" if has_bf16 else "fp32")
    trainer = Trainer(plan, splits.spec, folder, lesson.device, resume, runtime)
    if not resume:
        data = checksum(splits.train) + checksum(splits.val)
        record_options(folder, lesson.data_root, None, None, 0, data)
    if plan.name in ZOO and not resume:
        from annlib.model.hub import load_backbone  # needs the file, or a way to download it

        load_backbone(trainer.model, "reference")
    return trainer, splits


def refuse_without_gpu(lesson: OpenedLesson) -> None:
    """Raises ValueError where data_root or experiment ask for a run that a CPU cannot take."""
    if lesson.device.type == "cpu" and (lesson.experiment or lesson.data_root):
        raise ValueError(
            f"experiment {lesson.experiment or DEFAULT!r} asks for a full run, far "
            "too long for a CPU. Leave experiment and data_root empty, or take device='cuda'."
        )


def rehearsed_network(row: Published, shrink: int, seed: int) -> Network:
    """The row's network with random weights, tested on sides divided by `shrink`."""
    plan, name = shrunk(row.experiment, shrink), f"{row.name}, random weights"

    def load() -> nn.Module:
        torch.manual_seed(seed)
        return build_model(plan.model)

    return find_network(row.name)._replace(name=name, test=plan.test, load=load)


def sample_image(root: Path, dataset: str) -> tuple[np.ndarray, Tensor]:
    """The first validation image as stored: uint8 (H, W, 3), raw labels uint8 (H, W)"""
    pairs = find_pairs(root, BUILT_IN[dataset], "val")
    return read_image(pairs.images[0]).permute(1, 2, 0).numpy(), read_labels(pairs.labels[0])


def town_scores(model: nn.Module, test: TestConfig, num_scenes: int) -> dict[str, float]:
    """miou and house_accuracy (see `ConfusionMatrix.accuracy_among`), on validation scenes."""
    unseen = Scenes(num_scenes, first_seed=FIRST_VAL_SEED)
    samples = make_loader(Transformed(unseen, to_tensors), 4, training=False)
    matrix = evaluate_labels(make_label_predictor(model, test), samples, len(CLASS_NAMES))
    return {"miou": matrix.scores().miou, "house_accuracy": matrix.accuracy_among(HOUSES)}


def parameters_of(head: str) -> int:
    """Of the town's network with that head, the auxiliary part included."""
    return sum(p.numel() for p in build_model(town(head).model).parameters())


def measured_step(head: str, images: int, device: torch.device) -> int:
    """The peak memory in bytes of two steps of SGD with that many scenes in a batch."""
    plan = town(head)
    data = replace(plan.data, crop_size=(128, 192), batch_size=images)
    plan = replace(plan, data=data, train=replace(plan.train, optimizer="sgd"))
    steps = training_steps(plan, Measuring(device))
    return peak_bytes(lambda: (next(steps), next(steps)), device)


def same_classes(model: nn.Module, image: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The share of pixels with the same class in fp32 and bf16, and both predictions (H, W)."""
    images = model_input(image).to(next(model.parameters()).device)
    predict = partial(make_label_predictor, model, TestConfig())
    found = {kind: predict(kind)(images)[0].cpu().numpy() for kind in ("fp32", "bf16")}
    return float((found["fp32"] == found["bf16"]).mean()), found


def experiment(head: Head, pool_scales: str | Sequence[int], steps: int, seed: int) -> Experiment:
    """The town's experiment of that head, with grids of anchors as "1,3,6,8" or [1, 3, 6, 8]."""
    if head not in get_args(Head):
        raise ValueError(f"head is {head!r}: one of {', '.join(get_args(Head))}.")
    words = pool_scales.split(",") if isinstance(pool_scales, str) else map(str, pool_scales)
    words = [word.strip() for word in words]
    if not words or not all(word.isdecimal() and int(word) for word in words):
        raise ValueError(f'pool_scales is {pool_scales!r}: whole numbers from 1 up, as "1,3,6,8".')
    plan, anchors = town(head), tuple(map(int, words))
    if head not in ("apnb", "ann"):
        if anchors != ModelConfig.pool_scales:
            raise ValueError(f"pool_scales is {pool_scales!r}, but {head} has no anchors: omit it.")
        anchors = plan.model.pool_scales
    return with_anchors(plan, anchors, steps, seed)


def training_scenes(plan: Experiment, num_scenes: int) -> Dataset:
    """That many training scenes, augmented as planned."""
    if num_scenes < plan.data.batch_size:
        raise ValueError(f"num_scenes is {num_scenes}, below a batch of {plan.data.batch_size}.")
    return Transformed(Scenes(num_scenes), training_transform(plan.data))
