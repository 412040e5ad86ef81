"""A checkpoint and a photograph in, a coloured picture and a list of classes out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from annlib.config import TestConfig, experiment_from, with_tuples
from annlib.data.classes import DatasetSpec
from annlib.data.files import read_image
from annlib.data.normalise import normalise
from annlib.engine.inference import Predict, predictor
from annlib.model.baselines import build_model
from annlib.model.checkpoints import Checkpoint, restore


class Segmenter(NamedTuple):
    """A trained network together with the names of what it can see."""

    predict: Predict
    spec: DatasetSpec

    def labels_of(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W) RGB -> uint8 (H, W) class indices"""
        logits = self.predict(normalise(image)[None])
        return logits.argmax(1)[0].to("cpu", torch.uint8)


def segmenter(checkpoint: Checkpoint, device: torch.device) -> Segmenter:
    """The network of a checkpoint, ready to be given photographs."""
    model = build_model(checkpoint.config)
    restore(checkpoint, model)
    model.to(device, memory_format=torch.channels_last)
    return Segmenter(predictor(model, test_config(checkpoint)), classes_of(checkpoint))


def test_config(checkpoint: Checkpoint) -> TestConfig:
    """How the run that wrote the checkpoint tests; a bare one gets the whole picture as it is."""
    if "experiment" not in checkpoint.notes:
        return TestConfig()
    return experiment_from(checkpoint.notes["experiment"]).test


def classes_of(checkpoint: Checkpoint) -> DatasetSpec:
    """The class names and colours that were trained on."""
    if "classes" not in checkpoint.notes:
        raise ValueError(
            f"{checkpoint.path} does not say what its {checkpoint.config.num_classes} classes are. "
            "Checkpoints written by `annlib train` do."
        )
    values = with_tuples(checkpoint.notes["classes"])
    return DatasetSpec(**values | {"palette": tuple(map(tuple, values["palette"]))})


def colour(labels: Tensor, spec: DatasetSpec) -> np.ndarray:
    """uint8 (H, W) class indices -> uint8 (H, W, 3) RGB; pixels without a class are black"""
    table = np.zeros((256, 3), np.uint8)
    table[: spec.num_classes] = spec.palette
    return table[labels.numpy()]


def segment_photo(path: Path, segmenter: Segmenter, folder: Path) -> dict[str, float]:
    """Writes NAME.overlay.png, NAME.colours.png and NAME.labels.png; returns shares by class.

    Shares are of all pixels, largest first, classes that do not occur left out.
    """
    image = read_image(path)
    labels = segmenter.labels_of(image)
    colours = colour(labels, segmenter.spec)
    overlay = (0.5 * image.permute(1, 2, 0).numpy() + 0.5 * colours).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, pixels in (("overlay", overlay), ("colours", colours), ("labels", labels.numpy())):
        Image.fromarray(pixels).save(folder / f"{path.stem}.{kind}.png")
    counts = torch.bincount(labels.flatten().int(), minlength=segmenter.spec.num_classes)
    shares = {
        name: int(n) / labels.numel()
        for name, n in zip(segmenter.spec.class_names, counts, strict=True)
    }
    return {name: s for name, s in sorted(shares.items(), key=lambda item: -item[1]) if s > 0}
