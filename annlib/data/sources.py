"""From the name of a data set to its training and its test half."""

from pathlib import Path
from typing import NamedTuple

from torch.utils.data import Dataset

from annlib.config import DataConfig
from annlib.data.benchmarks import BENCHMARKS
from annlib.data.classes import BALLOON_TOWN, CAMVID, DatasetSpec, folder_spec
from annlib.data.datasets import SegmentationFolder
from annlib.data.loading import Transformed
from annlib.data.normalise import to_tensors
from annlib.data.roots import HOMES
from annlib.data.scenes import Scenes
from annlib.data.transforms import training_transform

TRAIN_SCENES, VAL_SCENES = 400, 200
FIRST_VAL_SEED = 1_000_000  # held out: no training scene has such a seed
KEEP_BELOW_BYTES = 2**30  # decoded training pictures are held in memory up to this size
BUILT_IN = {spec.name: spec for spec in (BALLOON_TOWN, CAMVID, *BENCHMARKS)}


class Halves(NamedTuple):
    """[i] of either -> image float32 (3, H, W) normalised, labels int64 (H, W)."""

    train: Dataset
    val: Dataset
    spec: DatasetSpec


def open_data(config: DataConfig, root: Path | None, classes: str | None = None) -> Halves:
    """The two halves of a data set: Balloon Town, a benchmark, or `train` and `val` below `root`.

    classes: name of a built-in class list ("camvid"), which tells the layout of the folder, too.
    None takes the benchmark that the configuration names, or reads root/classes.txt.
    """
    if root is not None:
        return open_folder(config, Path(root), spec_of(config.dataset, Path(root), classes))
    if config.dataset == "balloon_town":
        refuse_classes(classes)
        return open_town(config)
    raise FileNotFoundError(where_it_could_be(config.dataset))


def spec_of(dataset: str, root: Path, classes: str | None) -> DatasetSpec:
    """The class list that was asked for, that of the benchmark, or that of the folder."""
    if classes is not None:
        return built_in_spec(classes)
    if dataset in {spec.name for spec in BENCHMARKS}:
        return BUILT_IN[dataset]
    return folder_spec(root)


def where_it_could_be(dataset: str) -> str:
    """What to do about a data set that was not named by its folder."""
    if dataset in {spec.name for spec in BENCHMARKS}:
        return (
            f"{dataset} is not shipped with annlib: name its folder with --data. It holds "
            f"{HOMES[BUILT_IN[dataset].layout].looks}. How to get it: annlib data prepare "
            f"{dataset} FOLDER. A small imitation to try things on: annlib data mimic {dataset} "
            "FOLDER"
        )
    return (
        f"{dataset} is not shipped with annlib: name its folder with --data. It holds "
        "train/images, train/labels, val/images, val/labels and classes.txt (see README.md)."
    )


def refuse_classes(classes: str | None) -> None:
    """Raises ValueError when Balloon Town, which has its own, is given a class list."""
    if classes is not None:
        raise ValueError(
            f"--classes {classes} says what the labels in a folder mean, but Balloon Town is "
            "painted, not read. Name the folder with --data, or leave --classes away."
        )


def open_town(config: DataConfig) -> Halves:
    train = Transformed(Scenes(TRAIN_SCENES), training_transform(config))
    return Halves(train, labelled(BALLOON_TOWN, None, "val"), BALLOON_TOWN)


def open_folder(config: DataConfig, root: Path, spec: DatasetSpec) -> Halves:
    """Both halves of a data set on disk, the training half cut as `config` says."""
    if spec.layout == "folder":
        refuse_one_part(root)
    train = SegmentationFolder(root, spec, "train", training_transform(config))
    if spec.layout == "folder":  # benchmarks are 8 GB and more, decoded
        train.keep_below(KEEP_BELOW_BYTES)
    return Halves(train, labelled(spec, root, "val"), spec)


def refuse_one_part(root: Path) -> None:
    """Raises FileNotFoundError for a folder that is not divided into two halves."""
    if is_one_part(root, "train"):
        raise FileNotFoundError(
            f"{root} holds images/ and labels/ itself, but training needs two halves: {root}/train "
            f"to learn from and {root}/val to be scored on, each with images/ and labels/. Move "
            "most pairs into train and the others into val; classes.txt stays where it is. "
            "(Scenes: `annlib scenes` once for each half, with different --first-seed.)"
        )


def is_one_part(root: Path, split: str) -> bool:
    """Whether images/ lie in the folder itself, as `annlib scenes` writes them."""
    return (root / "images").is_dir() and not (root / split).is_dir()


def built_in_spec(classes: str) -> DatasetSpec:
    if classes not in BUILT_IN:
        raise KeyError(f"No built-in class list {classes!r}; there are: {', '.join(BUILT_IN)}.")
    return BUILT_IN[classes]


def labelled(spec: DatasetSpec, root: Path | None, split: str) -> Dataset:
    """One half of a data set as it is, for evaluation with the classes a network was trained on.

    A plain folder that is not divided, with images/ and labels/ in it, is taken whole.
    """
    if root is not None:
        whole = spec.layout == "folder" and is_one_part(Path(root), split)
        return SegmentationFolder(Path(root), spec, "" if whole else split, to_tensors)
    if spec.name != BALLOON_TOWN.name:
        raise FileNotFoundError(
            f"{spec.name} is not shipped with annlib: name its folder (--data)."
        )
    scenes = Scenes(TRAIN_SCENES) if split == "train" else Scenes(VAL_SCENES, FIRST_VAL_SEED)
    return Transformed(scenes, to_tensors)
