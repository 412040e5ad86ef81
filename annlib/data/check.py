"""Checks a data set on disk: pairs, sizes, label values, class shares, and a contact sheet."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.classes import BALLOON_TOWN, CAMVID, CITYSCAPES, DatasetSpec
from annlib.data.datasets import read_pair
from annlib.data.folders import Pairs, find_pairs, locate, shared_labels, visible
from annlib.data.io import read_labels, read_text
from annlib.data.synthetic import MARK, PUBLISHED_IMAGES

THUMBNAIL = (300, 200)  # largest width and height of an image on the sheet
MARGIN, LINE = 12, 20  # between cells, and of a line of text, in pixels
PAIRS_ACROSS, LEGEND_ACROSS, LEGEND_WIDTH = 2, 7, 180
PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
IGNORED = (224, 224, 192)  # as VOC draws it; black is its background
BAR_WIDTH = 32

CHECKSUMS = "SHA256SUMS"  # a file in a data set's folder; `sha256sum --check` reads it, too

Sample = tuple[str, Tensor, Tensor]  # caption, image uint8 (3, H, W), class indices uint8 (H, W)


def training_problem(pixels: Tensor, spec: DatasetSpec) -> str:
    """Why labels with so many pixels of each class index, (files, 256), teach nothing, or ""."""
    each = pixels.reshape(-1, 256)
    pixels, apart = each.sum(0), spec.num_classes == 2 and not each[:, [1, 255]].all(1).any()
    present = [name for name, n in zip(spec.class_names, pixels.tolist(), strict=False) if n]
    absent = [name for name in spec.class_names if name not in present]
    # 255 may stand for a class of a folder's own list that never occurs.
    own = spec.layout == "folder" and not spec.ignored and spec not in (BALLOON_TOWN, CAMVID)
    ignored = f"255 covers {100 * float(pixels[IGNORE_INDEX] / pixels.sum()):.1f} % of their pixels"
    ignored += " and is ignored in training. If 255 is a class, as in masks of 0 and 255, add"
    ignored += f" the line `255={spec.num_classes - 1}` (value=index of the class) to classes.txt"
    if not present:
        return f"no pixel of the training labels has a class: {ignored}."
    if own and pixels[IGNORE_INDEX] and (absent or apart):
        names = ", ".join(map(repr, absent[:5])) + ", ..." * (len(absent) > 5)
        never = f"es {names} never occur" if len(absent) > 1 else f" {names} never occurs"
        said = f"the class{never} in the training labels"
        said = said if absent else "some label files hold 1 and others 255, none holds both"
        return f'{said}, but {ignored}. If 255 is "not labelled", add `ignore 255` to classes.txt.'
    if len(present) == 1:
        said = f"the training labels hold no class but {present[0]!r}: a network would learn to"
        return f"{said} predict it everywhere. The label files must hold at least two classes."
    return ""


class CheckedSplit(NamedTuple):
    """What the pairs of a split hold together, and everything that is wrong with it."""

    split: str
    pairs: Pairs  # those whose files are there
    num_opened: int
    intact: list[int]  # indices of the pairs that could be opened
    pixels: Tensor  # of each class index (256,)
    images: Tensor  # with each class index (256,)
    sizes: list[tuple[int, int]]  # (height, width), smallest area first
    digests: dict[bytes, Path]  # of the pixels of each image -> its first file
    problems: list[str]


def check_split(
    root: Path,
    spec: DatasetSpec,
    split: str,
    sample: int | None = None,
    progress: Callable[..., Iterable] = lambda items, **options: items,
) -> CheckedSplit:
    """Lists the pairs of a split, opens all or `sample` of them, and collects every problem.

    Raises FileNotFoundError for a root without such a data set; an empty split is a problem.
    """
    try:
        pairs = find_pairs(root, spec, split)
        problems = listing_problems(root, pairs, split)
    except FileNotFoundError as error:
        if locate(root, spec.layout) is None:
            raise
        pairs, problems = Pairs([], [], spec), [str(error)]
    there = [p for p in zip(pairs.images, pairs.labels, strict=True) if all(f.is_file() for f in p)]
    images, labels = [list(paths) for paths in zip(*there, strict=True)] or ([], [])
    pairs = pairs._replace(images=images, labels=labels)
    spec = pairs.spec

    def inspect(index: int) -> tuple[Tensor, tuple[int, int], bytes] | str:
        try:
            image, values = read_pair(images[index], labels[index], spec, seen)
        except (ValueError, OSError) as error:
            return str(error)
        digest = hashlib.blake2b(repr(image.shape).encode() + image.numpy().tobytes()).digest()
        return torch.bincount(values.flatten(), minlength=256), tuple(values.shape), digest

    indices, intact, sizes, digests = evenly(len(images), sample), [], set(), {}
    similar: dict[str, list[str]] = {}  # problems that differ in the file only
    each, seen = [torch.zeros(256, dtype=torch.int64)], {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = progress(pool.map(inspect, indices), desc=split, total=len(indices))
        for index, found in zip(indices, results, strict=True):
            if isinstance(found, str):
                similar.setdefault(found.replace(str(labels[index]), ""), []).append(found)
                continue
            counts, size, digest = found
            each.append(counts)
            sizes.add(size)
            intact.append(index)
            if (first := digests.setdefault(digest, index)) != index and spec.layout == "folder":
                same = torch.equal(*(read_labels(labels[one]) for one in (first, index)))
                said = "move one away" if same else "but labelled differently: keep the right one"
                said = f"{images[first]} and {images[index]} are the same image, {said}."
                similar.setdefault(str(same), []).append(said)

    each = torch.stack(each)
    pixels, occurs = each.sum(0), (each > 0).sum(0)
    for first, *others in similar.values():
        problems.append(first + f" ({len(others)} more files like it.)" * bool(others))
    first_unlike = CITYSCAPES.class_names.index("traffic light")  # ids from here on exceed 18
    if spec == CITYSCAPES and pixels[:255].sum() and not pixels[first_unlike:255].sum():
        said = "no label is above 18 in any file: are these train ids, saved under the name of"
        problems.append(f"{said} labelIds? Name them *_gtFine_labelTrainIds.png.")
    if split != "val" and 0 < len(intact) == len(images):
        problems += filter(None, [training_problem(each, spec)])
    paths, sizes = {d: images[i] for d, i in digests.items()}, sorted(sizes, key=prod)
    return CheckedSplit(split, pairs, len(indices), intact, pixels, occurs, sizes, paths, problems)


def listing_problems(root: Path, pairs: Pairs, split: str) -> list[str]:
    """Files that are missing, have no partner or two, and a number that is not the published."""
    spec, found = pairs.spec, len(pairs.images)
    published = PUBLISHED_IMAGES.get(spec.name, {}).get(split, found)
    is_imitation = any((folder / MARK).is_file() for folder in (root, *root.absolute().parents[:2]))
    problems = list(pairs.problems)
    if found != published and not is_imitation:
        problems.append(f"{found} images, but {spec.name} has {published}")
    problems += [f"missing: {p}" for p in (*pairs.images, *pairs.labels) if not p.is_file()]
    problems += [pairs.hint.strip()] * bool(pairs.hint)
    problems += shared_labels(pairs)
    if spec.layout != "voc12aug":  # its lists say which label files to use; others may be there
        first = pairs.labels[0]
        files = visible(first.parent.glob("*.[pP][nN][gG]"))
        if spec.layout == "cityscapes":
            files = visible(first.parent.parent.glob(f"*/*_{first.name.rpartition('_')[2]}"))
        unused = sorted({*files} - {*pairs.labels})
        problems += [f"labels without an image: {p}" for p in unused]
    return problems


def read_checksums(path: Path) -> dict[str, str]:
    """File name, relative to the data set -> its SHA-256, from lines `hash  name`."""
    lines = [line.split(maxsplit=1) for line in read_text(path).splitlines() if line.strip()]
    if not all(len(parts) == 2 and len(parts[0]) == 64 for parts in lines):
        raise ValueError(f"{path} must hold lines of a SHA-256 (64 digits) and a file name.")
    return {name.lstrip("*"): digest for digest, name in lines}


def changed_files(root: Path, checksums: dict[str, str]) -> list[str]:
    """The listed files that are missing or have another content, by name."""

    def is_changed(name: str, digest: str) -> bool:
        path = root / name
        return not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(compress(checksums, pool.map(is_changed, checksums, checksums.values())))


def in_both(train: CheckedSplit, val: CheckedSplit) -> list[str]:
    """A problem for each image that is in both splits, whatever its names and file formats."""
    said = "Scores on images that a network was trained on are too high: remove one of the pairs."
    both = [(train.digests[d], path) for d, path in val.digests.items() if d in train.digests]
    return [f"the same image in both splits: {one} and {other}. {said}" for one, other in both]


def evenly(total: int, count: int | None) -> list[int]:
    """`count` indices of 0..total-1, evenly spaced; all of them if count is None or more."""
    count = total if count is None else min(count, total)
    return [index * total // count for index in range(count)]


def report(found: CheckedSplit) -> str:
    """Counts, a line for each class that occurs with its shares and a bar, and every problem."""
    spec, total = found.pairs.spec, len(found.pairs.images)
    opened = "all" if found.num_opened == total else f"{found.num_opened} of them"
    first = found.pairs.labels[0].name if total else "none"
    sizes = [f"{height} x {width}" for height, width in found.sizes] or ["none"]
    if len(sizes) > 1:
        sizes = [f"{sizes[0]} to {sizes[-1]} (height x width), {len(sizes)} different ones"]
    classes = dict(enumerate(spec.class_names)) | {IGNORE_INDEX: "(ignored)"}
    absent = [name for index, name in classes.items() if not found.pixels[index]]
    present = {index: name for index, name in classes.items() if found.pixels[index]}
    width = max(map(len, ["class", *present.values()]))
    title = f"{spec.name} {found.split}".strip()
    lines = [f"{title}: {total} pairs, {opened} opened (label files: {first}, ...)"]
    lines += [f"Sizes: {sizes[0]}", "", f"{'class':{width}}    pixels    images"]
    for index, name in present.items():
        pixels = int(found.pixels[index])
        of_pixels = 100 * pixels / int(found.pixels.sum())
        of_images = 100 * int(found.images[index]) / found.num_opened
        bar = "#" * -(-BAR_WIDTH * pixels // int(found.pixels.max()))  # rounded up: never empty
        lines.append(f"{name:{width}}  {of_pixels:6.2f} %   {of_images:5.1f} %  {bar}")
    lines += [f"Absent: {', '.join(absent)}"] * bool(absent)
    lines += ["", f"Problems: {len(found.problems) or 'none'}"]
    return "\n".join([*lines, *(f"- {problem}" for problem in found.problems)]) + "\n"


def samples(found: CheckedSplit, most: int = 8) -> list[Sample]:
    """Some of the pairs that could be opened, for the contact sheet."""
    images, labels, spec, *_ = found.pairs
    chosen = [found.intact[place] for place in evenly(len(found.intact), most)]
    return [(images[i].stem, *read_pair(images[i], labels[i], spec, {})) for i in chosen]


def contact_sheet(title: str, pairs: Sequence[Sample], spec: DatasetSpec) -> Image.Image:
    """Two pairs in a row, image left and labels right; below, the classes that occur."""
    colours, (width, height) = spec.colour_table(), THUMBNAIL
    colours[IGNORE_INDEX] = torch.tensor(IGNORED)
    small, middle, large = (ImageFont.load_default(size) for size in (13, 14, 18))
    classes = sorted({index for *_, labels in pairs for index in torch.unique(labels).tolist()})
    across, down = 2 * (width + MARGIN), height + LINE + MARGIN  # of a pair
    top = 2 * LINE + -(-len(pairs) // PAIRS_ACROSS) * down  # of the legend
    legend = -(-len(classes) // LEGEND_ACROSS) * LINE + MARGIN
    whole = MARGIN + max(PAIRS_ACROSS * across, LEGEND_ACROSS * LEGEND_WIDTH), top + legend
    sheet = Image.new("RGB", whole, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN // 2), title, INK, large)
    for index, (caption, image, labels) in enumerate(pairs):
        row, column = divmod(index, PAIRS_ACROSS)
        x, y = MARGIN + column * across, 2 * LINE + row * down
        draw.text((x, y), f"{caption}  ({labels.shape[0]} x {labels.shape[1]})", GREY, small)
        shown = Image.fromarray(image.permute(1, 2, 0).numpy())
        mask = Image.fromarray(colours[labels.int()].numpy())
        shown.thumbnail(THUMBNAIL, Image.Resampling.BILINEAR)
        mask.thumbnail(THUMBNAIL, Image.Resampling.NEAREST)
        sheet.paste(shown, (x, y + LINE))
        sheet.paste(mask, (x + width + MARGIN, y + LINE))
    for place, index in enumerate(classes):
        row, column = divmod(place, LEGEND_ACROSS)
        x, y = MARGIN + column * LEGEND_WIDTH, top + row * LINE
        draw.rectangle((x, y + 2, x + 24, y + LINE - 4), tuple(colours[index].tolist()), GREY)
        name = "(ignored)" if index == IGNORE_INDEX else spec.class_names[index]
        draw.text((x + 30, y), name, INK, middle)
    return sheet
