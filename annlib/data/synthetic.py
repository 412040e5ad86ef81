"""Small synthetic imitations of Cityscapes, ADE20K and VOC, with their folders and label values.

For tests and rehearsals. A class has its colour, its stripes and its place: enough to learn
something; scores say nothing about the real data sets. Sizes are (height, width) in pixels.
"""

import tomllib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from annlib.config import IGNORE_INDEX
from annlib.data.classes import ADE20K, CITYSCAPES, VOC12AUG, DatasetSpec, spread_colour
from annlib.data.folders import ADE20K_FOLDERS, LISTS, SBD_PLACES
from annlib.data.io import need_scipy
from annlib.files import all_or_nothing

Benchmark = Literal["cityscapes", "ade20k", "voc12aug"]
Size = tuple[int, int]
Values = np.ndarray  # uint8 (H, W), as in the label files

TABLES = tomllib.loads(Path(__file__).with_name("synthetic.toml").read_text())
PUBLISHED_IMAGES: dict[str, dict[str, int]] = TABLES["published_images"]
MARK, CITIES = "MIMIC.txt", TABLES["cities"]
SIZES = {name: tuple(map(tuple, sizes)) for name, sizes in TABLES["sizes"].items()}
DEALT = 16  # classes of VOC that occur in turn: eight training images show each of them
VOC_PALETTE = [part for index in range(256) for part in spread_colour(index)]


class Thing(NamedTuple):
    """An object: its place and size as shares of the image's height, and width by height."""

    value: int
    bottom: float
    height: float
    aspect: float


STREET_THINGS = [Thing(*numbers) for numbers in TABLES["street_things"]]
SKEW = 2.5  # of chance towards the first classes of ADE20K, which are the most common in it, too


def paint(values: Values, spec: DatasetSpec, random: np.random.Generator) -> np.ndarray:
    """Label values -> uint8 (H, W, 3): greyish colours, stripes of each class, light, and noise."""
    height, width = values.shape
    row, column = np.ogrid[:height, :width]
    number = np.arange(256)
    across, down, period = 1 + number % 3, number * 5 % 7 - 3, 6 + number * 7 % 12
    stripes = (column * across[values] + row * down[values]) // period[values] % 2
    light = Image.fromarray(random.uniform(-20, 20, (4, 6)).astype(np.float32))
    light = np.asarray(light.resize((width, height), Image.Resampling.BILINEAR), np.int16)
    noise = random.integers(-10, 11, (height, width), np.int16)
    change = light + noise + 40 * stripes.astype(np.int16)
    colours = spec.colour_table()[spec.label_table().int()].numpy().astype(np.int16)
    for value in (*spec.ignored, *(0,) * (spec.layout == "voc12aug")):
        colours[value] = random.integers(60, 200)
    colours = 20 + 3 * colours // 4
    return (colours[values] + change[..., None]).clip(0, 255).astype(np.uint8)


class Drawing:
    """A canvas of label values, and the random numbers that decide what is drawn on it."""

    def __init__(self, random: np.random.Generator, size: Size, background: int):
        self.random, (self.height, self.width) = random, size
        self.canvas = Image.new("L", (self.width, self.height), background)
        self.draw = ImageDraw.Draw(self.canvas)

    def columns(self, choices: tuple[int, ...], top: float, bottom: float) -> None:
        """Fills the width with blocks that begin between `top` and `bottom`, down to the ground."""
        left = 0.0
        while left < self.width:
            right = left + self.width * self.random.uniform(0.06, 0.2)
            box = (left, self.random.uniform(top, bottom), right, self.height)
            self.draw.rectangle(box, fill=int(self.random.choice(choices)))
            left = right

    def place(self, thing: Thing, border: int | None = None) -> None:
        """Draws an object at its height, anywhere across: odd values round, even ones square."""
        width = 0 if border is None else max(1, min(self.height, self.width) // 75)
        tall = thing.height * self.height * self.random.uniform(0.7, 1.3)
        wide = max(2.0, tall * thing.aspect)
        bottom = thing.bottom * self.height * self.random.uniform(0.95, 1.05)
        left = self.random.uniform(-0.3 * wide, self.width - 0.7 * wide)
        shape = self.draw.ellipse if thing.value % 2 else self.draw.rectangle
        shape((left, bottom - tall, left + wide, bottom), thing.value, border, width)


def street(random: np.random.Generator, size: Size) -> Values:
    """Cityscapes: sky, a skyline, road and pavement, objects, and a bonnet."""
    drawing, (height, width) = Drawing(random, size, 23), size
    draw, horizon = drawing.draw, height * random.uniform(0.42, 0.5)
    drawing.columns(TABLES["skyline"], horizon - 0.35 * height, horizon - 0.1 * height)
    drawing.columns(TABLES["low_walls"], horizon - 0.06 * height, horizon)
    draw.rectangle((0, horizon + 0.03 * height, width, height), fill=8)
    for value, left, right in ((9, 0.0, 0.2), (7, 0.1, 0.85), (10, 0.6, 0.7), (6, 0.9, 1.0)):
        corners = ((left, 1), (0.5, horizon / height + 0.04), (right, 1))
        draw.polygon([(x * width, y * height) for x, y in corners], fill=value)
    chosen = [STREET_THINGS[i] for i in random.permutation(len(STREET_THINGS))[:16]]
    for thing in sorted(chosen, key=lambda thing: thing.bottom):  # the nearest last
        drawing.place(thing)
    draw.ellipse((0.15 * width, 0.9 * height, 0.85 * width, 1.3 * height), fill=1)
    draw.rectangle((0, 0, width - 1, height - 1), outline=3, width=max(1, height // 200))
    return np.array(drawing.canvas)


def scene(random: np.random.Generator, size: Size) -> Values:
    """ADE20K: a room or a view, with objects in it; some of it unlabelled (0)."""
    height, width = size
    indoors = random.random() < 0.5
    drawing = Drawing(random, size, 6 if indoors else 3)
    drawing.columns(TABLES["indoors" if indoors else "outdoors"], 0.1 * height, 0.4 * height)
    ground = int(random.choice((4, 29) if indoors else (7, 10, 12, 14)))
    drawing.draw.rectangle((0, random.uniform(0.6, 0.75) * height, width, height), fill=ground)
    for _ in range(10):  # place and size of a class follow from its number
        value = 1 + int(150 * random.random() ** SKEW)
        place, tall = 0.35 + value * 11 % 61 / 100, 0.12 + value * 7 % 20 / 100
        drawing.place(Thing(value, place, tall, 0.6 + value % 5 * 0.3))
    drawing.place(Thing(0, random.uniform(0.4, 1), 0.15, 1.0))
    return np.array(drawing.canvas)


def mimic(
    name: Benchmark,
    root: Path,
    train: int = 8,
    val: int = 4,
    size: Size | None = None,
    seed: int = 0,
    originals: bool = False,
) -> None:
    """Writes a miniature of a benchmark into an empty or new folder; same seed, same images.

    size: (height, width) instead of the real ones; where these vary, it is turned and squared.
    originals: VOC and SBD as they are published, instead of the ready-made SegmentationClassAug.
    Raises FileExistsError for a folder that is not empty, ValueError for impossible arguments.
    """
    if train < 1 or val < 1 or size is not None and min(size) < 16:
        said = f"A data set of {train} + {val} images of {size or 'their own size'}: at least one"
        raise ValueError(f"{said} image in each split, and 16 pixels on each side, are needed.")
    if originals and name != "voc12aug":
        raise ValueError(f"--originals is about VOC and SBD: {name} has one layout only.")
    variants = SIZES[name]
    if size is not None:
        variants = (size, size[::-1], (min(size), min(size)))
        variants = variants[: {"cityscapes": 1, "voc12aug": 2, "ade20k": 3}[name]]
    sizes, counts = cycle(variants), {"train": train, "val": val}
    with all_or_nothing(root) as folder:
        if name == "voc12aug":
            write_voc(folder, train, val, sizes, seed, originals)
        for split, index in [(s, i) for s in counts for i in range(counts[s])]:
            random = np.random.default_rng([seed, *split.encode(), index])
            if name == "cityscapes":
                values = street(random, next(sizes))
                city = CITIES[split][index % len(CITIES[split])]
                stem = f"{split}/{city}/{city}_{index:06d}_000019"
                image = folder / f"leftImg8bit/{stem}_leftImg8bit.png"
                save(paint(values, CITYSCAPES, random), image)
                save(values, folder / f"gtFine/{stem}_gtFine_labelIds.png")
            elif name == "ade20k":
                values, home = scene(random, next(sizes)), folder / "ADEChallengeData2016"
                stem = f"{ADE20K_FOLDERS[split]}/ADE_{split}_{index + 1:08d}"
                save(paint(values, ADE20K, random), home / f"images/{stem}.jpg")
                save(values, home / f"annotations/{stem}.png")
        said = f"Painted by `annlib data mimic {name}` in the layout of the real data, which have"
        said += f" {PUBLISHED_IMAGES[name]} images. Scores on it say nothing about those.\n"
        (folder / MARK).write_text(said)


def save(image: np.ndarray, path: Path, palette: list[int] | None = None) -> None:
    """PNG or JPEG by the name of the file; with a palette, an image of indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = Image.fromarray(image)
    if palette:
        file.putpalette(palette)
    file.save(path, **({"quality": 90} if path.suffix == ".jpg" else {"compress_level": 1}))


def write_voc(
    folder: Path, train: int, val: int, sizes: Iterator[Size], seed: int, originals: bool
) -> None:
    """VOCdevkit/VOC2012, and what SBD adds: half of the training images, rounded down."""
    home, sbd = folder / "VOCdevkit" / "VOC2012", folder / SBD_PLACES[0]
    names = [f"2012_{index:06d}" for index in range(train + val)]
    added, own = names[: train // 2], names[train // 2 :]
    deck = (1 + np.random.default_rng(seed).permutation(20)).tolist()[:DEALT]
    for index, name in enumerate(names):
        random = np.random.default_rng([seed, *b"voc", index])
        objects = [deck[2 * index % DEALT], deck[(2 * index + 1) % DEALT]]
        if random.random() < 0.5:
            objects.append(int(random.integers(1, 21)))
        drawing = Drawing(random, next(sizes), 0)
        for value in objects:
            place, tall = 0.6 + value * 3 % 8 * 0.05, 0.25 + value % 4 * 0.07
            drawing.place(Thing(value, place, tall, 0.7 + value % 3), IGNORE_INDEX)
        values = np.array(drawing.canvas)
        save(paint(values, VOC12AUG, random), home / "JPEGImages" / f"{name}.jpg")
        if name in own:
            save(values, home / "SegmentationClass" / f"{name}.png", VOC_PALETTE)
        elif originals:
            (path := sbd / f"cls/{name}.mat").parent.mkdir(parents=True, exist_ok=True)
            borderless = np.where(values == 255, 0, values).astype(np.uint8)  # as SBD is
            content = {"GTcls": {"Segmentation": borderless}}
            need_scipy("--originals").savemat(path, content, do_compression=True)
        else:
            save(values, home / "SegmentationClassAug" / f"{name}.png")
    lists = {home / LISTS / "train.txt": own[:-val], home / LISTS / "val.txt": own[-val:]}
    if originals:  # SBD's lists are independent of VOC's: they share images with its val
        lists[sbd / "train.txt"] = [*added[::2], own[-1]]
        lists[sbd / "val.txt"] = [*added[1::2], own[0]]
    else:
        lists[home / LISTS / "trainaug.txt"] = [*own[:-val], *added]
    for path, listed in lists.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in listed))
