"""The stored reference numbers, and what is to be compared with them: `golden/README.md`.

The rule behind weights and images is benchmarks.verify_zoo's; labels are added here.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from annlib.config import ModelConfig
from annlib.model.ann import ANN
from annlib.model.convert import from_mmseg
from benchmarks.verify_zoo import SHARED, difference, fill, make_input, random_state, shapes  # noqa: F401, tests take them from here

GOLDEN = Path(__file__).parent / "golden"


@cache
def golden() -> dict:
    """Every stored scalar and statistic."""
    return json.loads((GOLDEN / "golden.json").read_text())


def arrays(name: str) -> dict[str, Tensor]:
    """The tensors of one stored file."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


fill_once = cache(fill)  # networks share most of their 46 million random numbers


def mmseg_state_dict(depth: int, num_classes: int) -> dict[str, Tensor]:
    """The reference's weights under the reference's names, as benchmarks.verify_zoo makes them."""
    return {key: fill_once(key, shape) for key, shape in shapes(depth, num_classes).items()}


def filled_model(depth: int, num_classes: int, dropout: float = 0.1) -> ANN:
    """Our network with the reference's weights, in evaluation mode."""
    with torch.device("meta"):  # no time for random weights that are replaced
        model = ANN(ModelConfig(depth, num_classes, dropout=dropout))
    weights = from_mmseg(mmseg_state_dict(depth, num_classes))
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval()


def make_label(batch: int, height: int, width: int, num_classes: int) -> Tensor:
    """Squares of 8 x 8 with one label, a tenth of the pixels 255.  -> (B, H, W) int64"""
    random = random_state(f"label_{batch}x{height}x{width}x{num_classes}")
    coarse = random.randint(0, num_classes, (batch, -(-height // 8), -(-width // 8)))
    labels = coarse[:, np.arange(height)[:, None] // 8, np.arange(width) // 8]
    labels[random.random_sample((batch, height, width)) < 0.1] = 255
    return torch.from_numpy(labels).long()


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
