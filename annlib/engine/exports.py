"""Predictions as pictures: colours for people, label values for the benchmarks' servers."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from annlib.data.classes import DatasetSpec
from annlib.model.checkpoints import write_atomically


def colour(labels: Tensor, spec: DatasetSpec) -> np.ndarray:
    """uint8 (H, W) class indices -> uint8 (H, W, 3) RGB; pixels without a class are black"""
    return spec.colour_table()[labels.int()].numpy()


def label_picture(labels: Tensor, spec: DatasetSpec) -> Image.Image:
    """uint8 (H, W) class indices -> a picture of the values that stand in the data set's own files

    Cityscapes: labelIds, 7 for road. ADE20K: index + 1. Pascal VOC: the index, with its palette.
    """
    picture = Image.fromarray(spec.value_table()[labels.int()].numpy())
    if spec.layout == "voc12aug":
        picture.putpalette(np.array(spec.palette, np.uint8).tobytes())
    return picture


def save_prediction(labels: Tensor, spec: DatasetSpec, folder: Path, name: str) -> None:
    """Writes colours/NAME.png and labels/NAME.png.  labels: uint8 (H, W) class indices

    With NAME of the photograph's file, the folder `labels` is what a benchmark's server takes.
    """
    write_png(Image.fromarray(colour(labels, spec)), folder / "colours" / f"{name}.png")
    write_png(label_picture(labels, spec), folder / "labels" / f"{name}.png")


def write_png(image: Image.Image, path: Path) -> None:
    """Whole or not at all: who goes on with an interrupted evaluation relies on the file."""
    content = BytesIO()
    image.save(content, "png")
    write_atomically(path, content.getvalue())
