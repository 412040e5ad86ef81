"""A network and a photograph in, a coloured picture and a list of classes out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from annlib.config import Precision, TestConfig
from annlib.data.classes import DatasetSpec
from annlib.data.files import read_image
from annlib.data.normalise import normalise
from annlib.engine.exports import colour
from annlib.engine.inference import Label, labeller
from annlib.engine.networks import Network, load_in_turn
from annlib.model.checkpoints import checksum
from annlib.model.frozen import frozen
from annlib.transfer import Progress


class Segmenter(NamedTuple):
    """A trained network at work, together with the names of what it can see."""

    model: nn.Module  # frozen: it can do nothing but answer
    weights_crc32: str  # of the network before: freezing rounds otherwise on another machine
    spec: DatasetSpec
    test: TestConfig
    precision: Precision
    label: Label

    def labels_of(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W) RGB -> uint8 (H, W) class indices"""
        return self.label(normalise(image)[None])[0].cpu()


def segmenter(
    network: Network,
    device: torch.device,
    test: TestConfig | None = None,
    precision: Precision = "fp32",
    progress: Progress | None = None,
) -> Segmenter:
    """The network, loaded and ready to be given photographs.

    test: None for the network's own. progress: is told how much of the weights has come.
    """
    test = test or network.test
    model = load_in_turn(network, progress)
    weights_crc32 = checksum("", model.state_dict())
    model = frozen(model).to(device, memory_format=torch.channels_last)
    label = labeller(model, test, precision)
    return Segmenter(model, weights_crc32, network.spec, test, precision, label)


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
