"""Imitations of Cityscapes, ADE20K and VOC 2012 + aug: their folders, files, label values, sizes.

For tests and rehearsals. The pictures are painted, so scores on them say nothing about the real
data sets; a file MIMIC.txt in the root says so.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from annlib.data.benchmarks import ADE20K, CITYSCAPES, PUBLISHED_PICTURES, VOC12AUG
from annlib.data.classes import spread_colour
from annlib.data.files import all_or_nothing, need_scipy
from annlib.data.miniature import paint, photograph, scene, street
from annlib.data.pairs import ADE20K_FOLDERS
from annlib.data.voc import LISTS, SBD_PLACES

Benchmark = Literal["cityscapes", "ade20k", "voc12aug"]
Size = tuple[int, int]
Picture = tuple[np.ndarray, np.ndarray]  # uint8 (H, W, 3) RGB, uint8 (H, W) label values

MARK = "MIMIC.txt"
CITIES = {"train": ("attrappen", "nachbau"), "val": ("spiegelau",)}
SIZES: dict[Benchmark, tuple[Size, ...]] = {
    "cityscapes": ((1024, 2048),),
    "ade20k": ((512, 683), (683, 512), (600, 800), (384, 512), (256, 256)),
    "voc12aug": ((375, 500), (500, 375), (333, 500), (500, 366)),
}
DEALT = 16  # classes of VOC that come up in turn: eight training pictures show each of them
VOC_PALETTE = [part for index in range(256) for part in spread_colour(index)]


def mimic(
    name: Benchmark,
    root: Path,
    train: int = 8,
    val: int = 4,
    size: Size | None = None,
    seed: int = 0,
    originals: bool = False,
) -> None:
    """Writes a miniature of a benchmark into an empty or new folder; same seed, same pictures.

    size: (height, width) in the place of the real ones; where these vary, it is turned and squared.
    originals: VOC and SBD as they are published, instead of the ready-made SegmentationClassAug.
    Raises FileExistsError for a folder that is not empty, ValueError for what cannot be.
    """
    if train < 1 or val < 1 or size is not None and min(size) < 16:
        raise ValueError(
            f"A data set of {train} + {val} pictures of {size or 'their own size'}: at least one "
            "picture in each half, and 16 pixels on each side, are needed."
        )
    if originals and name != "voc12aug":
        raise ValueError(f"--originals is about VOC and SBD: {name} has one layout only.")
    sizes = cycle(SIZES[name] if size is None else turned(name, size))
    with all_or_nothing(root) as folder:
        match name:
            case "cityscapes":
                write_cityscapes(folder, {"train": train, "val": val}, sizes, seed)
            case "ade20k":
                write_ade20k(folder, {"train": train, "val": val}, sizes, seed)
            case "voc12aug":
                write_voc(folder, train, val, sizes, seed, originals)
        (folder / MARK).write_text(
            f"Painted by `annlib data mimic {name}` in the layout of the real data set, which has "
            f"{PUBLISHED_PICTURES[name]} photographs. Scores on it say nothing about those.\n"
        )


def turned(name: Benchmark, size: Size) -> tuple[Size, ...]:
    height, width = size
    variants = (size, (width, height), (min(size), min(size)))
    return {"cityscapes": variants[:1], "voc12aug": variants[:2], "ade20k": variants}[name]


def dice(seed: int, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, *split.encode(), index])


def save(image: np.ndarray, path: Path, palette: list[int] | None = None) -> None:
    """PNG or JPEG by the name of the file; with a palette, a picture of indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image)
    if palette:
        picture.putpalette(palette)
    options = {"quality": 90} if path.suffix == ".jpg" else {"compress_level": 1}
    picture.save(path, **options)


def write_cityscapes(
    folder: Path, counts: dict[str, int], sizes: Iterator[Size], seed: int
) -> None:
    """leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, gtFine/SPLIT/CITY/*_gtFine_labelIds.png"""
    for split, count in counts.items():
        for index in range(count):
            random = dice(seed, split, index)
            values = street(random, next(sizes))
            city = CITIES[split][index % len(CITIES[split])]
            name = f"{city}_{index:06d}_000019"
            image = paint(values, CITYSCAPES, random)
            save(image, folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
            save(values, folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png")


def write_ade20k(folder: Path, counts: dict[str, int], sizes: Iterator[Size], seed: int) -> None:
    """ADEChallengeData2016/images/PART/*.jpg and annotations/PART/*.png"""
    home = folder / "ADEChallengeData2016"
    for split, count in counts.items():
        for index in range(count):
            random = dice(seed, split, index)
            values = scene(random, next(sizes))
            part, name = ADE20K_FOLDERS[split], f"ADE_{split}_{index + 1:08d}"
            save(paint(values, ADE20K, random), home / "images" / part / f"{name}.jpg")
            save(values, home / "annotations" / part / f"{name}.png")


def write_voc(
    folder: Path, train: int, val: int, sizes: Iterator[Size], seed: int, originals: bool
) -> None:
    """VOCdevkit/VOC2012, and what SBD adds: half of the training pictures, rounded down."""
    home = folder / "VOCdevkit" / "VOC2012"
    names = [f"2012_{index:06d}" for index in range(train + val)]
    added, own = names[: train // 2], names[train // 2 :]
    for index, name in enumerate(names):
        image, values = voc_picture(dice(seed, "voc", index), next(sizes), seed, index)
        save(image, home / "JPEGImages" / f"{name}.jpg")
        if name in own:
            save(values, home / "SegmentationClass" / f"{name}.png", VOC_PALETTE)
        elif originals:
            write_mat(values, folder / SBD_PLACES[0] / "cls" / f"{name}.mat")
        else:
            save(values, home / "SegmentationClassAug" / f"{name}.png")
    write_list(home / LISTS / "train.txt", own[:-val])
    write_list(home / LISTS / "val.txt", own[-val:])
    if originals:  # SBD's own lists know nothing of VOC's: they share pictures with its val
        write_list(folder / SBD_PLACES[0] / "train.txt", [*added[::2], own[-1]])
        write_list(folder / SBD_PLACES[0] / "val.txt", [*added[1::2], own[0]])
    else:
        write_list(home / LISTS / "trainaug.txt", [*own[:-val], *added])


def voc_picture(random: np.random.Generator, size: Size, seed: int, index: int) -> Picture:
    """Two objects, dealt so that many classes come up soon and again, and at times a third."""
    deck = (1 + np.random.default_rng(seed).permutation(20)).tolist()[:DEALT]
    objects = [deck[2 * index % DEALT], deck[(2 * index + 1) % DEALT]]
    if random.random() < 0.5:
        objects.append(int(random.integers(1, 21)))
    values = photograph(random, size, objects)
    return paint(values, VOC12AUG, random), values


def write_list(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def write_mat(values: np.ndarray, path: Path) -> None:
    """As SBD has it: without borders."""
    savemat = need_scipy("--originals").savemat
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.where(values == 255, 0, values).astype(np.uint8)
    savemat(path, {"GTcls": {"Segmentation": values}}, do_compression=True)
