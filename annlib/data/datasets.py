"""Image and label files as torch data sets, and the training and validation split of a data set."""

import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from annlib.config import DataConfig
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.classes import BALLOON_TOWN, BENCHMARKS, BUILT_IN, DatasetSpec, folder_spec
from annlib.data.folders import LOOKS, check_complete, find_pairs
from annlib.data.io import check_order, read_image, read_label_file
from annlib.data.loader import Transformed
from annlib.data.transforms import Pair, Transform, to_tensors, training_transform

TRAIN_SCENES, VAL_SCENES = 400, 200
FIRST_VAL_SEED = 1_000_000  # held out: no training scene has such a seed
KEEP_BELOW_BYTES = 2**30  # decoded training images are kept in memory up to this size


class SegmentationFolder(Dataset):
    """The pairs of a split, see `find_pairs`; split "" for a root that is not divided.

    [i] -> what `transform` makes of image uint8 (3, H, W), class indices uint8 (H, W)
    """

    def __init__(self, root: Path, spec: DatasetSpec, split: str, transform: Transform):
        self.transform, self.seen = transform, {}  # the second: see `check_order`
        pairs = find_pairs(Path(root), spec, split)
        check_complete(pairs, Path(root))
        for problem in pairs.problems[:3]:
            warnings.warn(problem, stacklevel=2)
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
        return read_pair(self.images[index], self.labels[index], self.spec, self.seen)

    def keep_below(self, most_bytes: int) -> None:
        """Keeps decoded pairs in memory if all fit: decoding again costs more than training."""
        kept, left = [], most_bytes
        for index in range(len(self)):
            kept.append(self.read(index))
            left -= sum(tensor.nbytes for tensor in kept[-1])
            if left < 0:
                return
        self.kept = kept


def read_pair(image_path: Path, label_path: Path, spec: DatasetSpec, seen: dict) -> Pair:
    """uint8 (3, H, W) RGB, uint8 (H, W) class indices; ValueError for other sizes or labels."""
    image, (values, palette) = read_image(image_path), read_label_file(label_path)
    if image.shape[1:] != values.shape:
        sizes = f"{image_path} is {(*image.shape[1:],)} but {label_path} is {(*values.shape,)}"
        said = f"{sizes} (height, width): the pair does not belong together. (An image that its"
        raise ValueError(f"{said} camera marked as turned is read upright; so must its labels be.)")
    check_values(values, spec, label_path)
    if palette:
        check_palette(palette, values, spec, label_path)
        check_order(label_path, palette, values.numpy(), seen)
    # NumPy looks bytes up four times as fast as torch.
    return image, torch.from_numpy(spec.label_table().numpy().take(values.numpy()))


def check_values(values: Tensor, spec: DatasetSpec, path: Path) -> None:
    """Raises ValueError when a label file (uint8, any shape) holds a value unknown in `spec`."""
    present = set(torch.bincount(values.flatten()).nonzero().flatten().tolist())
    if not (unknown := sorted(present - spec.known_values)):
        return
    fitting = [s.name for s in BENCHMARKS if s.name != spec.name and present <= s.known_values]
    if spec.layout == "folder":  # a few small values lie in the range of every benchmark
        fitting = [n for n in fitting if 3 * len(present) >= BUILT_IN[n].num_classes]
    cause = "Values like these come from colours saved as grey, or from labels resized smoothly or"
    cause += " saved as JPEG. Labels are indices: make them again, resized to the nearest."
    if fitting:
        cause = f"All values are known in {' and '.join(fitting)}: the labels of another data set?"
    own = spec.layout == "folder" and spec.name not in BUILT_IN
    if own and unknown == [spec.num_classes] and 0 not in present:
        cause = "Do the labels begin at 1? `annlib data convert FROM TO --shift -1` corrects that."
    elif own and len(unknown) == 1:
        ignore = f"add the line `ignore {unknown[0]}` to classes.txt"
        first = "If 0 is a background, list it first. " * (unknown == [spec.num_classes])
        cause = f"{first}If {unknown[0]} means that a pixel is not labelled, {ignore}. {cause}"
    listed = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
    said = f"{path} holds the label {listed}, but {spec.name} has {spec.num_classes} classes"
    raise ValueError(f"{said}: its label files hold {in_words(spec.known_values)}. {cause}")


def check_palette(palette: list[int], values: Tensor, spec: DatasetSpec, path: Path) -> None:
    """Raises ValueError when a label file draws a class in the colour of another class."""
    class_of, numbers = dict(zip(spec.palette, spec.class_names, strict=True)), spec.class_values
    for value, name, ours in zip(numbers, spec.class_names, spec.palette, strict=True):
        colour = tuple(palette[3 * value : 3 * value + 3])
        other = class_of.get(colour, name)
        if colour != ours and other != name and (values == value).any():
            said = f"{path}: the value {value} is {name} in the class list of {spec.name}, but the"
            said += f" file's palette draws it in {colour}, the colour of {other}. Sort the lines"
            raise ValueError(f"{said} of classes.txt as in the labels, or add lines `value=index`.")


def in_words(values: set[int]) -> str:
    """Neighbours are combined: 0..18 and 255"""
    starts = sorted(v for v in values if v - 1 not in values)
    ends = sorted(v for v in values if v + 1 not in values)
    spans = [f"{a}..{b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True)]
    return ", ".join(spans[:-1]) + " and " * (len(spans) > 1) + spans[-1]


def label_pixels(dataset: SegmentationFolder) -> Tensor:
    """Counts the pixels of each class index in each label file, int64 (files, 256)."""
    labels = (dataset.read(index)[1] for index in range(len(dataset)))
    return torch.stack([torch.bincount(one.flatten(), minlength=256) for one in labels])


def class_balance(pixels: Tensor, spec: DatasetSpec) -> tuple[float, ...]:
    """A weight for each class: the root of (median frequency / its frequency); 1 if it is absent.

    pixels: of each class index, (256,) or (files, 256); median: Eigen and Fergus (ICCV 2015).
    """
    counts = pixels.reshape(-1, 256).sum(0)[: spec.num_classes].double()
    ratios = counts[counts > 0].median() / counts.clamp(min=1)
    return tuple(round(w, 4) for w in torch.where(counts > 0, ratios.sqrt(), 1.0).tolist())


def checksum_of_pair(dataset: Dataset, index: int) -> str:
    """CRC-32 of a label file, and of its image's name, size and beginning; "" if it is rendered."""
    if not isinstance(dataset, SegmentationFolder):
        return ""
    image, label = dataset.images[index], dataset.labels[index]
    with image.open("rb") as file:
        start = file.read(2**13)
    facts = f"{image.name} {image.stat().st_size} ".encode()
    return f"{zlib.crc32(facts + start + label.read_bytes()):08x}"


def checksum(dataset: Dataset) -> str:
    """CRC-32 of all pairs, and of what label values mean."""
    values = dataset.spec.class_values if isinstance(dataset, SegmentationFolder) else ()
    pairs = [checksum_of_pair(dataset, index) for index in range(len(dataset))]
    return f"{zlib.crc32(f'{pairs} {values}'.encode()):08x}"


class DatasetSplits(NamedTuple):
    """[i] of either -> image float32 (3, H, W) normalised, labels int64 (H, W)."""

    train: Dataset
    val: Dataset
    spec: DatasetSpec


def open_data(config: DataConfig, root: Path | None, classes: str | None = None) -> DatasetSplits:
    """Both splits of a data set; only training images are augmented.  classes: see `spec_of`"""
    transform, spec = training_transform(config), BALLOON_TOWN
    if root is not None:
        root, spec = Path(root), spec_of(config.dataset, Path(root), classes)
        if spec.layout == "folder" and is_one_part(root, "train"):
            said = f"In {root}: training needs two splits, train and val, not images/ and labels/:"
            raise FileNotFoundError(f"{said} `annlib data convert {root} NEW_FOLDER` divides it.")
        train = SegmentationFolder(root, spec, "train", transform)
        if spec.layout == "folder":  # benchmarks are 8 GB and more, decoded
            train.keep_below(KEEP_BELOW_BYTES)
    elif config.dataset != spec.name:
        raise not_shipped(config.dataset)
    elif classes is not None:
        said = f"--classes {classes} is for the labels in a folder, but Balloon Town is painted."
        raise ValueError(f"{said} Name the folder with --data, or omit --classes.")
    else:
        train = Transformed(Scenes(TRAIN_SCENES), transform)
    return DatasetSplits(train, labelled(spec, root, "val"), spec)


def not_shipped(dataset: str) -> FileNotFoundError:
    """Says what the folder of a data set looks like and how to get it."""
    message = f"{dataset} is not shipped with annlib: name its folder with --data. It holds "
    if dataset not in {spec.name for spec in BENCHMARKS}:
        return FileNotFoundError(f"{message}{LOOKS['folder']}, and classes.txt (see README.md).")
    message += f"{LOOKS[BUILT_IN[dataset].layout]}. How to get it: annlib data prepare {dataset}"
    return FileNotFoundError(f"{message} FOLDER. An imitation: annlib data mimic {dataset} FOLDER")


def spec_of(dataset: str, root: Path, classes: str | None) -> DatasetSpec:
    """The classes and the layout of a folder.

    classes: name of a built-in list (else KeyError); None: the benchmark's, or root/classes.txt
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
    """One split without augmentation; a plain folder that is not divided is used whole."""
    if root is not None:
        whole = spec.layout == "folder" and is_one_part(Path(root), split)
        return SegmentationFolder(Path(root), spec, "" if whole else split, to_tensors)
    if spec.name != BALLOON_TOWN.name:
        raise not_shipped(spec.name)
    if split not in ("train", "val"):
        raise ValueError(f"Balloon Town has the splits train and val, and no {split}.")
    scenes = Scenes(TRAIN_SCENES) if split == "train" else Scenes(VAL_SCENES, FIRST_VAL_SEED)
    return Transformed(scenes, to_tensors)
