"""Finds a network by name or file, makes it ready for inference, and writes its predictions."""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from annlib.config import Precision, TestConfig, experiment_from, from_json
from annlib.data.classes import BUILT_IN, DatasetSpec
from annlib.engine.inference import Label, make_label_predictor
from annlib.files import write_atomically
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import load_model
from annlib.model.checkpoint import Checkpoint, checksum, load
from annlib.model.fused import fuse_for_inference


class Network(NamedTuple):
    """A trained network, not yet loaded, with its classes and the way it is tested."""

    name: str
    spec: DatasetSpec
    test: TestConfig
    load: Callable[[], ANN | Baseline]  # reads the weights, or downloads them first


def find_network(what: str) -> Network:
    """The network of a .safetensors file, or of the published row of that name (KeyError)."""
    path = Path(what)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return network_of(load(path))
    from annlib.model.hub import load_published
    from annlib.published_experiments import published

    row = published(what).experiment
    return Network(row.name, BUILT_IN[row.data.dataset], row.test, lambda: load_published(row.name))


def network_of(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint, with classes (ValueError if unknown) and test of its run."""
    experiment = checkpoint.notes.get("experiment", {})
    path, num_classes = checkpoint.path, checkpoint.config.num_classes
    test = experiment_from(experiment).test if experiment else TestConfig()
    if "classes" in checkpoint.notes:
        try:
            spec = from_json(DatasetSpec, checkpoint.notes["classes"])
            _ = spec.colour_table(), spec.value_table(), spec.label_table()
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"The class list in {path} is damaged: {error}.") from error
    else:  # downloaded, not trained here
        spec = BUILT_IN.get(experiment.get("data", {}).get("dataset"))
    if spec is None:
        raise ValueError(
            f"{path} does not say what its {num_classes} classes are. Checkpoints written by "
            "`annlib train` do."
        )
    if spec.num_classes != num_classes:
        raise ValueError(
            f"{path} has {num_classes} classes, but its list has the {spec.num_classes} of "
            f"{spec.name}: a prediction could not be given its name. It was not written by "
            "`annlib train`; train it again, or save it with its own class list."
        )
    return Network(path.name, spec, test, lambda: load_model(checkpoint))


class Segmenter(NamedTuple):
    """A trained network, ready to segment images."""

    model: nn.Module  # fused for inference
    weights_crc32: str  # before fusing, which rounds differently on another machine
    spec: DatasetSpec
    test: TestConfig
    precision: Precision
    label: Label


def segmenter(
    network: Network,
    device: torch.device,
    test: TestConfig | None = None,
    precision: Precision = "fp32",
) -> Segmenter:
    """Loads a network and fuses it.  test: None for the network's own."""
    test = test or network.test
    model = network.load() if os.environ.get("LOCAL_RANK", "0") == "0" else None
    if "LOCAL_RANK" in os.environ:
        from annlib.engine.distributed import wait_for_all

        wait_for_all()  # the first process of a machine downloads it, the others wait for the file
        model = model or network.load()
    weights_crc32 = checksum("", model.state_dict())
    model = fuse_for_inference(model).to(device, memory_format=torch.channels_last)
    label = make_label_predictor(model, test, precision)
    return Segmenter(model, weights_crc32, network.spec, test, precision, label)


def save_prediction(labels: Tensor, spec: DatasetSpec, folder: Path, name: str) -> None:
    """Writes colours/NAME.png and, as a benchmark's server wants it, labels/NAME.png.  (H, W)"""
    for kind, table in (("colours", spec.colour_table()), ("labels", spec.value_table())):
        image, content = Image.fromarray(table[labels.int()].numpy()), BytesIO()
        if kind == "labels" and spec.layout == "voc12aug":
            image.putpalette(bytes(sum(spec.palette, ())))
        image.save(content, "png")
        # Whole or not at all: a resumed evaluation relies on the file.
        write_atomically(folder / kind / f"{name}.png", content.getvalue())
