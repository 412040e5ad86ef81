"""The rule by which the reference's stored numbers were made, and those that the zoo is held to.

Weights and images follow from names and shapes alone, so none are stored: data/reference.
"""

import ast
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

REFERENCE = Path(__file__).parents[2] / "data" / "reference"
KEYS = {50: "state_dict_keys_r50_19.txt", 101: "state_dict_keys_r101_150.txt"}
SHARED = "decode_head.context.stages.0."


def reference_file(name: str) -> Path:
    """A file of data/reference. Raises FileNotFoundError where annlib came without it."""
    path = REFERENCE / name
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}: the reference's numbers lie in a checkout of annlib. Run this "
            "from one, installed by pip install -e ."
        )
    return path


def reference_costs() -> dict[str, dict[str, Any]]:
    """Parameters and GFLOPs as counted on the reference, by "r50_19" and the like."""
    return json.loads(reference_file("costs.json").read_text(encoding="utf-8"))["models"]


def reference_logits(depth: int) -> dict[str, Tensor]:
    """What the reference makes of weights and an image that follow the rule.

    logits, aux: (1, K, 13, 17), of as many classes as are stored. classes_ac0, classes_ac1: the
    predicted classes (97, 129) for align_corners False and True, by number of classes.
    """
    with np.load(reference_file(f"logits_r{depth}.npz")) as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def shapes(depth: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Reference key -> shape; only the classifiers depend on the number of classes."""
    lines = reference_file(KEYS[depth]).read_text(encoding="utf-8").splitlines()[1:]
    table = {
        key: ast.literal_eval(shape) for key, shape, *_ in (line.split("\t") for line in lines)
    }
    return {
        key: (num_classes, *shape[1:]) if ".conv_seg." in key else shape
        for key, shape in table.items()
    }


def random_state(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode("ascii")))


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that belongs to a reference key: float32, or int64 for the batch counter.

    The classifier of fewer classes is the beginning of that of more.
    """
    # APNB's query and key projection are one module that the reference lists twice.
    random = random_state(key.replace(f"{SHARED}query_project.", f"{SHARED}key_project."))
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if last in ("running_mean", "bias"):
        values = 0.1 * random.standard_normal(shape)
    elif last == "running_var":
        values = 0.5 + random.random_sample(shape)
    elif len(shape) == 1:
        values = (0.5 + random.random_sample(shape)) * (0.3 if ".bn3." in key else 1.0)
    else:
        values = random.standard_normal(shape)
        values -= values.mean(axis=(1, 2, 3), keepdims=True)
        values *= np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def reference_weights(depth: int, num_classes: int) -> dict[str, Tensor]:
    """Weights that follow the rule, under the reference's names: what a released file holds."""
    return {key: fill(key, shape) for key, shape in shapes(depth, num_classes).items()}


def make_input(batch: int, height: int, width: int) -> Tensor:
    """Images with large and small structure.  -> (batch, 3, height, width) float32"""
    random = random_state(f"input_{batch}x3x{height}x{width}")
    noise = random.standard_normal((batch, 3, height, width))
    coarse = random.standard_normal((batch, 3, -(-height // 32), -(-width // 32)))
    channel = np.arange(3)[:, None, None]
    row, column = np.arange(height)[:, None], np.arange(width)
    waves = np.sin(0.05 * (channel + 1) * row) + np.cos(0.03 * (channel + 2) * column)
    images = 1.5 * coarse[:, :, row // 32, column // 32] + 0.3 * noise + 0.5 * waves
    return torch.from_numpy(images.astype(np.float32))


def difference(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the reference's largest absolute value."""
    if ours.shape != reference.shape:
        raise ValueError(f"Shapes differ: {tuple(ours.shape)} and {tuple(reference.shape)}.")
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())
