"""Class lists: their names, their colours, and what the numbers in label files mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data import scenes

Layout = Literal["folder", "cityscapes", "ade20k", "voc12aug"]


@dataclass(frozen=True)
class DatasetSpec:
    """The classes of a data set, and the meaning of the numbers in its label files.

    palette: RGB 0-255 for each class. ignored: label values that count for nothing, besides 255.
    label_values: what stands for each class in the files, if that is not simply its index.
    layout: which picture belongs to which label file, see pairs.py.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignored: tuple[int, ...] = ()
    label_values: tuple[int, ...] = ()
    layout: Layout = "folder"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_values(self) -> tuple[int, ...]:
        """The value that stands for each class in label files."""
        return self.label_values or tuple(range(self.num_classes))

    @property
    def known_values(self) -> set[int]:
        """All values that label files may hold."""
        return {*self.class_values, *self.ignored, IGNORE_INDEX}

    def label_table(self) -> Tensor:
        """uint8 (256,): value in the file -> class index, 255 for pixels that do not count.

        A value that means nothing becomes 255, too: see that there is none by `check_values`.
        """
        table = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
        table[list(self.class_values)] = torch.arange(self.num_classes, dtype=torch.uint8)
        return table

    def value_table(self) -> Tensor:
        """uint8 (256,): class index -> value in the file, the inverse of `label_table`.

        Turns predictions into what a benchmark's server takes: ids of Cityscapes' labelIds, 1..150
        for ADE20K, indices for VOC. 255 becomes the data set's own value for "no class".
        """
        nothing = self.ignored[0] if self.ignored else IGNORE_INDEX
        table = torch.full((256,), nothing, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.class_values, dtype=torch.uint8)
        return table

    def colour_table(self) -> Tensor:
        """uint8 (256, 3): class index -> RGB; what has no class is black."""
        table = torch.zeros(256, 3, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.palette, dtype=torch.uint8)
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
