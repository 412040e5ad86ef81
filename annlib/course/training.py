"""What lesson 9 rehearses with: a network without its weights, pictures, small measurements."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from annlib.config import Precision, TestConfig
from annlib.course.attention import model_input
from annlib.data.files import read_image, read_labels
from annlib.data.loading import Transformed, make_loader
from annlib.data.pairs import find_pairs
from annlib.data.scenes import CLASS_NAMES, HOUSES, Scenes
from annlib.data.sources import BUILT_IN, FIRST_VAL_SEED
from annlib.data.transforms import to_tensors
from annlib.engine.benchmark import peak_bytes
from annlib.engine.costs import Measuring, training_steps
from annlib.engine.evaluate import evaluate_labels
from annlib.engine.inference import labeller
from annlib.engine.networks import Network, find_network
from annlib.engine.shrinking import shrunk
from annlib.experiments import town
from annlib.model.baselines import build_model
from annlib.zoo import Published

SCENE = (128, 192)


class Scored(NamedTuple):
    """Shares between 0 and 1."""

    miou: float
    house_accuracy: float


def rehearsed_network(row: Published, shrink: int, seed: int) -> Network:
    """The row's network with random weights, tested on sides divided by `shrink`."""
    plan = shrunk(row.experiment, shrink)

    def load(progress: object) -> nn.Module:
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
    matrix = evaluate_labels(labeller(model, test), samples, len(CLASS_NAMES))
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
    found = {kind: labeller(model, TestConfig(), kind)(images)[0].cpu().numpy() for kind in kinds}
    return float((found["fp32"] == found["bf16"]).mean()), found
