"""Folders of pictures and labels, and what their class indices mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from annlib.config import IGNORE_INDEX
from annlib.data import scenes
from annlib.data.files import read_image, read_labels
from annlib.data.transforms import Transform

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class DatasetSpec:
    """The classes of a data set, and the meaning of the numbers in its label files.

    palette: RGB 0-255 for each class. ignored: label values that count for nothing, besides 255.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignored: tuple[int, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def label_table(self) -> Tensor:
        """uint8 (256,): value in the file -> class index, 255 for pixels that do not count.

        A value that is neither maps to itself, so that `check_labels` can name it.
        """
        table = torch.arange(256, dtype=torch.uint8)
        table[list(self.ignored)] = IGNORE_INDEX
        return table


BALLOON_TOWN = DatasetSpec(
    "balloon_town", scenes.CLASS_NAMES, tuple(tuple(map(int, rgb)) for rgb in scenes.PALETTE)
)

# Brostow, Fauqueur, Cipolla 2009, in the 11 classes of SegNet. Colours: theirs, kept apart.
CAMVID = DatasetSpec(
    "camvid",
    (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    (
        (128, 176, 255),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (244, 164, 180),
        (64, 128, 0),
        (255, 214, 0),
        (64, 64, 128),
        (64, 0, 128),
        (255, 64, 0),
        (0, 200, 200),
    ),
    ignored=(11,),
)
BUILT_IN = {spec.name: spec for spec in (BALLOON_TOWN, CAMVID)}


def folder_spec(root: Path) -> DatasetSpec:
    """The classes of a folder, from its classes.txt: a line each, `name` or `name r g b`."""
    path = root / "classes.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}. It names the classes, index 0 first, one line each: "
            "`name` or `name red green blue`."
        )
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    names, palette = [], []
    for index, row in enumerate(rows):
        coloured = len(row) > 3 and all(part.isdigit() for part in row[-3:])
        names.append(" ".join(row[:-3] if coloured else row))
        palette.append(tuple(map(int, row[-3:])) if coloured else spread_colour(index))
    if not 0 < len(names) <= IGNORE_INDEX:
        raise ValueError(f"{path} names {len(names)} classes; 1 to {IGNORE_INDEX} are possible.")
    check_classes(names, palette, path)
    return DatasetSpec(root.resolve().name, tuple(names), tuple(palette))


def check_classes(names: list[str], palette: list[tuple[int, int, int]], path: Path) -> None:
    """Raises ValueError for a name that stands twice and for a colour that is none."""
    for index, (name, colour) in enumerate(zip(names, palette, strict=True)):
        if name in names[:index]:
            raise ValueError(
                f"{path} names {name!r} twice, as class {names.index(name)} and as class {index}: "
                "scores could not tell them apart. Give each its own name."
            )
        if max(colour) > 255:
            raise ValueError(f"{path} gives {name!r} the colour {colour}, but 255 is the most.")


def spread_colour(index: int) -> tuple[int, int, int]:
    """The colour of class `index` in Pascal VOC's scheme: the bits of the index, spread."""
    red = green = blue = 0
    for bit in range(8):
        red |= (index >> (3 * bit) & 1) << (7 - bit)
        green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


class SegmentationFolder(Dataset):
    """Pairs of `images/NAME.*` and `labels/NAME.png` below root/split.

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
        than training does. Workers that are forked later share the memory.
        """
        first = self.decode(0)
        if len(self) * sum(tensor.numel() for tensor in first) <= most_bytes:
            self.kept = [first, *(self.decode(index) for index in range(1, len(self)))]

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
