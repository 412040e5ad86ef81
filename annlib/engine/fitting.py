"""An experiment, fitted to the data and to the machine at hand."""

from dataclasses import replace

from annlib.config import Experiment
from annlib.data.classes import DatasetSpec
from annlib.data.datasets import class_balance, label_pixels, training_problem
from annlib.data.sources import Halves
from annlib.engine.distributed import is_main


def fit_classes(experiment: Experiment, halves: Halves) -> Experiment:
    """Fits the photos_* experiments to the classes of a folder, and to how often each occurs.

    Raises ValueError for training labels that nothing can be learned from, see `training_problem`.
    """
    check_classes(experiment, halves.spec)
    model, recipe = experiment.model, experiment.train
    if experiment.data.dataset == "folder":
        model = replace(model, num_classes=halves.spec.num_classes)
    if experiment.data.dataset == "folder" or experiment.data.balance_classes:
        pixels = label_pixels(halves.train)
        if problem := training_problem(pixels, halves.spec):
            raise ValueError(f"{halves.spec.name} cannot be trained on: {problem}")
        if experiment.data.balance_classes:
            recipe = replace(recipe, class_weights=class_balance(pixels, halves.spec))
    return replace(experiment, model=model, train=recipe)


def check_classes(experiment: Experiment, spec: DatasetSpec) -> None:
    """Raises ValueError for a data set with another number of classes than a published row."""
    if experiment.model.num_classes != spec.num_classes and experiment.data.dataset != "folder":
        raise ValueError(
            f"{experiment.name} has {experiment.model.num_classes} classes, the data set "
            f"{spec.name} {spec.num_classes}. For a folder of your own there are the photos_* "
            "experiments."
        )


def fit_minutes(experiment: Experiment, minutes: float, seconds: float) -> Experiment:
    """As many steps as fit, when a step takes so many seconds."""
    iterations = max(1, int(60 * minutes / seconds))
    if is_main():
        print(f"{1000 * seconds:.0f} ms a step: {iterations} steps in {minutes:g} minutes")
    return replace(experiment, train=replace(experiment.train, iterations=iterations))
