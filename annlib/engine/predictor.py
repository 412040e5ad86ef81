"""Finds a network by name or file, segments images, and writes predictions."""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from annlib.config import Precision, TestConfig, experiment_from, with_tuples
from annlib.data.classes import DatasetSpec, folder_spec
from annlib.data.datasets import BUILT_IN
from annlib.data.io import read_image
from annlib.data.transforms import normalise
from annlib.engine.distributed import wait_for_all
from annlib.engine.inference import Label, make_label_predictor
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import build_model
from annlib.model.checkpoint import Checkpoint, checksum, load, restore, write_atomically
from annlib.model.fused import fuse_for_inference
from annlib.model.hub import load_published
from annlib.zoo import published


class Network(NamedTuple):
    """Weights that can be had, with the classes they tell apart and the way they are tested."""

    name: str
    spec: DatasetSpec
    test: TestConfig
    load: Callable[[], ANN | Baseline]  # reads the weights, or fetches them first


def find_network(what: str) -> Network:
    """The network of a .safetensors file, or of the published row of that name.

    Raises FileNotFoundError for a missing file, KeyError with the nearest names for an unknown row.
    """
    path = Path(what)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return network_of(load(path))
    row = published(what).experiment
    return Network(
        row.name,
        BUILT_IN[row.data.dataset],
        row.test,
        lambda: load_published(row.name),
    )


def network_of(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint, with the classes and the way of testing of its training."""
    return Network(
        checkpoint.path.name,
        classes_of(checkpoint),
        test_config(checkpoint),
        lambda: restored(checkpoint),
    )


def load_in_turn(network: Network) -> ANN | Baseline:
    """Its model; the first process of a machine goes ahead, the others find what it fetched."""
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    model = network.load() if is_first else None
    wait_for_all()
    return model if model is not None else network.load()


def restored(checkpoint: Checkpoint) -> ANN | Baseline:
    model = build_model(checkpoint.config)
    restore(checkpoint, model)
    return model


def test_config(checkpoint: Checkpoint) -> TestConfig:
    """How the run that wrote the checkpoint tests; a bare one gets the whole picture as it is."""
    if "experiment" not in checkpoint.notes:
        return TestConfig()
    return experiment_from(checkpoint.notes["experiment"]).test


def classes_of(checkpoint: Checkpoint) -> DatasetSpec:
    """The class names and colours that were trained on."""
    dataset = checkpoint.notes.get("experiment", {}).get("data", {}).get("dataset")
    if "classes" not in checkpoint.notes and dataset in BUILT_IN:  # fetched, not trained here
        return BUILT_IN[dataset]
    if "classes" not in checkpoint.notes:
        raise ValueError(
            f"{checkpoint.path} does not say what its {checkpoint.config.num_classes} classes are. "
            "Checkpoints written by `annlib train` do."
        )
    values = with_tuples(checkpoint.notes["classes"])
    spec = DatasetSpec(**values | {"palette": tuple(map(tuple, values["palette"]))})
    if spec.num_classes != checkpoint.config.num_classes:
        raise ValueError(
            f"{checkpoint.path} tells {checkpoint.config.num_classes} classes apart, but names "
            f"{spec.num_classes} of {spec.name}: a prediction could not be given its name. It was "
            "not written by `annlib train`; train it again, or save it with its own class list."
        )
    return spec


def check_folder_classes(spec: DatasetSpec, root: Path | None) -> None:
    """Raises ValueError when a folder's classes.txt is not the list that a network learnt."""
    if root is None or not (root / "classes.txt").is_file():
        return
    learnt, there = spec.class_names, folder_spec(root).class_names
    if learnt == there:
        return
    places = range(max(len(learnt), len(there)))
    differing = [
        f"{place}: {name_at(learnt, place)} / {name_at(there, place)}"
        for place in places
        if name_at(learnt, place) != name_at(there, place)
    ]
    raise ValueError(
        f"The network learnt {len(learnt)} classes of {spec.name}, {root / 'classes.txt'} names "
        f"{len(there)}. They differ at {', '.join(differing[:5])}"
        f"{' and further on' if len(differing) > 5 else ''} (network / folder). Labels would be "
        "taken for other classes: name the folder that it was trained for, or train on this one."
    )


def name_at(names: tuple[str, ...], place: int) -> str:
    return names[place] if place < len(names) else "none"


def colour(labels: Tensor, spec: DatasetSpec) -> np.ndarray:
    """uint8 (H, W) class indices -> uint8 (H, W, 3) RGB; pixels without a class are black"""
    return spec.colour_table()[labels.int()].numpy()


def label_picture(labels: Tensor, spec: DatasetSpec) -> Image.Image:
    """uint8 (H, W) class indices -> a picture of the values that stand in the data set's own files

    Cityscapes: labelIds, 7 for road. ADE20K: index + 1. Pascal VOC: the index, with its palette.
    """
    picture = Image.fromarray(spec.value_table()[labels.int()].numpy())
    if spec.layout == "voc12aug":
        picture.putpalette(np.array(spec.palette, np.uint8).tobytes())
    return picture


def save_prediction(labels: Tensor, spec: DatasetSpec, folder: Path, name: str) -> None:
    """Writes colours/NAME.png and labels/NAME.png.  labels: uint8 (H, W) class indices

    With NAME of the photograph's file, the folder `labels` is what a benchmark's server takes.
    """
    write_png(Image.fromarray(colour(labels, spec)), folder / "colours" / f"{name}.png")
    write_png(label_picture(labels, spec), folder / "labels" / f"{name}.png")


def write_png(image: Image.Image, path: Path) -> None:
    """Whole or not at all: who goes on with an interrupted evaluation relies on the file."""
    content = BytesIO()
    image.save(content, "png")
    write_atomically(path, content.getvalue())


class Segmenter(NamedTuple):
    """A trained network at work, together with the names of what it can see."""

    model: nn.Module  # frozen: it can do nothing but answer
    weights_crc32: str  # of the network before: freezing rounds otherwise on another machine
    spec: DatasetSpec
    test: TestConfig
    precision: Precision
    label: Label

    def labels_of(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W) RGB -> uint8 (H, W) class indices"""
        return self.label(normalise(image)[None])[0].cpu()


def segmenter(
    network: Network,
    device: torch.device,
    test: TestConfig | None = None,
    precision: Precision = "fp32",
) -> Segmenter:
    """The network, loaded and ready to be given photographs.

    test: None for the network's own.
    """
    test = test or network.test
    model = load_in_turn(network)
    weights_crc32 = checksum("", model.state_dict())
    model = fuse_for_inference(model).to(device, memory_format=torch.channels_last)
    label = make_label_predictor(model, test, precision)
    return Segmenter(model, weights_crc32, network.spec, test, precision, label)


def segment_photo(path: Path, segmenter: Segmenter, folder: Path) -> dict[str, float]:
    """Writes NAME.overlay.png, NAME.colours.png and NAME.labels.png; returns shares by class.

    Shares are of all pixels, largest first, classes that do not occur left out.
    """
    image = read_image(path)
    labels = segmenter.labels_of(image)
    colours = colour(labels, segmenter.spec)
    overlay = (0.5 * image.permute(1, 2, 0).numpy() + 0.5 * colours).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, pixels in (("overlay", overlay), ("colours", colours), ("labels", labels.numpy())):
        Image.fromarray(pixels).save(folder / f"{path.stem}.{kind}.png")
    counts = torch.bincount(labels.flatten().int(), minlength=segmenter.spec.num_classes)
    shares = {
        name: int(n) / labels.numel()
        for name, n in zip(segmenter.spec.class_names, counts, strict=True)
    }
    return {name: s for name, s in sorted(shares.items(), key=lambda item: -item[1]) if s > 0}
