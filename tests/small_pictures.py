"""A network, photographs and an evaluation, small enough to be evaluated many times in a test."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny import TINY, wake

from annlib.config import TestConfig
from annlib.data.classes import DatasetSpec
from annlib.data.datasets import SegmentationFolder
from annlib.data.transforms import to_tensors
from annlib.engine.predictor import Network, Segmenter, segmenter
from annlib.model.ann import ANN
from annlib.model.checkpoint import save

CPU = torch.device("cpu")
SPEC = DatasetSpec(
    "pictures",
    ("sky", "road", "car", "tree", "house"),
    ((0, 0, 255), (90, 90, 90), (255, 0, 0), (0, 255, 0), (255, 255, 0)),
)
WHOLE = TestConfig()


def tiny_model(seed: int = 0) -> ANN:
    """Untrained, but the mean score of every class is 0, so that each is predicted somewhere."""
    torch.manual_seed(seed)
    model = wake(ANN(TINY)).eval()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 33, 57)).main
        model.classifier.bias -= logits.mean((0, 2, 3))
    return model


def tiny_segmenter(seed: int = 0, test: TestConfig = WHOLE, precision: str = "fp32") -> Segmenter:
    network = Network("tiny", SPEC, test, lambda: tiny_model(seed))
    return segmenter(network, CPU, precision=precision)


def write_pictures(folder: Path, count: int = 5) -> Path:
    """Noise of different sizes, with random labels some of which are ignored."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(count):
        size = (17 + 4 * (number % 5), 25 - 2 * (number % 5))
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        labels = random.choice([0, 1, 2, 3, 4, 255], size).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"images/p{number}.png")
        Image.fromarray(labels).save(folder / f"labels/p{number}.png")
    return folder


def save_tiny(path: Path) -> Path:
    """The network as a file that `annlib evaluate` takes."""
    save(path, tiny_model(), notes={"classes": asdict(SPEC)})
    return path


def pictures(folder: Path) -> SegmentationFolder:
    return SegmentationFolder(folder, SPEC, "", to_tensors)
