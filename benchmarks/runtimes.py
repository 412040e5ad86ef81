"""Exported networks beside PyTorch: difference, time, memory, mIoU; and what int8 and bf16 cost."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from annlib.cli.common import at_least_one, use_threads
from annlib.config import Precision, TestConfig
from annlib.data.classes import CITYSCAPES
from annlib.data.datasets import labelled
from annlib.data.loader import make_loader
from annlib.engine import runtimes
from annlib.engine.inference import autocast, make_label_predictor
from annlib.engine.metrics import evaluate_labels, table
from annlib.engine.predictor import Network, find_network
from annlib.engine.results import device_name
from annlib.model.ann import map_size
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_inference
from annlib.published_experiments import ZOO
from annlib.seeds import seeded
from benchmarks.common import Workload, main, process_memory, remake, write_measured

CPU = torch.device("cpu")
FROZEN = "PyTorch, fused for inference"
VARIANTS = {  # name -> its file, what runs it, the precision of PyTorch
    FROZEN: ("", "torch", "fp32"),
    "the same, bf16": ("", "torch", "bf16"),
    "torch.export": ("fp32.pt2", "torch", "fp32"),
    "ONNX Runtime": ("fp32.onnx", "onnxruntime", "fp32"),
    "ONNX Runtime, int8": ("int8.onnx", "onnxruntime", "fp32"),
    "OpenVINO": ("fp32.xml", "openvino", "fp32"),
}
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")


def network_named(name: str) -> Network:
    """Shipped or trained weights; a published row with random ones, which need no download."""
    if name not in ZOO:
        return find_network(name)
    experiment = ZOO[name].experiment
    with seeded("runtimes"):
        model = build_model(experiment.model).eval()
        for block in (model.afnb, model.apnb):  # else its output is zero
            nn.init.normal_(block.attention.to_output.weight, std=0.01)
    return Network(name, CITYSCAPES, experiment.test, lambda: model)


def quantise(source: Path, target: Path, images: Iterator[Tensor]) -> None:
    """int8 weights and activations of the convolutions, whose ranges come from these images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict | None:
            image = next(images, None)
            return None if image is None else {"images": image.numpy()}

    logging.getLogger().setLevel(logging.ERROR)  # it advises what is done here
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    options = {"op_types_to_quantize": ["Conv"], "per_channel": True, **kinds}
    quantize_static(prepared, target, Reader(), **options)
    prepared.unlink()


def opened(name: str, folder: Path, variant: str) -> nn.Module:
    file, runtime, _ = VARIANTS[variant]
    if file:
        return runtimes.ExportedNetwork(folder / file, runtime)
    return fuse_for_inference(network_named(name).load()).to(memory_format=torch.channels_last)


def run(model: nn.Module, precision: Precision, images: Tensor) -> Tensor:
    with torch.inference_mode(), autocast(CPU, precision):
        return model(images, size=map_size(images.shape[2:])).main


def prepare(name: str, folder: Path, variant: str, size: tuple[int, int]) -> Workload:
    """One image through the network, in a process of its own."""
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    call = partial(run, opened(name, folder, variant), VARIANTS[variant][2], images)
    return Workload(call, call)


def seconds_interleaved(calls: dict[str, Callable], repeat: int) -> dict[str, float]:
    """Median processor time of each call, one of each a round: other work does not count."""
    found = {name: [] for name in calls}
    for _ in range(1 + repeat):
        for name, call in calls.items():
            started = process_time()
            call()
            found[name].append(process_time() - started)
    return {name: median(times[1:]) for name, times in found.items()}


def miou(model: nn.Module, test: TestConfig, precision: Precision, data: Dataset) -> float:
    label, loader = make_label_predictor(model, test, precision), make_loader(data, 1, False)
    return evaluate_labels(label, loader, model.config.num_classes).scores().miou


@dataclass(frozen=True)
class Runtimes:
    """Export a network to every format, and compare the files with PyTorch.

    Results of other networks in the same file are kept.
    """

    network: str = "streets_ann"
    """Weights, or a published row, which gets random ones."""
    size: tuple[int, int] = (360, 480)
    """Height and width of the image that is timed."""
    data: Path | None = None
    """Folder of the data set, for mIoU, and for the ranges of int8."""
    calibrate: int = 16
    """Training images, evenly spaced, that the ranges of int8 come from."""
    repeat: int = 5
    """Timed calls, after a warm-up."""
    threads: int = 1
    """CPU threads of one operation."""
    files: Path | None = None
    """New folder for the exported files, int8.onnx among them, which `annlib predict` takes."""
    out: Path = Path("data/results/runtimes.md")
    """The table; its numbers are beside it as JSON."""

    def run(self) -> None:
        """Writes the table again after each variant: a stop keeps what is measured."""
        at_least_one("--repeat", self.repeat)
        use_threads(self.threads)
        network, path, kept = network_named(self.network), self.out.with_suffix(".json"), {}
        if path.exists():
            kept = json.loads(path.read_bytes())["networks"]
        with nullcontext(self.files) if self.files else TemporaryDirectory() as folder:
            for rows in self.measure(network, Path(folder)):
                ours = {"size": self.size, "threads": self.threads, "rows": rows}
                ours["command"] = remake()
                libraries = {name: version(name) for name in LIBRARIES}
                values = {"networks": kept | {self.network: ours}, "libraries": libraries}
                text = write_measured(page(values), values, self.out, remake())
        print(text)

    def measure(self, network: Network, folder: Path) -> Iterator[dict[str, dict[str, float]]]:
        """By variant, with more of them known each time."""
        for form, end in runtimes.SUFFIXES.items():
            path = folder / f"fp32{end}"
            print(f"{path.name}: {runtimes.export(network, path, form):.2g}", flush=True)
        quantise(folder / "fp32.onnx", folder / "int8.onnx", self.calibration(network))
        models = {name: opened(self.network, folder, name) for name in VARIANTS}
        images = torch.randn(1, 3, *self.size, generator=torch.Generator().manual_seed(0))
        precisions = {name: facts[2] for name, facts in VARIANTS.items()}
        calls = {n: partial(run, model, precisions[n], images) for n, model in models.items()}
        ours, rows = calls[FROZEN](), {}
        for name, seconds in seconds_interleaved(calls, self.repeat).items():
            difference = (calls[name]() - ours).abs().max() / ours.abs().max()
            rows[name] = {"difference": float(difference), "milliseconds": 1000 * seconds}
        yield rows
        for name in VARIANTS:
            if self.data is not None:
                val = labelled(network.spec, self.data, "val")
                rows[name]["miou"] = miou(models[name], network.test, precisions[name], val)
            memory = process_memory(partial(prepare, self.network, folder, name, self.size))
            if memory is not None:
                rows[name]["peak_mib"] = memory.peak
            print(name, rows[name], flush=True)
            yield rows

    def calibration(self, network: Network) -> Iterator[Tensor]:
        """Training images; noise where there are no data."""
        if self.data is None:
            return iter(torch.randn(2, 1, 3, *self.size))
        train = labelled(network.spec, self.data, "train")
        step = max(1, len(train) // self.calibrate)
        return (train[i][0][None] for i in range(0, step * self.calibrate, step))


def page(values: dict) -> str:
    """A section for each network."""
    parts = ["# Runtimes"]
    for name, found in values["networks"].items():
        rows, (height, width) = [], found["size"]
        base = found["rows"][FROZEN]["milliseconds"]
        for variant, one in found["rows"].items():
            cells = [f"{one['difference']:.1e}" if variant != FROZEN else "-"]
            cells += [f"{one['milliseconds']:.0f}", f"{one['milliseconds'] / base:.2f}"]
            cells += [f"{one['peak_mib']:.0f}" if "peak_mib" in one else "-"]
            cells += [f"{100 * one['miou']:.2f}" if "miou" in one else "-"]
            rows.append([variant, *cells])
        header = ["runtime", "largest difference", "ms", "times PyTorch", "MiB", "mIoU %"]
        title = f"## {name}, {height} x {width}, {found['threads']} thread"
        parts += [
            title + "s" * (found["threads"] > 1),
            table(header, rows),
            f"`{found['command']}`",
        ]
    listed = ", ".join(f"{name} {number}" for name, number in values["libraries"].items())
    parts.append(
        "Largest difference: of the logits of an image of noise, relative to the largest. ms: "
        "processor time of one image, calls in turn, so that other work does not count. MiB: peak "
        f"of a process that only runs it, libraries included. {device_name(CPU)}; {listed}."
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    main("benchmarks.runtimes", Runtimes, "exported networks", "--data camvid")
