"""A data set on disk, looked over: how many pairs, whether each is whole, what classes it holds."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from annlib.data.benchmarks import CITYSCAPES, PUBLISHED_PICTURES
from annlib.data.classes import DatasetSpec
from annlib.data.contact_sheet import Labelled
from annlib.data.datasets import read_pair, training_problem
from annlib.data.mimic import MARK
from annlib.data.pairs import Pairs, find_pairs, shared_labels, visible
from annlib.data.roots import locate
from annlib.data.voc import read_lists


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
