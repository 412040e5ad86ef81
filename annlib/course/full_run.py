"""The full run of lesson 06: a published network, or any experiment, through the engine's code."""

from dataclasses import replace
from pathlib import Path

import torch

from annlib.config import Compute, Experiment
from annlib.course.opening import OpenedLesson
from annlib.data.sources import Halves, open_data
from annlib.engine.fitting import fit_classes
from annlib.engine.training import Training
from annlib.experiments import find_experiment
from annlib.zoo import ZOO

DEFAULT = "balloon_r50"


def chosen_experiment(lesson: OpenedLesson, steps: int | None) -> Experiment:
    """The experiment of the parameters, with the lesson's seed.  steps: None for its own number."""
    experiment = find_experiment(lesson.experiment or DEFAULT)
    iterations = steps or experiment.train.iterations
    recipe = replace(experiment.train, seed=lesson.seed, iterations=iterations)
    return replace(experiment, train=recipe)


def data_of(experiment: Experiment, lesson: OpenedLesson) -> Halves:
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
) -> tuple[Training, Halves]:
    """A run in `folder`, begun or gone on with, and its data; in bf16 where the device can.

    Published rows begin with the reference's ImageNet weights, as `annlib train` does.
    """
    experiment = chosen_experiment(lesson, steps)
    halves = data_of(experiment, lesson)
    experiment = fit_classes(experiment, halves)
    short = lesson.device.type == "cuda" and torch.cuda.is_bf16_supported()
    resume = (folder / "last.safetensors").exists()
    compute = Compute("bf16" if short else "fp32")
    training = Training(experiment, halves.spec, folder, lesson.device, resume, compute)
    if experiment.name in ZOO and not resume:
        from annlib.model.published import load_backbone  # needs the file, or a way to fetch it

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
