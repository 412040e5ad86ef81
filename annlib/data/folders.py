"""Which picture belongs to which label file, in the folders of each benchmark as it is published.

Torchvision's Cityscapes, VOCSegmentation and SBDataset would list some of these, too, but give PIL
pairs without a word about labels that are missing or of another kind; none knows ADE20K, ready-made
train ids or VOC 2012 + aug.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from annlib.data.benchmarks import CITYSCAPES_TRAIN_IDS
from annlib.data.classes import DatasetSpec
from annlib.data.files import need_scipy
from annlib.data.roots import check_there, contents, find_home, packed_there
from annlib.data.voc import LISTS, label_files, read_lists, read_names

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
ADE20K_FOLDERS = {"train": "training", "val": "validation"}


class Pairs(NamedTuple):
    """Pictures, the label file of each, and how these are to be read. Files may be missing."""

    images: list[Path]
    labels: list[Path]
    spec: DatasetSpec


def find_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """The pairs of a split ("train", "val"), sorted by name.

    Raises FileNotFoundError for a root that is none and for a split without a picture.
    """
    match spec.layout:
        case "cityscapes":
            pairs = cityscapes_pairs(root, spec, split)
        case "ade20k":
            pairs = ade20k_pairs(root, spec, split)
        case "voc12aug":
            pairs = voc12aug_pairs(root, spec, split)
        case "folder":
            pairs = folder_pairs(root, spec, split)
    return pairs


def folder_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """split/images/NAME.* and split/labels/NAME.png"""
    folder = root / split
    if not (folder / "images").is_dir():
        raise FileNotFoundError(
            f"There is no folder {folder / 'images'}. A data set looks like this: "
            f"{folder}/images/NAME.jpg and {folder}/labels/NAME.png, with one class index per "
            f"pixel. {packed_there(root)}".rstrip()
        )
    images = pictures_in(folder / "images", root)
    return Pairs(images, [folder / "labels" / f"{path.stem}.png" for path in images], spec)


def cityscapes_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png

    Where there are only ready-made *_labelTrainIds.png, these are read.
    """
    home = find_home(root, "cityscapes")
    labels, suffix = home / "gtFine" / split, "labelIds"
    ready_made = visible(labels.glob("*/*_labelTrainIds.png"))
    if ready_made and not visible(labels.glob("*/*_labelIds.png")):
        suffix, spec = "labelTrainIds", CITYSCAPES_TRAIN_IDS
    folder = home / "leftImg8bit" / split
    images = visible(folder.glob("*/*_leftImg8bit.png"))
    check_not_empty(images, folder / "CITY", "*_leftImg8bit.png", root)
    names = [path.name.removesuffix("_leftImg8bit.png") for path in images]
    return Pairs(
        images,
        [
            labels / path.parent.name / f"{name}_gtFine_{suffix}.png"
            for path, name in zip(images, names, strict=True)
        ],
        spec,
    )


def ade20k_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """images/training/NAME.jpg and annotations/training/NAME.png; validation likewise"""
    home = find_home(root, "ade20k")
    part = ADE20K_FOLDERS.get(split, split)
    images = pictures_in(home / "images" / part, root)
    return Pairs(images, [home / "annotations" / part / f"{p.stem}.png" for p in images], spec)


def voc12aug_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """JPEGImages/NAME.jpg and the labels of VOC or SBD, for the names of the split's list"""
    home = find_home(root, "voc12aug")
    if split == "train":
        lists = read_lists(home)
        names, labels = sorted(lists.train), label_files(home, lists)
    else:  # the published scores count on the borders that only VOC's own labels have
        names = sorted(read_names(home / LISTS / "val.txt"))
        labels = [home / "SegmentationClass" / f"{name}.png" for name in names]
    check_not_empty(names, home / LISTS, f"name for {split}", root)
    if any(path.suffix == ".mat" for path in labels):
        need_scipy(home)
    return Pairs([home / "JPEGImages" / f"{name}.jpg" for name in names], labels, spec)


def pictures_in(folder: Path, root: Path) -> list[Path]:
    """All pictures of a folder, sorted by name."""
    found = visible(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in found if path.suffix.lower() in SUFFIXES]
    check_not_empty(found, folder, f"picture ({', '.join(SUFFIXES)})", root)
    return found


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without hidden files such as the `._NAME` that macOS adds on foreign disks."""
    return sorted(path for path in paths if not path.name.startswith("."))


def shared_labels(pairs: Pairs) -> list[str]:
    """A problem for each label file that belongs to two images, such as a.jpg and a.png."""
    images_of = defaultdict(set)
    for image, label in zip(pairs.images, pairs.labels, strict=True):
        images_of[label].add(image)
    return [
        f"{len(images)} images for the label file {label}: {', '.join(map(str, sorted(images)))}. "
        "Keep the image that the labels were made for, and move the other away."
        for label, images in images_of.items()
        if len(images) > 1
    ]


def check_not_empty(found: list, folder: Path, what: str, root: Path) -> None:
    """Raises FileNotFoundError for a split in which nothing was found."""
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no {what}. {root} holds {contents(root)}. "
            f"{packed_there(root)}".rstrip()
        )


def check_complete(pairs: Pairs, root: Path) -> None:
    """Raises FileNotFoundError when a picture of the list, or the labels of one, are missing.

    Raises ValueError when two images belong to one label file.
    """
    check_there(pairs.images, "pictures", root)
    if shared := shared_labels(pairs):
        raise ValueError(shared[0] + f" ({len(shared)} such label files.)" * (len(shared) > 1))
    missing = [pair for pair in zip(*pairs[:2], strict=True) if not pair[1].is_file()]
    if missing:
        image, label = missing[0]
        raise FileNotFoundError(
            f"{len(missing)} of {len(pairs.images)} pictures have no labels, the first is {image}: "
            f"expected {label}. Add the labels or move the picture away. "
            f"{packed_there(root)}".rstrip()
        )
