"""The rule by which weights, images and labels of the stored reference numbers were made.

It needs only the reference's key names and shapes, so no weights are stored: `golden/README.md`.
"""

import ast
import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from annlib.config import ModelConfig
from annlib.model.ann import ANN
from annlib.model.reference_weights import from_mmseg

GOLDEN = Path(__file__).parent / "golden"
KEYS = {50: "state_dict_keys_r50_19.txt", 101: "state_dict_keys_r101_150.txt"}
SHARED = "decode_head.context.stages.0."


@cache
def golden() -> dict:
    """Every stored scalar and statistic."""
    return json.loads((GOLDEN / "golden.json").read_text())


def arrays(name: str) -> dict[str, Tensor]:
    """The tensors of one stored file."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def shapes(depth: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Reference key -> shape; only the classifiers depend on the number of classes."""
    lines = (GOLDEN / KEYS[depth]).read_text().splitlines()[1:]
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
    """The tensor that belongs to a reference key: float32, or int64 for the batch counter."""
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


@cache
def mmseg_state_dict(depth: int, num_classes: int) -> dict[str, Tensor]:
    """The reference's weights under the reference's names."""
    return {key: fill(key, shape) for key, shape in shapes(depth, num_classes).items()}


def filled_model(depth: int, num_classes: int, dropout: float = 0.1) -> ANN:
    """Our network with the reference's weights, in evaluation mode."""
    model = ANN(ModelConfig(depth, num_classes, dropout=dropout))
    model.load_state_dict(from_mmseg(mmseg_state_dict(depth, num_classes)), strict=True)
    return model.eval()


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


def make_label(batch: int, height: int, width: int, num_classes: int) -> Tensor:
    """Squares of 8 x 8 with one label, a tenth of the pixels 255.  -> (B, H, W) int64"""
    random = random_state(f"label_{batch}x{height}x{width}x{num_classes}")
    coarse = random.randint(0, num_classes, (batch, -(-height // 8), -(-width // 8)))
    labels = coarse[:, np.arange(height)[:, None] // 8, np.arange(width) // 8]
    labels[random.random_sample((batch, height, width)) < 0.1] = 255
    return torch.from_numpy(labels).long()


def difference(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the reference's largest absolute value."""
    assert ours.shape == reference.shape
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


def statistics_difference(tensor: Tensor, statistics: dict) -> float:
    """Of the sum relative to the sum, of the rest relative to the largest absolute value."""
    tensor = tensor.double()
    assert list(tensor.shape) == statistics["shape"]
    scale = max(abs(statistics["min"]), abs(statistics["max"]))
    ours = {
        "mean": tensor.mean(),
        "std": tensor.std(correction=0),
        "min": tensor.min(),
        "max": tensor.max(),
    }
    differences = [abs(float(ours[key]) - statistics[key]) / scale for key in ours]
    return max(*differences, abs(float(tensor.abs().sum()) / statistics["abssum"] - 1))
