"""Small synthetic imitations of Cityscapes, ADE20K and VOC, with their folders and label values.

A class is told by its colour and its stripes, and stands where it belongs: enough to learn
something, and cheap at any size. Legend: H height, W width; sizes are (height, width) in pixels.

For tests and rehearsals. The pictures are painted, so scores on them say nothing about the real
data sets; a file MIMIC.txt in the root says so.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from annlib.config import IGNORE_INDEX
from annlib.data.classes import (
    ADE20K,
    CITYSCAPES,
    PUBLISHED_PICTURES,
    VOC12AUG,
    DatasetSpec,
    spread_colour,
)
from annlib.data.folders import ADE20K_FOLDERS, LISTS, SBD_PLACES
from annlib.data.io import all_or_nothing, need_scipy

Values = np.ndarray  # uint8 (H, W), as they stand in the label files


class Thing(NamedTuple):
    """What stands somewhere: shares of the picture's height, and width by height."""

    value: int
    bottom: float
    height: float
    aspect: float


SKYLINE, LOW_WALLS = (11, 11, 11, 21, 21, 15), (12, 13, 22, 14)  # buildings, trees; walls, grass
STREET_THINGS = (
    *(Thing(17, 0.62, 0.40, 0.05), Thing(18, 0.58, 0.35, 0.15), Thing(19, 0.35, 0.10, 0.5)),
    *(Thing(20, 0.42, 0.08, 1.0), Thing(24, 0.68, 0.20, 0.4), Thing(25, 0.64, 0.14, 0.5)),
    *(Thing(26, 0.72, 0.14, 2.0), Thing(26, 0.66, 0.10, 2.0), Thing(27, 0.68, 0.24, 1.6)),
    *(Thing(28, 0.66, 0.26, 2.2), Thing(31, 0.62, 0.20, 4.0), Thing(32, 0.74, 0.12, 1.5)),
    *(Thing(33, 0.74, 0.11, 1.6), Thing(29, 0.62, 0.14, 1.6), Thing(30, 0.68, 0.10, 1.8)),
    *(Thing(4, 0.60, 0.08, 1.0), Thing(5, 0.74, 0.06, 0.8)),
)
INDOORS, OUTDOORS = (1, 1, 9, 15, 19, 11), (2, 5, 17, 26, 18)  # wall, window, door; house, tree
SKEW = 2.5  # of chance towards the first classes of ADE20K, which are the most common in it, too


def paint(values: Values, spec: DatasetSpec, random: np.random.Generator) -> np.ndarray:
    """Label values -> uint8 (H, W, 3) RGB: colour and stripes of each class, light, and noise."""
    height, width = values.shape
    row, column = np.ogrid[:height, :width]
    number = np.arange(256)
    across, down, period = 1 + number % 3, number * 5 % 7 - 3, 6 + number * 7 % 12
    stripes = (column * across[values] + row * down[values]) // period[values] % 2
    light = Image.fromarray(random.uniform(-20, 20, (4, 6)).astype(np.float32))
    light = np.asarray(light.resize((width, height), Image.Resampling.BILINEAR), np.int16)
    noise = random.integers(-10, 11, (height, width), np.int16)
    change = light + noise + 40 * stripes.astype(np.int16)
    return (appearance(spec, random)[values] + change[..., None]).clip(0, 255).astype(np.uint8)


def appearance(spec: DatasetSpec, random: np.random.Generator) -> np.ndarray:
    """int16 (256, 3): value in the label file -> RGB. What has no class looks different each time.

    Colours are drawn towards grey, so that light and stripes can be seen on all of them.
    """
    colours = spec.colour_table()[spec.label_table().int()].numpy().astype(np.int16)
    background = (0,) if spec.layout == "voc12aug" else ()
    for value in (*spec.ignored, *background):
        colours[value] = random.integers(60, 200)
    return 20 + 3 * colours // 4


def street(random: np.random.Generator, size: tuple[int, int]) -> Values:
    """Cityscapes: sky, a skyline, road and pavement, what stands there, and a bonnet."""
    height, width = size
    canvas = Image.new("L", (width, height), 23)
    draw = ImageDraw.Draw(canvas)
    horizon = height * random.uniform(0.42, 0.5)
    columns(draw, random, SKYLINE, (horizon - 0.35 * height, horizon - 0.1 * height), size)
    columns(draw, random, LOW_WALLS, (horizon - 0.06 * height, horizon), size)
    draw.rectangle((0, horizon + 0.03 * height, width, height), fill=8)
    for value, left, right in ((9, 0.0, 0.2), (7, 0.1, 0.85), (10, 0.6, 0.7), (6, 0.9, 1.0)):
        corners = ((left, 1), (0.5, horizon / height + 0.04), (right, 1))
        draw.polygon([(x * width, y * height) for x, y in corners], fill=value)
    chosen = [STREET_THINGS[i] for i in random.permutation(len(STREET_THINGS))[:16]]
    for thing in sorted(chosen, key=lambda thing: thing.bottom):  # the nearest last
        place(draw, random, thing, size)
    draw.ellipse((0.15 * width, 0.9 * height, 0.85 * width, 1.3 * height), fill=1)
    draw.rectangle((0, 0, width - 1, height - 1), outline=3, width=max(1, height // 200))
    return np.array(canvas)


def scene(random: np.random.Generator, size: tuple[int, int]) -> Values:
    """ADE20K: a room or a view, with things in it; some of it unlabelled (0)."""
    height, width = size
    indoors = random.random() < 0.5
    canvas = Image.new("L", (width, height), 6 if indoors else 3)
    draw = ImageDraw.Draw(canvas)
    choices = INDOORS if indoors else OUTDOORS
    columns(draw, random, choices, (0.1 * height, 0.4 * height), size)
    ground = random.choice((4, 29) if indoors else (7, 10, 12, 14))
    draw.rectangle((0, random.uniform(0.6, 0.75) * height, width, height), fill=int(ground))
    for _ in range(10):
        value = 1 + int(150 * random.random() ** SKEW)
        place(draw, random, ade20k_thing(value), size)
    place(draw, random, Thing(0, random.uniform(0.4, 1), 0.15, 1.0), size)
    return np.array(canvas)


def ade20k_thing(value: int) -> Thing:
    """Where a class of ADE20K stands, and how large it is, follows from its number."""
    height = 0.12 + value * 7 % 20 / 100
    return Thing(value, 0.35 + value * 11 % 61 / 100, height, 0.6 + value % 5 * 0.3)


def photograph(random: np.random.Generator, size: tuple[int, int], objects: list[int]) -> Values:
    """VOC: objects on a background (0), each with a border of 255."""
    height, width = size
    canvas = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(canvas)
    for value in objects:
        thing = Thing(value, 0.6 + value * 3 % 8 * 0.05, 0.25 + value % 4 * 0.07, 0.7 + value % 3)
        place(draw, random, thing, size, IGNORE_INDEX)
    return np.array(canvas)


def columns(
    draw: ImageDraw.ImageDraw,
    random: np.random.Generator,
    choices: tuple[int, ...],
    tops: tuple[float, float],
    size: tuple[int, int],
) -> None:
    """Fills the width with blocks that begin somewhere between `tops` and reach the ground."""
    height, width = size
    left = 0.0
    while left < width:
        right = left + width * random.uniform(0.06, 0.2)
        box = (left, random.uniform(*tops), right, height)
        draw.rectangle(box, fill=int(random.choice(choices)))
        left = right


def place(
    draw: ImageDraw.ImageDraw,
    random: np.random.Generator,
    thing: Thing,
    size: tuple[int, int],
    border: int | None = None,
) -> None:
    """Draws a thing at its height, anywhere across: odd values are round, even ones square."""
    border_width = 0 if border is None else max(1, min(size) // 75)
    tall = thing.height * size[0] * random.uniform(0.7, 1.3)
    wide = max(2.0, tall * thing.aspect)
    bottom = thing.bottom * size[0] * random.uniform(0.95, 1.05)
    left = random.uniform(-0.3 * wide, size[1] - 0.7 * wide)
    box = (left, bottom - tall, left + wide, bottom)
    shape = draw.ellipse if thing.value % 2 else draw.rectangle
    shape(box, fill=thing.value, outline=border, width=border_width)


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
