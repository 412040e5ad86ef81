"""Costs of a published row: measured on this machine, or estimated before a run on a GPU."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from annlib.config import Experiment, ModelConfig, RuntimeConfig, TrainConfig
from annlib.course.attention import Size, capture
from annlib.course.profiler import Timing, operation_counter, peak_bytes, time_calls
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.engine.optimization import Step, is_out_of_memory, make_optimizer, train
from annlib.engine.trainer import prepare_model, wrap_model
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_inference, fuse_for_training
from annlib.published_experiments import ROWS, ZOO, Published

# Typical for each data set; Cityscapes has this size only.
IMAGE_SIZES = {"cityscapes": (1024, 2048), "ade20k": (512, 683), "voc12aug": (375, 500)}
LARGEST_FACTOR = 16  # crops of 512 become 32: less would leave a feature map of one position
REST = "rest"  # pooling in the stem, resizing of the logits, and all else outside of the parts


def shrunk_size(size: Size, factor: int) -> Size:
    """An odd side stays odd: 769 = 8 * 96 + 1 becomes 8 * 12 + 1 = 97."""
    return tuple((side - side % 2) // factor + side % 2 for side in size)


def shrunk(experiment: Experiment, factor: int) -> Experiment:
    """Crop, window, stride and base sizes divided by `factor`; network and recipe unchanged.

    Raises ValueError for a factor below 1, or so large that no image would be left.
    """
    if not 1 <= factor <= LARGEST_FACTOR:
        said = f"Sides are to be divided by {factor} (--shrink): give a whole number of 1 (the "
        raise ValueError(f"{said}published sizes) to {LARGEST_FACTOR}.")

    def small(part: Any, *names: str) -> Any:
        sizes = ((name, getattr(part, name)) for name in names)
        return replace(part, **{name: size and shrunk_size(size, factor) for name, size in sizes})

    test = small(experiment.test, "window", "stride", "base_size")
    return replace(experiment, data=small(experiment.data, "crop_size", "base_size"), test=test)


def image_size(experiment: Experiment, factor: int) -> Size:
    """Height and width of a typical image that the experiment is tested on, divided by `factor`."""
    return shrunk_size(IMAGE_SIZES[experiment.data.dataset], factor)


@dataclass(frozen=True)
class Cost:
    """Of segmenting one image, or of one training step on one GPU's share of a batch."""

    images: int
    size: Size  # of the image, or of the crop
    timing: Timing  # milliseconds
    peak_gib: float  # weights, gradients, momentum and feature maps together


@dataclass(frozen=True)
class Measuring:
    """How a row is measured."""

    device: torch.device
    compute: RuntimeConfig = RuntimeConfig()
    shrink: int = 1
    repeat: int = 10


def measured(calls: Iterator, first: int, size: Size, images: int, how: Measuring) -> Cost:
    """Peak memory of the first calls, then the time of one."""
    peak = peak_bytes(lambda: [next(calls) for _ in range(first)], how.device)
    timing = time_calls(partial(next, calls), how.device, how.repeat)
    return Cost(images, size, timing, peak / 2**30)


def predictions(experiment: Experiment, how: Measuring) -> Iterator[Tensor]:
    """Class indices (1, H, W) on the CPU of one image on the device, predicted again each time.

    The published measurement counts the first resize as data loading; this one includes it. The
    network is built with the first prediction.
    """
    model = fuse_for_inference(build_model(experiment.model))
    model = wrap_model(prepare_model(model, how.device, how.compute), how.device, how.compute)
    predict = make_label_predictor(model, experiment.test, how.compute.precision)
    images = torch.randn(1, 3, *image_size(experiment, how.shrink), device=how.device)
    while True:
        yield predict(images).cpu()


def inference_cost(row: Published, how: Measuring) -> Cost:
    """Of segmenting one image at single scale, as the row is tested."""
    experiment = shrunk(row.experiment, how.shrink)
    return measured(predictions(experiment, how), 1, image_size(experiment, how.shrink), 1, how)


def share_of_one_gpu(row: Published) -> Experiment:
    """The row with the part of its batch that one of the published GPUs worked on."""
    data = replace(row.experiment.data, batch_size=row.batch_per_gpu)
    return replace(row.experiment, data=data)


def training_steps(experiment: Experiment, how: Measuring) -> Iterator[Step]:
    """Training steps on one batch of noise; the network is built with the first step."""
    model = prepare_model(fuse_for_training(build_model(experiment.model)), how.device, how.compute)
    batch = noise_batch(experiment, how.device)
    yield from steps_on_batch(batch, model, experiment.train, how.compute)


def steps_on_batch(
    batch: tuple[Tensor, Tensor], model: nn.Module, config: TrainConfig, compute: RuntimeConfig
) -> Iterator[Step]:
    """Training steps of a prepared network, all on the same batch."""
    optimizer = make_optimizer(model, config)
    runs = wrap_model(model, batch[0].device, compute)
    return train(runs, optimizer, iter(lambda: batch, None), config, compute=compute)


def noise_batch(experiment: Experiment, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of one batch; their content does not change the cost."""
    size, number = experiment.data.crop_size, experiment.data.batch_size
    images = torch.randn(number, 3, *size, device=device)
    return images, torch.randint(experiment.model.num_classes, (number, *size), device=device)


def training_cost(row: Published, how: Measuring) -> Cost:
    """Of one step on one GPU's share of a batch, without data loading and gradient exchange.

    Memory is that of the second step, because the optimiser then holds its momentum.
    """
    experiment = shrunk(share_of_one_gpu(row), how.shrink)
    data = experiment.data
    return measured(training_steps(experiment, how), 2, data.crop_size, data.batch_size, how)


@cache  # because building takes as long as counting
def meta_model(config: ModelConfig, folded: bool) -> nn.Module:
    """A network whose parameters have only a shape."""
    with torch.device("meta"):
        model = build_model(config)
    return fuse_for_training(model) if folded else model


def gflops_by_part(
    config: ModelConfig, images: int, size: Size, folded: bool = True
) -> dict[str, float]:
    """10^9 operations of each part in a forward pass, two for a multiply-add; nothing is computed.

    The auxiliary head, which only training runs, counts, too; REST is all outside of the parts.
    """
    model, batch = meta_model(config, folded), torch.empty(images, 3, *size, device="meta")
    with operation_counter() as counter, inference_of(model), capture({"": model.backbone}) as maps:
        model(batch)
        model.auxiliary(maps[""][0])  # on c4; only training runs it
    parts = {
        name.rpartition(".")[2]: sum(counts.values()) / 1e9
        for name, counts in counter.get_flop_counts().items()
        if re.fullmatch(r"\w+\.(backbone\.\w+|(?!backbone)\w+)", name)
    }
    return parts | {REST: counter.get_total_flops() / 1e9 - sum(parts.values())}


@dataclass(frozen=True)
class RowCost:
    """One row as measured here. None: not asked for, or out of memory."""

    row: Published
    inference: Cost | None
    training: Cost | None
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> float | None:
        """Of the whole training, added up over all GPUs; None if not measured in full size."""
        plan = self.row.experiment
        if self.training is None or self.training.size != plan.data.crop_size:
            return None
        return plan.train.iterations * self.row.num_gpus * self.training.timing.median / 3.6e6

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the published ones."""
        published = ("frames_per_second", "memory_gb", "hardware")
        return {
            "name": self.row.name,
            "inference": asdict(self.inference) if self.inference else None,
            "training": asdict(self.training) if self.training else None,
            "device_hours": self.hours,
            "published": {name: getattr(self.row, name) for name in published},
            "notes": list(self.notes),
        }


def row_cost(row: Published, how: Measuring, inference: bool, training: bool) -> RowCost:
    """Measures one row. What does not fit into memory is noted, and the rest is measured."""
    found, notes = {"inference": None, "training": None}, []
    wanted = (("inference", inference, inference_cost), ("training", training, training_cost))
    for kind, is_wanted, cost in wanted:
        try:
            found[kind] = cost(row, how) if is_wanted else None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            notes.append(f"{row.name}: no memory for {kind}. Try --precision bf16 or --shrink 2.")
    return RowCost(row, **found, notes=tuple(notes))


def same_cost(experiment: Experiment) -> Experiment:
    """Equal for rows that differ only in how long they are trained."""
    return replace(experiment, name="", train=TrainConfig(iterations=1))


# Before a run.

TRAINING_BYTES = 12  # of a parameter: weight, gradient and momentum, 4 each
HALF_MAPS = 0.5  # of the bytes of feature maps, if they are bf16 or fp16
BACKWARD = 3  # a step computes about three times what a forward pass does
HALF_SHARE = 0.35  # of its peak, that a GPU reaches on 16 bits: set by us, not measured
V100_TFLOPS = 15.7
ARCHIVES_GB = {"cityscapes": 11.2, "ade20k": 0.9, "voc12aug": 3.4}


class Gpu(NamedTuple):
    """Peak TFLOPS as in NVIDIA's data sheets; V100, A100 and H100 are the SXM form."""

    memory_gb: float
    fp32: float  # without TF32; a fused multiply-add counts as two
    half: float  # fp16 (T4, V100) or bf16 on tensor cores, added up in fp32, dense


GPUS = {
    "Tesla T4, 16 GB": Gpu(16, 8.1, 65),
    "RTX 3090, 24 GB": Gpu(24, 35.6, 71),
    "V100, 32 GB (published table)": Gpu(32, V100_TFLOPS, 125),
    "A100, 80 GB": Gpu(80, 19.5, 312),
    "H100, 80 GB": Gpu(80, 67, 989),
}
PRECISIONS = ("fp32", "bf16 or fp16")


class Estimate(NamedTuple):
    fixed_gb: float  # weights, gradients, momentum
    maps_gb: float
    gpu_gb: float
    hours: float
    disk_gb: float

    @property
    def memory_gb(self) -> float:
        return self.fixed_gb + self.maps_gb

    @property
    def verdict(self) -> str:
        share = self.memory_gb / self.gpu_gb
        if share > 1:
            return "✗ does not fit"
        return "! tight: other programs and fragmentation need room" if share > 0.85 else "✓ fits"


def published_memory(row: Published) -> float:
    """Training memory in GB: of the row, or of the one that differs only in its steps."""
    wanted = same_cost(row.experiment)
    return next(r.memory_gb for r in ROWS if same_cost(r.experiment) == wanted and r.memory_gb)


@cache
def size_of(name: str) -> tuple[int, float]:
    """Parameters, and GFLOPs of one forward pass of one crop."""
    plan = ZOO[name].experiment
    gflops = sum(gflops_by_part(plan.model, 1, plan.data.crop_size).values())
    return sum(p.numel() for p in meta_model(plan.model, folded=True).parameters()), gflops


def share_reached() -> float:
    """Of its peak, that the V100 of the published table reached: from its frames a second."""
    row = ROWS[0]
    pixels = prod(IMAGE_SIZES["cityscapes"]) / prod(row.experiment.data.crop_size)
    return row.frames_per_second * size_of(row.name)[1] * pixels / (1000 * V100_TFLOPS)


def estimate(name: str, gpu: Gpu, batch: int, precision: str) -> Estimate:
    """Of training a row on one GPU with `batch` images at a time."""
    if precision not in PRECISIONS or batch < 1:
        raise ValueError(f"batch {batch}, precision {precision!r}: 1 or more, one of {PRECISIONS}.")
    row, (parameters, gflops), half = ZOO[name], size_of(name), precision != "fp32"
    fixed = TRAINING_BYTES * parameters / 1e9
    per_image = (published_memory(row) - fixed) / row.batch_per_gpu
    maps = batch * per_image * (HALF_MAPS if half else 1)
    images = row.experiment.train.iterations * row.experiment.data.batch_size
    rate = gpu.half * HALF_SHARE if half else gpu.fp32 * share_reached()
    hours = BACKWARD * gflops * images / (1000 * rate) / 3600
    disk = 2 * ARCHIVES_GB[row.experiment.data.dataset] + 2 * 8 * parameters / 1e9
    return Estimate(fixed, maps, gpu.memory_gb, hours, disk)
