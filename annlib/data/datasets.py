"""Folders of pictures and labels, checked as they are read."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from annlib.config import IGNORE_INDEX
from annlib.data.classes import DatasetSpec
from annlib.data.files import read_image, read_labels
from annlib.data.transforms import Transform

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class SegmentationFolder(Dataset):
    """Pairs of `images/NAME.*` and `labels/NAME.png` below root/split, or root if split is "".

    [i] -> image float32 (3, H, W) normalised, labels int64 (H, W) with 255 ignored, as `transform`
    makes them from uint8.
    Raises FileNotFoundError for a missing folder or label, ValueError for a pair that is no pair.
    """

    def __init__(self, root: Path, spec: DatasetSpec, split: str, transform: Transform):
        self.spec = spec
        self.transform = transform
        self.images = find_images(Path(root) / split)
        self.labels = [label_path(path) for path in self.images]
        check_all_labelled(self.images, self.labels)
        self.table = spec.label_table()
        self.kept: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(*self.read(index))

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The pair as it lies on disk: uint8 (3, H, W) RGB, uint8 (H, W) class indices."""
        return self.kept[index] if self.kept else self.decode(index)

    def keep_below(self, most_bytes: int) -> None:
        """Decodes everything once and holds it in memory, if it fits into `most_bytes`.

        A small set is read many times over: decoding it anew each time would cost a CPU more
        than training does. Workers that are forked later share the memory, spawned ones copy it.
        """
        kept, num_bytes = [], 0
        for index in range(len(self)):
            kept.append(self.decode(index))
            num_bytes += sum(tensor.nbytes for tensor in kept[-1])
            if num_bytes > most_bytes:
                return
        self.kept = kept

    def decode(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = read_image(self.images[index]), read_labels(self.labels[index])
        if image.shape[1:] != labels.shape:
            raise ValueError(
                f"{self.images[index]} is {tuple(image.shape[1:])} but {self.labels[index]} is "
                f"{tuple(labels.shape)} (height, width): the pair does not belong together. (A "
                "photograph that its camera marked as turned is read upright; so must its labels.)"
            )
        labels = self.table[labels.int()]
        check_labels(labels, self.spec, self.labels[index])
        return image, labels


def class_balance(dataset: SegmentationFolder) -> tuple[float, ...]:
    """A weight for each class: the root of (median frequency / its frequency).

    Frequencies are over all labelled pixels; a class that never occurs weighs 1. The median is
    Eigen and Fergus' (ICCV 2015), the root keeps a handful of rare pixels from ruling the loss.
    """
    counts = torch.zeros(256, dtype=torch.int64)
    for index in range(len(dataset)):
        counts += torch.bincount(dataset.read(index)[1].flatten(), minlength=256)
    counts = counts[: dataset.spec.num_classes].double()
    median = counts[counts > 0].median()
    weights = torch.where(counts > 0, (median / counts.clamp(min=1)).sqrt(), 1.0)
    return tuple(round(float(weight), 4) for weight in weights)


def find_images(folder: Path) -> list[Path]:
    """All pictures in folder/images, sorted by name."""
    images = folder / "images"
    if not images.is_dir():
        raise FileNotFoundError(
            f"There is no folder {images}. A data set looks like this: {folder}/images/NAME.jpg "
            f"and {folder}/labels/NAME.png, with one class index per pixel."
        )
    found = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{images} holds no picture ({', '.join(SUFFIXES)}).")
    return found


def label_path(image: Path) -> Path:
    """.../images/NAME.jpg -> .../labels/NAME.png"""
    return image.parent.parent / "labels" / f"{image.stem}.png"


def check_all_labelled(images: Sequence[Path], labels: Sequence[Path]) -> None:
    missing = [
        (image, label) for image, label in zip(images, labels, strict=True) if not label.is_file()
    ]
    if missing:
        image, label = missing[0]
        raise FileNotFoundError(
            f"{len(missing)} of {len(images)} pictures have no labels, the first is {image}: "
            f"expected {label}. Add the labels or move the picture away."
        )


def check_labels(labels: Tensor, spec: DatasetSpec, path: Path) -> None:
    """Raises ValueError when a pixel names a class that the data set does not have."""
    values = torch.unique(labels)
    strangers = [int(v) for v in values if spec.num_classes <= v < IGNORE_INDEX]
    if strangers:
        raise ValueError(
            f"{path} holds the label {strangers[0]}, but {spec.name} has {spec.num_classes} "
            f"classes (0..{spec.num_classes - 1}, {IGNORE_INDEX} to ignore). Are these raw ids, or "
            "the labels of another data set?"
        )
