"""A published row at work on an imitation of its data set: a step of training, three evaluations.

Each check tells what it saw, and raises ValueError with it where the claim does not hold.
"""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from annlib.config import IGNORE_INDEX, Experiment, TestConfig
from annlib.data.loading import make_loader
from annlib.data.mimic import mimic
from annlib.engine.evaluate import ConfusionMatrix
from annlib.engine.inference import MULTI_SCALE, predictor
from annlib.engine.machine import batches
from annlib.engine.shrinking import PICTURES, shrunk_size
from annlib.engine.tables import percent
from annlib.engine.train import make_optimizer, train
from annlib.engine.zoo_claims import claim

CPU = torch.device("cpu")
TRAIN_PICTURES, VAL_PICTURES = 4, 2  # of an imitation
WINDOW, STRIDE = 769, 513  # of the rows that slide: the others get the same overlap


def imitate(dataset: str, root: Path, shrink: int) -> None:
    """Writes an imitation with pictures of the real sizes, or of a typical one divided."""
    size = shrunk_size(PICTURES[dataset], shrink) if shrink > 1 else None
    mimic(dataset, root, TRAIN_PICTURES, VAL_PICTURES, size)


def check_step(experiment: Experiment, model: nn.Module, dataset: Dataset) -> str:
    """One step of the recipe: the loss is a number, and every weight moves along a gradient."""
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = make_optimizer(model, experiment.train)
    loader = batches(experiment, dataset, CPU, workers=0)
    step = next(train(model, optimizer, loader, experiment.train))
    moved = sum(
        is_gradient(parameter.grad) and not torch.equal(parameter, old)
        for parameter, old in zip(model.parameters(), before, strict=True)
    )
    loss = float(step.loss)
    seen = f"loss {loss:.2f}, {moved} of {len(before)} weights moved"
    return claim(isfinite(loss) and moved == len(before), seen)


def is_gradient(gradient: Tensor | None) -> bool:
    """Whether anything came back. Weight decay alone moves weights that nothing flows into."""
    return gradient is not None and bool(gradient.isfinite().all() and gradient.any())


def whole(test: TestConfig) -> TestConfig:
    return replace(test, mode="whole", window=None, stride=None)


def slide(test: TestConfig, crop_size: tuple[int, int]) -> TestConfig:
    """The row's own windows, or such of the size of a crop with the same overlap."""
    if test.mode == "slide":
        return test
    height, width = (max(1, side * STRIDE // WINDOW) for side in crop_size)
    return replace(test, mode="slide", window=crop_size, stride=(height, width))


def multi_scale(test: TestConfig) -> TestConfig:
    """The row's own mode at six scales, with mirror images."""
    return replace(test, scales=MULTI_SCALE, flip=True)


def check_evaluation(model: nn.Module, test: TestConfig, dataset: Dataset) -> str:
    """Every pixel with a label is counted once, under its label; no score is NaN."""
    predict = predictor(model, test)
    matrix = ConfusionMatrix(model.config.num_classes)
    expected = torch.zeros(256, dtype=torch.int64)
    for images, labels in make_loader(dataset, 1, training=False):
        logits = predict(images)
        claim(not logits.isnan().any(), "some logits are NaN")
        matrix.update(logits.argmax(1), labels)
        expected += labels.flatten().bincount(minlength=256)
    expected[IGNORE_INDEX] = 0
    counted = torch.equal(matrix.counts.sum(1), expected[: matrix.num_classes])
    miou, pixels = matrix.scores().miou, int(expected.sum())
    claim(counted and 0 <= miou <= 1, f"mIoU {miou}, {int(matrix.counts.sum())} of {pixels} pixels")
    return f"mIoU {percent(miou)}"
