"""Checks a data set on disk: pairs, sizes, label values, class shares, and a contact sheet."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.classes import CITYSCAPES, PUBLISHED_PICTURES, DatasetSpec
from annlib.data.datasets import read_pair, training_problem
from annlib.data.folders import Pairs, find_pairs, locate, read_lists, shared_labels, visible
from annlib.data.synthetic import MARK

THUMBNAIL = (300, 200)  # largest width and height of a picture on the sheet
MARGIN, LINE = 12, 20  # between cells, and of a line of text, in pixels
PAIRS_ACROSS, LEGEND_ACROSS, LEGEND_WIDTH = 2, 7, 180
PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
IGNORED = (224, 224, 192)  # as VOC draws it; black is its background


class Labelled(NamedTuple):
    """image uint8 (3, H, W), labels uint8 (H, W) class indices"""

    caption: str
    image: Tensor
    labels: Tensor


def contact_sheet(title: str, samples: Sequence[Labelled], spec: DatasetSpec) -> Image.Image:
    """Two pairs in a row, picture left and labels right; below, the classes that occur."""
    cells = [draw_pair(sample, spec) for sample in samples]
    legend = draw_legend(samples, spec)
    width, height = (max(cell.size[side] for cell in cells) for side in (0, 1))
    rows = -(-len(cells) // PAIRS_ACROSS)
    sheet_width = MARGIN + max(PAIRS_ACROSS * (width + MARGIN), legend.width)
    top = 2 * LINE + rows * (height + MARGIN)
    sheet = Image.new("RGB", (sheet_width, top + legend.height + MARGIN), PAPER)
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN // 2), title, INK, ImageFont.load_default(18))
    for index, cell in enumerate(cells):
        row, column = divmod(index, PAIRS_ACROSS)
        sheet.paste(cell, (MARGIN + column * (width + MARGIN), 2 * LINE + row * (height + MARGIN)))
    sheet.paste(legend, (MARGIN, top))
    return sheet


def draw_pair(sample: Labelled, spec: DatasetSpec) -> Image.Image:
    """Caption with the size, and below it the picture and its labels, side by side."""
    height, width = sample.labels.shape
    colours = spec.colour_table()
    colours[IGNORE_INDEX] = torch.tensor(IGNORED)
    image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
    labels = Image.fromarray(colours[sample.labels.int()].numpy())
    image.thumbnail(THUMBNAIL, Image.Resampling.BILINEAR)
    labels.thumbnail(THUMBNAIL, Image.Resampling.NEAREST)
    cell = Image.new("RGB", (2 * THUMBNAIL[0] + MARGIN, LINE + image.height), PAPER)
    caption = f"{sample.caption}  ({height} x {width})"
    ImageDraw.Draw(cell).text((0, 0), caption, GREY, ImageFont.load_default(13))
    cell.paste(image, (0, LINE))
    cell.paste(labels, (THUMBNAIL[0] + MARGIN, LINE))
    return cell


def draw_legend(samples: Sequence[Labelled], spec: DatasetSpec) -> Image.Image:
    """Name and colour of every class on the sheet, and of pixels that do not count."""
    classes = dict(enumerate(zip(spec.class_names, spec.palette, strict=True)))
    classes[IGNORE_INDEX] = ("(ignored)", IGNORED)
    seen = sorted({int(value) for sample in samples for value in torch.unique(sample.labels)})
    lines = -(-len(seen) // LEGEND_ACROSS)
    legend = Image.new("RGB", (LEGEND_ACROSS * LEGEND_WIDTH, lines * LINE), PAPER)
    draw = ImageDraw.Draw(legend)
    for place, value in enumerate(seen):
        name, colour = classes[value]
        row, column = divmod(place, LEGEND_ACROSS)
        x, y = column * LEGEND_WIDTH, row * LINE
        draw.rectangle((x, y + 2, x + 24, y + LINE - 4), colour, outline=GREY)
        draw.text((x + 30, y), name, INK, ImageFont.load_default(14))
    return legend


@dataclass(frozen=True)
class Listing:
    """The pairs of a split whose files are there, and what is wrong with the others."""

    split: str
    pairs: Pairs
    problems: tuple[str, ...]


class Inspection(NamedTuple):
    """What came of opening a pair: pixels of each class index (256,), or what is wrong with it."""

    counts: Tensor
    size: tuple[int, int] = (0, 0)  # (height, width)
    problem: str = ""


@dataclass(frozen=True)
class Summary:
    """What the pairs of a split hold together.

    pixels, pictures: of or with each class index (256,). sizes: the (height, width) that occur,
    smallest area first.
    """

    num_inspected: int
    pixels: Tensor
    pictures: Tensor
    sizes: tuple[tuple[int, int], ...]
    problems: tuple[str, ...]


def list_split(root: Path, spec: DatasetSpec, split: str) -> Listing:
    """Finds the pairs of a split, and every file that is missing or has no partner.

    Raises FileNotFoundError for a root that is none. A split that is empty is a problem in the
    list, so that the other one can be looked over.
    """
    try:
        pairs = find_pairs(root, spec, split)
    except FileNotFoundError as error:
        if locate(root, spec.layout) is None:
            raise
        return Listing(split, Pairs([], [], spec), (str(error),))
    problems = wrong_number(root, spec, split, len(pairs.images))
    problems += [f"missing: {p}" for p in (*pairs.images, *pairs.labels) if not p.is_file()]
    problems += shared_labels(pairs)
    problems += [f"labels without a picture: {p}" for p in labels_in_vain(pairs)]
    if spec.layout == "voc12aug" and split == "train":
        home = pairs.images[0].parent.parent
        leaked = read_lists(home).leaked
        problems += [f"picture of val in a training list: {name}" for name in leaked]
    whole = [pair for pair in zip(*pairs[:2], strict=True) if all(p.is_file() for p in pair)]
    images, labels = [list(paths) for paths in zip(*whole, strict=True)] or ([], [])
    return Listing(split, Pairs(images, labels, pairs.spec), tuple(problems))


def wrong_number(root: Path, spec: DatasetSpec, split: str, found: int) -> list[str]:
    """A problem if the data set was published with another number of pictures."""
    published = PUBLISHED_PICTURES.get(spec.name, {}).get(split, found)
    if found == published or is_mimic(root):
        return []
    return [f"{found} pictures, but {spec.name} has {published}"]


def is_mimic(root: Path) -> bool:
    """Whether this is an imitation that `annlib data mimic` wrote."""
    root = root.absolute()
    return any((folder / MARK).is_file() for folder in (root, *root.parents[:2]))


def labels_in_vain(pairs: Pairs) -> list[Path]:
    """Label files without a picture. (VOC's lists say which to use; the others may lie there.)"""
    if not pairs.labels or pairs.spec.layout == "voc12aug":
        return []
    first = pairs.labels[0]
    if pairs.spec.layout == "cityscapes":
        found = first.parent.parent.glob(f"*/*_{first.name.rpartition('_')[2]}")
    else:
        found = first.parent.glob("*.png")
    return visible(set(found) - set(pairs.labels))


def evenly(total: int, count: int | None) -> list[int]:
    """`count` indices of 0..total-1, evenly spread; all of them if count is None or more."""
    if count is None or count >= total:
        return list(range(total))
    return [index * total // count for index in range(count)]


def inspect_all(pairs: Pairs, indices: Sequence[int]) -> Iterator[Inspection]:
    """Opens pairs on all cores, and yields what came of each in the order of `indices`."""

    def inspect(index: int) -> Inspection:
        try:
            _, labels = read_pair(pairs.images[index], pairs.labels[index], pairs.spec)
        except (ValueError, OSError) as error:
            return Inspection(torch.zeros(256, dtype=torch.int64), problem=str(error))
        return Inspection(torch.bincount(labels.flatten(), minlength=256), tuple(labels.shape))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(inspect, indices)


def summarise(
    inspections: Sequence[Inspection], spec: DatasetSpec, training: bool = False
) -> Summary:
    """spec: as the label files were read, `Pairs.spec`. training: these are all training pairs."""
    counts = torch.stack([i.counts for i in inspections]) if inspections else torch.zeros(1, 256)
    pixels = counts.sum(0)
    problems = [i.problem for i in inspections if i.problem]
    first_unlike = CITYSCAPES.class_names.index("traffic light")  # ids from here on exceed 18
    if spec == CITYSCAPES and pixels[:255].sum() and not pixels[first_unlike:255].sum():
        problems.append(
            "no label is above 18 in any file: are these train ids, saved under the name of "
            "labelIds? Name them *_gtFine_labelTrainIds.png."
        )
    if training and not problems and (problem := training_problem(pixels, spec)):
        problems.append(problem)
    sizes = sorted({i.size for i in inspections if not i.problem}, key=prod)
    return Summary(len(inspections), pixels, (counts > 0).sum(0), tuple(sizes), tuple(problems))


def choose_samples(
    pairs: Pairs, indices: Sequence[int], inspections: Sequence[Inspection], most: int = 8
) -> list[Labelled]:
    """Some of the pairs in which nothing was wrong, for the contact sheet."""
    sound = [index for index, i in zip(indices, inspections, strict=True) if not i.problem]
    chosen = [sound[place] for place in evenly(len(sound), most)]
    return [
        Labelled(pairs.images[i].stem, *read_pair(pairs.images[i], pairs.labels[i], pairs.spec))
        for i in chosen
    ]


BAR_WIDTH = 32


def report(listing: Listing, summary: Summary, spec: DatasetSpec) -> str:
    """Counts, the histogram, and every problem."""
    title = f"{spec.name} {listing.split}".strip()
    count = len(listing.pairs.images)
    opened = "all" if summary.num_inspected == count else f"{summary.num_inspected} of them"
    first = listing.pairs.labels[0].name if count else "none"
    problems = (*listing.problems, *summary.problems)
    lines = [
        f"{title}: {count} pairs, {opened} opened (label files: {first}, ...)",
        f"Sizes: {sizes(summary)}",
        "",
        *histogram(summary, spec),
        "",
        f"Problems: {len(problems) or 'none'}",
        *(f"- {problem}" for problem in problems),
    ]
    return "\n".join(lines) + "\n"


def sizes(summary: Summary) -> str:
    """The one size that all have, or the smallest and the largest area."""
    texts = [f"{height} x {width}" for height, width in summary.sizes]
    if len(texts) < 2:
        return "".join(texts) or "none"
    return f"{texts[0]} to {texts[-1]} (height x width), {len(texts)} different ones"


def histogram(summary: Summary, spec: DatasetSpec) -> list[str]:
    """A line for each class that occurs: its share of all pixels, of pictures, and a bar.

    The last line names those that do not occur.
    """
    classes = dict(enumerate(spec.class_names)) | {IGNORE_INDEX: "(ignored)"}
    absent = [name for index, name in classes.items() if not summary.pixels[index]]
    width = max(len("class"), *(len(name) for name in classes.values() if name not in absent), 0)
    lines = [f"{'class':{width}}    pixels  pictures"]
    for index, name in classes.items():
        if name not in absent:
            lines.append(f"{name:{width}}  {shares(summary, index)}")
    if absent:
        lines.append(f"Not there: {', '.join(absent)}")
    return lines


def shares(summary: Summary, index: int) -> str:
    """Of all pixels, and of all pictures that were opened; the longest bar is the largest class."""
    pixels = int(summary.pixels[index])
    bar = "#" * -(-BAR_WIDTH * pixels // int(summary.pixels.max()))  # rounded up: seen if there
    of_pixels = 100 * pixels / int(summary.pixels.sum())
    of_pictures = 100 * int(summary.pictures[index]) / summary.num_inspected
    return f"{of_pixels:6.2f} %   {of_pictures:5.1f} %  {bar}"
