"""From the name of a data set to its training and its test half."""

from pathlib import Path
from typing import NamedTuple

from torch.utils.data import Dataset

from annlib.config import DataConfig
from annlib.data.datasets import (
    BALLOON_TOWN,
    BUILT_IN,
    DatasetSpec,
    SegmentationFolder,
    folder_spec,
)
from annlib.data.loading import Transformed
from annlib.data.normalise import to_tensors
from annlib.data.scenes import Scenes
from annlib.data.transforms import training_transform

TRAIN_SCENES, VAL_SCENES = 400, 200
FIRST_VAL_SEED = 1_000_000  # held out: no training scene has such a seed
KEEP_BELOW_BYTES = 2**30  # decoded training pictures are held in memory up to this size


class Halves(NamedTuple):
    """[i] of either -> image float32 (3, H, W) normalised, labels int64 (H, W)."""

    train: Dataset
    val: Dataset
    spec: DatasetSpec


def open_data(config: DataConfig, root: Path | None, classes: str | None = None) -> Halves:
    """The two halves of a data set: Balloon Town, or `train` and `val` below `root`.

    classes: name of a built-in class list ("camvid"); None reads root/classes.txt.
    """
    if root is not None:
        return open_folder(config, root, classes)
    if config.dataset == "balloon_town":
        return open_town(config)
    raise FileNotFoundError(
        f"{config.dataset} is not shipped with annlib: name its folder with --data. It holds "
        "train/images, train/labels, val/images, val/labels and classes.txt (see README.md)."
    )


def open_town(config: DataConfig) -> Halves:
    train = Transformed(Scenes(TRAIN_SCENES), training_transform(config))
    return Halves(train, labelled(BALLOON_TOWN, None, "val"), BALLOON_TOWN)


def open_folder(config: DataConfig, root: Path, classes: str | None) -> Halves:
    root = Path(root)
    spec = folder_spec(root) if classes is None else built_in_spec(classes)
    train = SegmentationFolder(root, spec, "train", training_transform(config))
    train.keep_below(KEEP_BELOW_BYTES)
    return Halves(train, labelled(spec, root, "val"), spec)


def built_in_spec(classes: str) -> DatasetSpec:
    if classes not in BUILT_IN:
        raise KeyError(f"No built-in class list {classes!r}; there are: {', '.join(BUILT_IN)}.")
    return BUILT_IN[classes]


def labelled(spec: DatasetSpec, root: Path | None, split: str) -> Dataset:
    """One half of a data set as it is, for evaluation with the classes a network was trained on."""
    if root is not None:
        return SegmentationFolder(Path(root), spec, split, to_tensors)
    if spec.name != BALLOON_TOWN.name:
        raise FileNotFoundError(
            f"{spec.name} is not shipped with annlib: name its folder (--data)."
        )
    scenes = Scenes(TRAIN_SCENES) if split == "train" else Scenes(VAL_SCENES, FIRST_VAL_SEED)
    return Transformed(scenes, to_tensors)
