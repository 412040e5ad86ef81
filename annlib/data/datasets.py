"""Image and label files as torch data sets, and the training and validation split of a data set."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from annlib.config import IGNORE_INDEX, DataConfig
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.classes import BALLOON_TOWN, BENCHMARKS, CAMVID, DatasetSpec, folder_spec
from annlib.data.folders import LOOKS, check_complete, find_pairs
from annlib.data.io import read_image, read_labels
from annlib.data.loader import Transformed
from annlib.data.transforms import Transform, to_tensors, training_transform

TRAIN_SCENES, VAL_SCENES = 400, 200
FIRST_VAL_SEED = 1_000_000  # held out: no training scene has such a seed
KEEP_BELOW_BYTES = 2**30  # decoded training images are kept in memory up to this size
BUILT_IN = {spec.name: spec for spec in (BALLOON_TOWN, CAMVID, *BENCHMARKS)}


class SegmentationFolder(Dataset):
    """The pairs of a split below root, in the layout of `spec`: plain folders or a benchmark's.

    Plain: `images/NAME.*` and `labels/NAME.png` below root/split, or root if split is "".
    [i] -> image float32 (3, H, W) normalised, labels int64 (H, W) with 255 ignored, as `transform`
    makes them from uint8.
    Raises FileNotFoundError for a missing folder or label, ValueError for files that do not match.
    """

    def __init__(self, root: Path, spec: DatasetSpec, split: str, transform: Transform):
        self.transform = transform
        pairs = find_pairs(Path(root), spec, split)
        check_complete(pairs, Path(root))
        self.images, self.labels, self.spec = pairs.images, pairs.labels, pairs.spec
        self.kept: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(*self.read(index))

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The pair before the transform: uint8 (3, H, W) RGB, uint8 (H, W) class indices."""
        if self.kept:
            return self.kept[index]
        return read_pair(self.images[index], self.labels[index], self.spec)

    def keep_below(self, most_bytes: int) -> None:
        """Decodes all pairs once and keeps them in memory, if they fit into `most_bytes`.

        A small set is read many times over: decoding it each time would cost a CPU more than
        training does. Workers that are forked later share the memory, spawned ones copy it.
        """
        kept, num_bytes = [], 0
        for index in range(len(self)):
            kept.append(self.read(index))
            num_bytes += sum(tensor.nbytes for tensor in kept[-1])
            if num_bytes > most_bytes:
                return
        self.kept = kept


def read_pair(image_path: Path, label_path: Path, spec: DatasetSpec) -> tuple[Tensor, Tensor]:
    """uint8 (3, H, W) RGB, uint8 (H, W) class indices with 255 ignored.

    Raises ValueError when sizes differ or the data set has no such label.
    """
    image, values = read_image(image_path), read_labels(label_path)
    if image.shape[1:] != values.shape:
        raise ValueError(
            f"{image_path} is {tuple(image.shape[1:])} but {label_path} is "
            f"{tuple(values.shape)} (height, width): the pair does not belong together. (An image "
            "that its camera marked as turned is read upright; so must its labels be.)"
        )
    check_values(values, spec, label_path)
    # NumPy looks bytes up four times as fast as torch.
    return image, torch.from_numpy(spec.label_table().numpy().take(values.numpy()))


def check_values(values: Tensor, spec: DatasetSpec, path: Path) -> None:
    """Raises ValueError when a label file (uint8, any shape) holds a value unknown in `spec`."""
    counts = torch.bincount(values.flatten(), minlength=256).tolist()
    present = {value for value in range(256) if counts[value]}
    unknown = sorted(present - spec.known_values)
    if not unknown:
        return
    cause = (
        "Values like these come from colours saved as grey, or from labels that were resized "
        "smoothly or saved as JPEG. Labels are indices: make them again, resized to the nearest."
    )
    fitting = [s.name for s in BENCHMARKS if s.name != spec.name and present <= s.known_values]
    if fitting:
        cause = (
            f"All values of this file are known in {' and '.join(fitting)}: are these the labels "
            "of another data set?"
        )
    listed = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
    raise ValueError(
        f"{path} holds the label {listed}, but {spec.name} has {spec.num_classes} classes: its "
        f"label files hold {in_words(spec.known_values)}. {cause}"
    )


def in_words(values: set[int]) -> str:
    """Neighbours are combined: 0..18 and 255"""
    starts = sorted(v for v in values if v - 1 not in values)
    ends = sorted(v for v in values if v + 1 not in values)
    spans = [f"{a}..{b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True)]
    return ", ".join(spans[:-1]) + " and " * (len(spans) > 1) + spans[-1]


def label_pixels(dataset: SegmentationFolder) -> Tensor:
    """Counts the pixels of each class index in all label files, int64 (256,), with 255 ignored."""
    counts = torch.zeros(256, dtype=torch.int64)
    for index in range(len(dataset)):
        counts += torch.bincount(dataset.read(index)[1].flatten(), minlength=256)
    return counts


def training_problem(pixels: Tensor, spec: DatasetSpec) -> str:
    """Why training on labels with so many pixels of each class index (256,) is useless, or "".

    A folder's own list is refused if a class of it never occurs while 255 does, because 255 may
    stand for that class. `ignore 255` in the list says that it does not. The built-in lists define
    255, and a part of such a data set may lack a rare class.
    """
    present = [name for name, n in zip(spec.class_names, pixels.tolist(), strict=False) if n]
    absent = [name for name in spec.class_names if name not in present]
    own = spec.layout == "folder" and not spec.ignored and spec not in (BALLOON_TOWN, CAMVID)
    ignored = (
        f"255 covers {100 * float(pixels[IGNORE_INDEX] / pixels.sum()):.1f} % of their pixels and "
        "is ignored in training. If 255 stands for a class, as in masks of 0 and 255, add the line "
        f"`255={len(spec.class_names) - 1}` (value=index of the class) to classes.txt"
    )
    if not present:
        return f"no pixel of the training labels has a class: {ignored}."
    if absent and own and pixels[IGNORE_INDEX]:
        names = ", ".join(map(repr, absent[:5])) + ", ..." * (len(absent) > 5)
        never = f"es {names} never occur" if len(absent) > 1 else f" {names} never occurs"
        return (
            f"the class{never} in the training labels, but {ignored}. If 255 means "
            '"not labelled", add the line `ignore 255` to classes.txt.'
        )
    if len(present) == 1:
        return (
            f"the training labels hold no class but {present[0]!r}: a network would learn to "
            "predict it everywhere. The label files must hold at least two classes."
        )
    return ""


def class_balance(pixels: Tensor, spec: DatasetSpec) -> tuple[float, ...]:
    """A weight for each class: the root of (median frequency / its frequency).

    pixels: of each class index (256,). A class that never occurs weighs 1. The median is Eigen and
    Fergus' (ICCV 2015), the root keeps a handful of rare pixels from dominating the loss.
    """
    counts = pixels[: spec.num_classes].double()
    median = counts[counts > 0].median()
    weights = torch.where(counts > 0, (median / counts.clamp(min=1)).sqrt(), 1.0)
    return tuple(round(float(weight), 4) for weight in weights)


class DatasetSplits(NamedTuple):
    """[i] of either -> image float32 (3, H, W) normalised, labels int64 (H, W)."""

    train: Dataset
    val: Dataset
    spec: DatasetSpec


def open_data(config: DataConfig, root: Path | None, classes: str | None = None) -> DatasetSplits:
    """Both splits of a data set: Balloon Town, a benchmark, or `train` and `val` below `root`.

    classes: see `spec_of`. Only training images are augmented and cropped, as `config` says.
    """
    transform = training_transform(config)
    if root is not None:
        root, spec = Path(root), spec_of(config.dataset, Path(root), classes)
        if spec.layout == "folder" and is_one_part(root, "train"):
            raise FileNotFoundError(
                f"{root} holds images/ and labels/ itself, but training needs two splits: "
                f"{root}/train to learn from and {root}/val to be scored on, each with images/ and "
                "labels/. Move most pairs into train and the others into val; classes.txt stays "
                "where it is. (Scenes: `annlib data scenes` once for each split, with different "
                "--first-seed.)"
            )
        train = SegmentationFolder(root, spec, "train", transform)
        if spec.layout == "folder":  # benchmarks are 8 GB and more, decoded
            train.keep_below(KEEP_BELOW_BYTES)
        return DatasetSplits(train, labelled(spec, root, "val"), spec)
    if config.dataset != BALLOON_TOWN.name:
        raise not_shipped(config.dataset)
    if classes is not None:
        raise ValueError(
            f"--classes {classes} says what the labels in a folder mean, but Balloon Town is "
            "painted, not read. Name the folder with --data, or omit --classes."
        )
    train = Transformed(Scenes(TRAIN_SCENES), transform)
    return DatasetSplits(train, labelled(BALLOON_TOWN, None, "val"), BALLOON_TOWN)


def not_shipped(dataset: str) -> FileNotFoundError:
    """Says what the folder of a data set looks like and how to get it."""
    layout, how = LOOKS["folder"] + ", and classes.txt (see README.md)", ""
    if dataset in {spec.name for spec in BENCHMARKS}:
        layout = LOOKS[BUILT_IN[dataset].layout]
        how = (
            f" How to get it: annlib data prepare {dataset} FOLDER. A small imitation to try "
            f"things on: annlib data mimic {dataset} FOLDER"
        )
    message = f"{dataset} is not shipped with annlib: name its folder with --data. It holds "
    return FileNotFoundError(f"{message}{layout}.{how}")


def spec_of(dataset: str, root: Path, classes: str | None) -> DatasetSpec:
    """The classes and the layout of a folder.

    classes: name of a built-in class list ("camvid"). None takes the benchmark that `dataset`
    names, or reads root/classes.txt. Raises KeyError for an unknown list.
    """
    if classes is None and dataset not in {spec.name for spec in BENCHMARKS}:
        return folder_spec(root)
    name = classes or dataset
    if name not in BUILT_IN:
        raise KeyError(f"No built-in class list {name!r}; there are: {', '.join(BUILT_IN)}.")
    return BUILT_IN[name]


def is_one_part(root: Path, split: str) -> bool:
    """Whether images/ lie in the folder itself, as `annlib data scenes` writes them."""
    return (root / "images").is_dir() and not (root / split).is_dir()


def labelled(spec: DatasetSpec, root: Path | None, split: str) -> Dataset:
    """One split without augmentation, for evaluation with the classes a network was trained on.

    A plain folder that is not divided, with images/ and labels/ in it, is used whole.
    """
    if root is not None:
        whole = spec.layout == "folder" and is_one_part(Path(root), split)
        return SegmentationFolder(Path(root), spec, "" if whole else split, to_tensors)
    if spec.name != BALLOON_TOWN.name:
        raise not_shipped(spec.name)
    if split not in ("train", "val"):
        raise ValueError(f"Balloon Town has the splits train and val, and no {split}.")
    scenes = Scenes(TRAIN_SCENES) if split == "train" else Scenes(VAL_SCENES, FIRST_VAL_SEED)
    return Transformed(scenes, to_tensors)
