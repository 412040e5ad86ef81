"""Where the images and labels of each data set lie on disk, and which image belongs to which label.

VOC labels 1,464 training pictures; SBD (Hariharan et al., ICCV 2011) adds 9,118 that are neither
in VOC's training nor in its validation list: 10,582 in all. Torchvision's SBDataset offers another
selection (train_noval, 5,623 pictures) and its VOCSegmentation none with both.

Torchvision's Cityscapes, VOCSegmentation and SBDataset would list some of these, too, but give PIL
pairs without a word about labels that are missing or of another kind; none knows ADE20K, ready-made
train ids or VOC 2012 + aug.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from annlib.data.classes import CITYSCAPES_TRAIN_IDS, DatasetSpec, Layout
from annlib.data.io import need_scipy

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")


class Home(NamedTuple):
    """How a layout is known: folders below a root in which it may lie, and a folder in it."""

    places: tuple[str, ...]
    mark: str
    looks: str  # for people


HOMES: dict[Layout, Home] = {
    "cityscapes": Home(
        (".",), "leftImg8bit", "leftImg8bit/{train,val}/CITY and gtFine/{train,val}/CITY"
    ),
    "ade20k": Home(
        (".", "ADEChallengeData2016"),
        "images/training",
        "ADEChallengeData2016/{images,annotations}/{training,validation}",
    ),
    "voc12aug": Home(
        (".", "VOC2012", "VOCdevkit/VOC2012"),
        "JPEGImages",
        "VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets}",
    ),
    "folder": Home((".", "train"), "images", "train/{images,labels} and val/{images,labels}"),
}


def locate(root: Path, layout: Layout) -> Path | None:
    """The folder that holds a benchmark's parts, at or below `root`; None if there is none."""
    home = HOMES[layout]
    found = (root / place for place in home.places if (root / place / home.mark).is_dir())
    return next(found, None)


def find_home(root: Path, layout: Layout) -> Path:
    """The same, or a FileNotFoundError that says what the folder holds instead."""
    home = locate(root, layout)
    if home is not None:
        return home
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder {root}. Name the one that holds {layout}: {HOMES[layout].looks}."
        )
    raise FileNotFoundError(
        f"There is no {layout} in {root}: looked for {HOMES[layout].looks}, but the folder holds "
        f"{contents(root)}. {likely_mistake(root, layout)}"
    )


def likely_mistake(root: Path, layout: Layout) -> str:
    """What probably went wrong, as a sentence."""
    if archives(root):
        return packed_there(root)
    nearby = [*root.absolute().parents[:3], *sorted(p for p in root.iterdir() if p.is_dir())]
    for folder in nearby:
        if locate(folder, layout):
            return f"It lies in {folder}: name that folder."
    for other in HOMES:
        if locate(root, other):
            return f"This looks like {'a plain folder' if other == 'folder' else other}."
    return f"How to get it: annlib data prepare {layout} {root}"


def contents(folder: Path, most: int = 6) -> str:
    """The first names in a folder, for a message."""
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


def archives(root: Path) -> list[Path]:
    """Archives that lie in a folder."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.name.lower().endswith(ARCHIVES))


def packed_there(root: Path) -> str:
    """A question about archives that lie there; empty if none does."""
    names = ", ".join(path.name for path in archives(root))
    return f"There lies {names}: was it unpacked, and to the end?" if names else ""


def check_there(paths: Sequence[Path], what: str, root: Path) -> None:
    """Raises FileNotFoundError when files that are listed or belong to a picture are missing."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} {what} are missing, the first is {missing[0]}. "
            f"{packed_there(root)}".rstrip()
        )


LISTS = Path("ImageSets/Segmentation")
AUGMENTED = ("trainaug.txt", "aug.txt")  # either the whole training list, or what comes on top
SBD_PLACES = ("benchmark_RELEASE/dataset", "VOCaug/dataset")


class Lists(NamedTuple):
    """Names of training pictures, without suffix."""

    train: list[str]  # what to train on; no picture of val is in it
    leaked: list[str]  # pictures of val that a training list names, and that were taken out
    own: list[str]  # the part of `train` that VOC itself labels


def read_names(path: Path) -> list[str]:
    """A name on each line; `/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png` will do, too."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}: it lists pictures of VOC 2012, one name a line. It is part of "
            "VOCtrainval_11-May-2012.tar; was that unpacked only in part?"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Path(line.split()[0]).stem for line in lines if line.strip()]


def find_sbd(home: Path) -> Path | None:
    """SBD's folder with cls/, train.txt and val.txt, in or up to two folders above VOC2012."""
    for folder in (home, home.parent, home.parent.parent):
        for place in SBD_PLACES:
            if (folder / place / "cls").is_dir():
                return folder / place
    return None


def read_lists(home: Path) -> Lists:
    """Names of pictures to train on, of VOC 2012 and of what SBD adds.

    Raises FileNotFoundError when there is no augmented list and no SBD to make one from.
    """
    val = read_names(home / LISTS / "val.txt")
    train = read_names(home / LISTS / "train.txt")
    added, sbd = [], find_sbd(home)
    listed = next((home / LISTS / n for n in AUGMENTED if (home / LISTS / n).is_file()), None)
    if listed is not None:
        added = read_names(listed)
    elif sbd is not None:
        added = sbd_names(sbd, without={*train, *val})
    else:
        raise FileNotFoundError(
            f"{home} is VOC 2012 without its augmented training list: no {' or '.join(AUGMENTED)} "
            f"in {LISTS}, and no {SBD_PLACES[0]} beside VOCdevkit. Training needs both (10,582 "
            "pictures, VOC alone has 1,464): annlib data prepare voc12aug ROOT gets them."
        )
    held_out = set(val)
    names = list(dict.fromkeys(train + added))
    leaked = [name for name in names if name in held_out]
    return Lists([name for name in names if name not in held_out], leaked, train)


def sbd_names(sbd: Path, without: set[str]) -> list[str]:
    """Pictures of both lists of SBD, which divides them in its own way, sorted by name."""
    names = {*read_names(sbd / "train.txt"), *read_names(sbd / "val.txt")}
    return sorted(names - without)


def label_files(home: Path, lists: Lists) -> list[Path]:
    """The labels of each name of `train`, sorted by name: VOC's own, or what SBD adds.

    VOC's have a border of 255 and come first. Where there are none, the path where they should be.
    """
    sbd, own = find_sbd(home), set(lists.own)
    paths = []
    for name in sorted(lists.train):
        places = [home / "SegmentationClass" / f"{name}.png"]
        places.append(home / "SegmentationClassAug" / f"{name}.png")
        if sbd is not None:
            places.append(sbd / "cls" / f"{name}.mat")
        expected = places[0] if name in own else places[-1]
        paths.append(next((path for path in places if path.is_file()), expected))
    return paths


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
