"""Exports a network to torch.export, ONNX or OpenVINO, and runs such a file as a network."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from annlib.config import Format, ModelConfig, Runtime, from_json
from annlib.data.io import MEAN, STD
from annlib.engine.inference import Size, inference_of
from annlib.engine.predictor import Network
from annlib.files import need
from annlib.model.ann import ANN, Logits, map_size
from annlib.model.baselines import Baseline
from annlib.model.fused import fuse_for_inference

SUFFIXES: dict[Format, str] = {"torch": ".pt2", "onnx": ".onnx", "openvino": ".xml"}
RUNTIMES: dict[str, tuple[Runtime, ...]] = {  # what runs a file; the first unless another is named
    ".pt2": ("torch",),
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
}
TRIED: tuple[Size, Size] = (72, 104), (41, 123)  # what an export is made with and compared on
SMALLEST = 9  # pixels of a side: below, the feature map has one position
TOLERANCE = 1e-4  # largest difference, relative to the largest logit, of a file that is kept
KEY = "annlib"  # of the metadata
NORMALISED = {"mean": MEAN.flatten().tolist(), "std": STD.flatten().tolist()}  # RGB, 0-255
Scores = Callable[[Tensor], Tensor]  # images (B, 3, H, W) -> logits on the feature map


def library(name: str) -> Any:
    """A package of an extra. Raises ValueError, with the extra, where it is not installed."""
    extra = "openvino" if name == "openvino" else "onnx"
    return need(name, f"{name}, which this format needs,", f"pip install -e '.[{extra}]'")


class MapScores(nn.Module):
    """The network up to the logits on its feature map: what is exported."""

    def __init__(self, network: ANN | Baseline):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, K, H / 8, W / 8), rounded up"""
        network = self.network
        low, high = network.backbone(images)
        if isinstance(network, Baseline):
            return network.classifier(network.context(network.reduce(high)))
        return network.classifier(network.apnb(network.reduce(network.afnb(low, high))))


class ExportedNetwork(nn.Module):
    """An exported file, called like the network that it was made of, on the CPU.

    Raises ValueError for a runtime that cannot run the file, or is not installed.
    """

    def __init__(self, path: Path, runtime: Runtime | None = None):
        super().__init__()
        possible = RUNTIMES[path.suffix]
        if runtime not in (None, *possible):
            raise ValueError(f"{path} runs with {' or '.join(possible)}, and not with {runtime}.")
        if not path.is_file():
            raise FileNotFoundError(f"There is no exported file {path}.")
        opened = {"torch": open_torch, "onnxruntime": open_onnx, "openvino": open_openvino}
        self.scores, text = opened[runtime or possible[0]](path)
        try:
            facts = json.loads(text)
            self.config, self.size = from_json(ModelConfig, facts["config"]), facts["size"]
            self.notes = {key: facts[key] for key in ("classes", "test")}
            differing = [key for key, values in NORMALISED.items() if facts[key] != values]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"{path} was not written by this version of `annlib export` ({error})"
            raise ValueError(f"{what}: export the weights again.") from error
        if differing:
            raise ValueError(f"{path} expects images of another {differing[0]} than annlib's.")
        parts = [one.read_bytes() for one in (path, path.with_suffix(".bin")) if one.is_file()]
        digest = [*hashlib.sha256(b"".join(parts)).digest()]  # a parameter: tells the device, too
        self.sha256 = nn.Parameter(torch.tensor(digest, dtype=torch.uint8), requires_grad=False)

    def forward(self, images: Tensor, size: Size | None = None) -> Logits:
        """(B, 3, H, W) normalised -> logits of `size`, that of the images if None"""
        given = tuple(images.shape[2:])
        if self.size and given != tuple(self.size) or min(given) < SMALLEST:
            only = " x ".join(map(str, self.size or [f"{SMALLEST} or more"] * 2))
            said = f"This file was exported for images of {only} pixels, and these are {given[0]} "
            raise ValueError(f"{said}x {given[1]}: give others, or export it again with --size.")
        logits = Logits(self.scores(images.contiguous()), None)
        return logits.resize(size or given, self.config.align_corners)


def open_torch(path: Path) -> tuple[Scores, str]:
    """A .pt2 and its metadata. Like a pickle, it can run code: only files that you trust."""
    extra = {f"{KEY}.json": ""}
    try:
        module = torch.export.load(path, extra_files=extra).module()
    except Exception as error:  # errors of damaged files have no common name
        raise ValueError(f"{path} cannot be read as a program of torch.export: {error}") from error
    module = module.to(memory_format=torch.channels_last)
    return lambda images: module(images), extra[f"{KEY}.json"]  # as a part, it would need eval()


def open_onnx(path: Path) -> tuple[Scores, str]:
    ort = library("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path} cannot be read by ONNX Runtime: {error}") from error
    facts = session.get_modelmeta().custom_metadata_map.get(KEY, "")
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), facts


def open_openvino(path: Path) -> tuple[Scores, str]:
    core = library("openvino").Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        model = core.read_model(path)
        run = core.compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read by OpenVINO: {error}") from error
    places = ([KEY], ["framework", KEY])  # of an IR, of an ONNX file
    facts = [model.get_rt_info(place).astype(str) for place in places if model.has_rt_info(place)]
    return lambda images: torch.from_numpy(run(images.numpy())[0].copy()), "".join(facts[:1])


def write(program: torch.export.ExportedProgram, path: Path, form: Format, facts: str) -> None:
    """One file of the form; for OpenVINO an .xml, and its weights in a .bin."""
    if form == "torch":
        return torch.export.save(program, path, extra_files={f"{KEY}.json": facts})
    if form == "openvino":
        openvino = library("openvino")
        with TemporaryDirectory() as folder:
            write(program, onnx := Path(folder, "network.onnx"), "onnx", facts)
            model = openvino.Core().read_model(onnx)
            model.set_rt_info(facts, [KEY])
            return openvino.save_model(model, path, compress_to_fp16=False)
    for name in ("onnx", "onnxscript"):
        library(name)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it tells what it does not fold
    names: Any = {"input_names": ["images"], "output_names": ["logits"]}
    made: Any = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    made.model.metadata_props[KEY] = facts
    made.save(path, external_data=False)


def largest_difference(network: nn.Module, other: nn.Module, sizes: Iterable[Size]) -> float:
    """Of the logits of random images, relative to the largest logit."""
    generator, found = torch.Generator().manual_seed(0), 0.0
    for number, size in enumerate(sizes, 1):
        images = torch.randn(number, 3, *size, generator=generator)
        with inference_of(network), inference_of(other):
            ours, theirs = (one(images, size=map_size(size)).main for one in (network, other))
        found = max(found, float((ours - theirs).abs().max() / ours.abs().max()))
    return found


def export(network: Network, path: Path, form: Format, size: Size | None = None) -> float:
    """Writes the inference form of a network with its classes and test; path: of the file

    size: of all images; None: any, except for the head ppm, which gets that of the network's test.
    -> the largest difference to the network, relative to its largest logit. Raises ValueError for
    more than 1e-4, FileExistsError for a file that is there; then nothing is written.
    """
    if path.suffix != SUFFIXES[form] or path.exists():
        kind = FileExistsError if path.exists() else ValueError
        raise kind(f"{path}: name a new file that ends with {SUFFIXES[form]} (--out).")
    if size and min(size) < SMALLEST:
        raise ValueError(f"--size is {size}: give {SMALLEST} pixels or more for each side.")
    if not isinstance(model := network.load(), ANN | Baseline):
        raise ValueError(f"{network.name} is an exported file: export the weights it came from.")
    model = fuse_for_inference(model)
    if model.config.head == "ppm" and not (size := size or network.test.base_size):
        raise ValueError("The head ppm can only be exported for images of one size: give --size.")
    scores = MapScores(model).eval()
    for tensor in (*scores.parameters(), *scores.buffers()):
        tensor.data = tensor.data.contiguous()  # torch.export does not save other layouts whole
    sizes, axes = (size,) * 2 if size else TRIED, (0,) if size else (0, 2, 3)
    facts = {"config": asdict(model.config), "classes": asdict(network.spec), "size": size}
    facts |= {"test": asdict(network.test), "weights": network.name}
    shapes = ({axis: torch.export.Dim.DYNAMIC for axis in axes},)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        with torch.no_grad():
            images = torch.zeros(2, 3, *sizes[0])
            program = torch.export.export(scores, (images,), dynamic_shapes=shapes, strict=False)
            write(program, file := Path(folder, path.name), form, json.dumps(facts | NORMALISED))
        difference = largest_difference(model, ExportedNetwork(file), sizes)
        if not difference <= TOLERANCE:  # also of NaN
            said = f"The logits of the exported file differ by {difference:.2g} of the largest, "
            raise ValueError(f"{said}more than {TOLERANCE:g}: it was not kept. Change --format.")
        for part in sorted(Path(folder).iterdir()):  # weights (.bin) before the graph (.xml)
            os.replace(part, path.with_name(part.name))
    return difference
