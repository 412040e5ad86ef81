"""Class lists: their names, their colours, and what the numbers in label files mean."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data import scenes


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
