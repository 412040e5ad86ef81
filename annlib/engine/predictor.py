"""Finds a network by name or file, makes it ready for inference, and writes its predictions."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from annlib.config import Precision, Runtime, TestConfig, experiment_from, from_json
from annlib.data.classes import BUILT_IN, DatasetSpec
from annlib.data.io import normalise
from annlib.engine.inference import Label, Size, fit, make_label_predictor
from annlib.files import write_atomically
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import SHIPPED, load_model
from annlib.model.checkpoint import Checkpoint, checksum, load
from annlib.model.fused import fuse_for_inference

WINDOW = 512, 1024  # of a network that does not say at which size it was tested


class Network(NamedTuple):
    """A trained network, not yet loaded, with its classes and the way it is tested."""

    name: str
    spec: DatasetSpec
    test: TestConfig
    load: Callable[[], nn.Module]  # reads the weights, or fetches them: ANN, Baseline, or exported
    is_exported: bool = False


def find_network(what: str, runtime: Runtime | None = None) -> Network:
    """The network of a .safetensors or exported file, of shipped weights, or of a published row.

    runtime: what runs an exported file; None: what its suffix says. Raises KeyError, with the
    nearest names, for an unknown one, ValueError for a runtime that cannot run it.
    """
    path, shipped = Path(what), {file.stem: file for file in SHIPPED.glob("*.safetensors")}
    if path.suffix in (".pt2", ".onnx", ".xml"):
        from annlib.engine.runtimes import ExportedNetwork

        model = ExportedNetwork(path, runtime)
        network = network_of(Checkpoint(path, model.config, 0, model.notes, {}, None))
        return network._replace(load=lambda: model, is_exported=True)
    if runtime not in (None, "torch"):
        to_do = f"annlib export {what} --format onnx"
        raise ValueError(f"{what} is run by PyTorch. For {runtime}, write another file: {to_do}.")
    if what in shipped or path.exists() or path.suffix or len(path.parts) > 1:
        return network_of(load(shipped.get(what, path)))
    from annlib.model.hub import load_published
    from annlib.published_experiments import NAMES, ZOO, look_up

    known: dict[str, Any] = NAMES | shipped  # for the nearest names
    row = look_up(what, known, "network", [*shipped, *ZOO]).experiment
    return Network(row.name, BUILT_IN[row.data.dataset], row.test, lambda: load_published(row.name))


def network_of(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint, with classes (ValueError if unknown) and test of its run."""
    notes, path, num_classes = checkpoint.notes, checkpoint.path, checkpoint.config.num_classes
    experiment = notes.get("experiment", {})
    test = experiment_from(experiment).test if experiment else TestConfig()
    if "classes" in notes:
        try:
            test = from_json(TestConfig, notes["test"]) if "test" in notes else test
            spec = from_json(DatasetSpec, notes["classes"])
            _ = spec.colour_table(), spec.value_table(), spec.label_table()
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"The class list in {path} is damaged: {error}.") from error
    else:  # downloaded, not trained here
        spec = BUILT_IN.get(experiment.get("data", {}).get("dataset"))
    if spec is None:
        missing = f"{path} does not say what its {num_classes} classes are"
        raise ValueError(f"{missing}. Checkpoints written by `annlib train` do.")
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
    if isinstance(model, ANN | Baseline):  # an exported one is fused, and has a place
        model = fuse_for_inference(model).to(device).to(memory_format=torch.channels_last)
    label = make_label_predictor(model, test, precision)
    return Segmenter(model, weights_crc32, network.spec, test, precision, label)


def fitted_test(
    size: Size, test: TestConfig, trained: Size | None, mode: Literal["whole", "slide"] | None
) -> TestConfig:
    """The test for an image of one size: by windows if it is larger than the trained size.

    trained: the box of the network's own test, None: WINDOW. mode: None for the above, or always
    this one. Windows and stride of `test` are kept, if it has them.
    """
    if mode == "whole":
        return replace(test, mode=mode, window=None, stride=None)
    window = test.window or trained or WINDOW
    if not test.window and (size[0] > size[1]) != (window[0] > window[1]):
        window = window[::-1]
    seen = fit(size, test.base_size or size)
    fits = all(side <= most for side, most in zip(seen, window, strict=True))
    if not (mode or test.window) and fits:
        return test
    stride = test.stride or tuple(max(1, 2 * side // 3) for side in window)
    return replace(test, mode="slide", window=window, stride=stride)


def segment(segmenter: Segmenter, image: Tensor, test: TestConfig, name: str) -> Tensor:
    """The class of every pixel.  uint8 (3, H, W) RGB -> uint8 (H, W) on the CPU

    An image that `test` scales to less than half is scaled without aliasing, so that details finer
    than a pixel are averaged. Raises OSError, with the name, when memory does not suffice.
    """
    size, box = tuple(image.shape[1:]), test.base_size
    if box and 2 * (small := fit(size, tuple(int(max(test.scales) * s) for s in box)))[0] < size[0]:
        image = interpolate(image[None], small, mode="bilinear", antialias=True)[0]
    label = make_label_predictor(segmenter.model, test, segmenter.precision)
    with memory_advice(name, size, test):
        return label(normalise(image)[None], size)[0].cpu()


@contextmanager
def memory_advice(name: str, size: Size, test: TestConfig) -> Iterator[None]:
    """Inside, running out of memory becomes an OSError that names the image and the remedies."""
    try:
        yield
    except RuntimeError as error:
        from annlib.engine.optimization import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        raise OSError(
            errno.ENOMEM,
            f"There is not enough memory to segment {name}, {size[0]} x {size[1]} pixels, in the "
            f"mode {test.mode!r} at the scales {test.scales}: the network's feature maps fill it. "
            "What needs less, and changes the scores a little: --precision bf16, smaller --scales, "
            "or windows (--mode slide --window 513 513 --stride 342 342).",
        ) from error


def save_prediction(labels: Tensor, spec: DatasetSpec, folder: Path, name: str) -> None:
    """Writes colours/NAME.png and, as a benchmark's server wants it, labels/NAME.png.  (H, W)"""
    for kind, table in (("colours", spec.colour_table()), ("labels", spec.value_table())):
        image, content = Image.fromarray(table[labels.int()].numpy()), BytesIO()
        if kind == "labels" and spec.layout == "voc12aug":
            image.putpalette(bytes(sum(spec.palette, ())))
        image.save(content, "png")
        # Whole or not at all: a resumed evaluation relies on the file.
        write_atomically(folder / kind / f"{name}.png", content.getvalue())
