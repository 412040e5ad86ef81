"""Where the images and labels of each data set lie, and which image belongs to which label."""

import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from annlib.data.classes import CITYSCAPES_TRAIN_IDS, DatasetSpec, Layout
from annlib.data.io import need_scipy, read_text

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")
TABLES = tomllib.loads(Path(__file__).with_name("layouts.toml").read_text())
SUFFIXES, OTHER_SUFFIXES = tuple(TABLES["suffixes"]), {*TABLES["other_suffixes"]}
ADE20K_FOLDERS = {"train": "training", "val": "validation"}
LISTS = Path("ImageSets/Segmentation")
AUGMENTED = ("trainaug.txt", "aug.txt")  # either the whole training list, or what comes on top
SBD_PLACES = ("benchmark_RELEASE/dataset", "VOCaug/dataset")
LOOKS: dict[Layout, str] = TABLES["looks"]
MARKS: dict[Layout, list[str]] = TABLES["marks"]


def locate(root: Path, layout: Layout) -> Path | None:
    """The folder that holds a benchmark's parts, at or below `root`; None if there is none."""
    first = MARKS[layout][0]
    found = (root / mark.removesuffix(first) for mark in MARKS[layout] if (root / mark).is_dir())
    return next(found, None)


def find_home(root: Path, layout: Layout) -> Path:
    """The same, or a FileNotFoundError that says what the folder holds instead."""
    if home := locate(root, layout):
        return home
    if not root.is_dir():
        text = f"Name the one that holds {layout}: {LOOKS[layout]}."
        raise FileNotFoundError(f"There is no folder {root}. {text}")
    folders = [*root.absolute().parents[:3], *sorted(p for p in root.iterdir() if p.is_dir())]
    causes = [f"It lies in {p}: name that folder." for p in folders if locate(p, layout)]
    others = [{"folder": "a plain folder"}.get(o, o) for o in LOOKS if locate(root, o)]
    causes += [f"This looks like {other}." for other in others]
    causes.append(f"How to get it: annlib data prepare {layout} {root}")
    said = f"There is no {layout} in {root}: looked for {LOOKS[layout]}, but the folder holds"
    raise FileNotFoundError(f"{said} {contents(root)}. {packed_there(root) or causes[0]}")


def contents(folder: Path) -> str:
    """The first six names in a folder, for a message."""
    return listed(sorted(p.name + "/" * p.is_dir() for p in folder.iterdir()), 6)


def listed(names: list[str], most: int = 3) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - most} more" * (len(names) > most)
    return (", ".join(names[:most]) or "nothing") + more


def packed_there(root: Path) -> str:
    """A question about archives in a folder; empty if there is none."""
    paths = sorted(root.iterdir()) if root.is_dir() else []
    names = ", ".join(path.name for path in paths if path.name.lower().endswith(ARCHIVES))
    return f"There lies {names}: was it unpacked, and to the end?" if names else ""


def missing(message: str, root: Path) -> FileNotFoundError:
    return FileNotFoundError(f"{message} {packed_there(root)}".rstrip())


class Pairs(NamedTuple):
    """Images and the label file of each (both may be missing), how to read these, and problems."""

    images: list[Path]
    labels: list[Path]
    spec: DatasetSpec
    problems: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()  # problems with which training does not start

    @property
    def hint(self) -> str:
        """What to do where no label file is in its place."""
        said = " Labels in masks/, NAME_mask.png, .tif, inner folders: see `annlib data convert`."
        return said * (not any(path.is_file() for path in self.labels))


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without hidden files such as the `._NAME` that macOS adds on other disks."""
    return sorted(path for path in paths if not path.name.startswith("."))


def find_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """The pairs of a split ("train", "val"), sorted by name; where they are, LOOKS tells.

    Cityscapes' labels are *_labelIds.png, or *_labelTrainIds.png if there are only these.
    Raises FileNotFoundError for a root without the layout and for a split without an image.
    """
    if spec.layout == "voc12aug":
        return find_voc_pairs(root, spec, split)
    if spec.layout == "cityscapes":
        home = find_home(root, "cityscapes")
        labels, suffix = home / "gtFine" / split, "labelIds"
        kinds = {path.stem.rpartition("_")[2] for path in visible(labels.glob("*/*_label*.png"))}
        if "labelTrainIds" in kinds and "labelIds" not in kinds:
            suffix, spec = "labelTrainIds", CITYSCAPES_TRAIN_IDS
        folder = home / "leftImg8bit" / split
        images = visible(folder.glob("*/*_leftImg8bit.png"))
        check_not_empty(images, folder / "CITY", "*_leftImg8bit.png", root)
        names = (f"{p.parent.name}/{p.name.removesuffix('_leftImg8bit.png')}" for p in images)
        return Pairs(images, [labels / f"{name}_gtFine_{suffix}.png" for name in names], spec)
    folder, label_folder = root / split / "images", root / split / "labels"
    if spec.layout == "ade20k":
        home, part = find_home(root, "ade20k"), ADE20K_FOLDERS.get(split, split)
        folder, label_folder = home / "images" / part, home / "annotations" / part
    elif not folder.is_dir():
        text = f"There is no folder {folder}. A data set looks like this: {folder}/NAME.jpg and"
        there = f" {root} holds {contents(root)}." if root.is_dir() else ""
        raise missing(f"{text} {label_folder}/NAME.png, one class index per pixel.{there}", root)
    files = visible(folder.glob("*"))
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    inner = [p for p in visible(folder.glob("[!.@]*/**/*")) if p.suffix.lower() in SUFFIXES]
    problems, refused = unread(files, folder), []
    if inner:
        said = f"`annlib data convert {root} NEW_FOLDER` makes a data set of all."
        refused += [f"{inner[0].parent} holds images, but folders in images/ are not read: {said}"]
    if not images and (problems or refused):
        raise FileNotFoundError((problems + refused)[0])
    check_not_empty(images, folder, f"image ({', '.join(SUFFIXES)})", root)
    # Unicode has two spellings of a letter with an accent; macOS and others differ in their choice.
    there, labels = defaultdict(list), []
    for path in visible(label_folder.glob("*.[pP][nN][gG]")):
        there[normalize("NFC", path.stem)].append(path)
    for image in images:
        exact = label_folder / f"{image.stem}.png"
        paths = there[normalize("NFC", image.stem)] or [exact]
        labels.append(exact if exact in paths else paths[0])
        if len(paths) > 1:
            refused.append(f"Keep one label file for {image}: {', '.join(map(str, paths))}.")
    return Pairs(images, labels, spec, tuple(problems), tuple(refused))


def unread(files: Iterable[Path], folder: Path) -> list[str]:
    """A problem if files have suffixes of images that are not read."""
    found = Counter(path.suffix.lower() for path in files)
    counts = ", ".join(f"{found[suffix]} {suffix}" for suffix in found if suffix in OTHER_SUFFIXES)
    remedy = f"Convert them to JPEG or PNG, or move them away: {counts} in {folder} cannot be read."
    return [remedy] if counts else []


def read_names(path: Path) -> list[str]:
    """A name on each line; `/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png` is read, too."""
    if not path.is_file():
        said = f"There is no {path}: it lists images of VOC 2012, one name a line. Was its archive,"
        raise FileNotFoundError(f"{said} VOCtrainval_11-May-2012.tar, unpacked only in part?")
    return [Path(line.split()[0]).stem for line in read_text(path).splitlines() if line.strip()]


def find_sbd(home: Path) -> Path | None:
    """SBD's folder with cls/, train.txt and val.txt, in or up to two folders above VOC2012."""
    places = (folder / one for folder in (home, *home.parents[:2]) for one in SBD_PLACES)
    return next((place for place in places if (place / "cls").is_dir()), None)


def sbd_names(sbd: Path, without: set[str]) -> list[str]:
    """Images of both lists of SBD, which divides them in its own way."""
    return sorted({*read_names(sbd / "train.txt"), *read_names(sbd / "val.txt")} - without)


def find_voc_pairs(root: Path, spec: DatasetSpec, split: str) -> Pairs:
    """JPEGImages/NAME.jpg and the labels of VOC or SBD, for the names of the split's lists.

    VOC labels 1,464 training images; SBD (Hariharan et al., ICCV 2011) adds 9,118. VOC's own labels
    have a border of 255 and come first; the published scores are on these only.
    """
    home = find_home(root, "voc12aug")
    own = val = read_names(home / LISTS / "val.txt")
    sbd, problems = find_sbd(home), ()
    names, kinds = val, [(home / "SegmentationClass", ".png")]
    if split == "train":
        own = read_names(home / LISTS / "train.txt")
        listed = next((p for p in (home / LISTS / n for n in AUGMENTED) if p.is_file()), None)
        if listed is None and sbd is None:
            said = f"{home} is VOC 2012 without its augmented training list: no "
            said += f"{' or '.join(AUGMENTED)} in {LISTS}, and no {SBD_PLACES[0]} beside VOCdevkit."
            said += " VOC alone has 1,464 of 10,582 images: annlib data prepare voc12aug gets all."
            raise FileNotFoundError(said)
        added = read_names(listed) if listed else sbd_names(sbd, without={*own, *val})
        leaked = [name for name in dict.fromkeys(own + added) if name in {*val}]
        problems = tuple(f"image of val in a training list: {name}" for name in leaked)
        names = {*own, *added} - {*val}
        kinds += [(home / "SegmentationClassAug", ".png")]
        kinds += [(sbd / "cls", ".mat")] if sbd else []
    check_not_empty(names, home / LISTS, f"name for {split}", root)
    labels, own = [], set(own)
    for name in sorted(names):
        places = [folder / f"{name}{suffix}" for folder, suffix in kinds]
        expected = places[0] if name in own else places[-1]
        labels.append(next((path for path in places if path.is_file()), expected))
    if any(path.suffix == ".mat" for path in labels):
        need_scipy(home)
    images = [home / "JPEGImages" / f"{name}.jpg" for name in sorted(names)]
    return Pairs(images, labels, spec, problems)


def shared_labels(pairs: Pairs) -> list[str]:
    """`refused`, and a problem for each label file of two images, such as a.jpg and a.png."""
    images_of = defaultdict(set)
    for image, label in zip(pairs.images, pairs.labels, strict=True):
        images_of[label].add(image)
    said = "Keep the image that the labels were made for, and move the other away."
    twice = [(label, sorted(map(str, some))) for label, some in images_of.items() if len(some) > 1]
    twice = [f"{len(m)} images for the label file {f}: {', '.join(m)}. {said}" for f, m in twice]
    return [*pairs.refused, *twice]


def check_not_empty(found: Iterable, folder: Path, what: str, root: Path) -> None:
    if not found:
        raise missing(f"{folder} holds no {what}. {root} holds {contents(root)}.", root)


def check_complete(pairs: Pairs, root: Path) -> None:
    """Raises FileNotFoundError for missing images or labels, ValueError for a label file of two."""
    total = len(pairs.images)
    if gone := [image for image in pairs.images if not image.is_file()]:
        raise missing(f"{len(gone)} of {total} images are missing, the first is {gone[0]}.", root)
    if shared := shared_labels(pairs):
        raise ValueError(shared[0] + f" ({len(shared)} such problems.)" * (len(shared) > 1))
    both = zip(pairs.images, pairs.labels, strict=True)
    if unlabelled := [pair for pair in both if not pair[1].is_file()]:
        image, label = unlabelled[0]
        text = f"{len(unlabelled)} of {total} images have no labels, the first is {image}: expected"
        raise missing(f"{text} {label}. Add the labels or move the image away.{pairs.hint}", root)
