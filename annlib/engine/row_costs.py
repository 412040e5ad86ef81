"""Costs of a published row on this machine: parameters, FLOPs, time and memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from annlib.config import Experiment, ModelConfig, RuntimeConfig, TrainConfig
from annlib.engine.inference import fit, inference_of, make_label_predictor
from annlib.engine.metrics import table
from annlib.engine.profiler import (
    Timing,
    is_out_of_memory,
    operation_counter,
    peak_bytes,
    synchronise,
    time_calls,
)
from annlib.engine.results import cpu_name, slug, write_measured
from annlib.engine.train import Step, autocast, make_optimizer, train
from annlib.engine.trainer import prepare_model, wrap_model
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_inference, fuse_for_training
from annlib.zoo import Published

Size = tuple[int, int]  # height, width

PICTURES: dict[str, Size] = {  # a typical picture of each data set; Cityscapes has this size only
    "cityscapes": (1024, 2048),
    "ade20k": (512, 683),
    "voc12aug": (375, 500),
}
MOST = 16  # crops of 512 become 32: less would leave a map of one or two positions


def shrunk_size(size: Size, factor: int) -> Size:
    """An odd side is one more than an even one: 769 = 8 * 96 + 1 becomes 8 * 12 + 1 = 97."""
    height, width = ((side - side % 2) // factor + side % 2 for side in size)
    return height, width


def shrunk(experiment: Experiment, factor: int) -> Experiment:
    """Crop, window, stride and base sizes divided by `factor`; network and recipe as they are.

    Raises ValueError for a factor that leaves no picture, or would enlarge it.
    """
    if not 1 <= factor <= MOST:
        raise ValueError(
            f"Sides are to be divided by {factor} (--shrink): give a whole number of 1 (the "
            f"published sizes) to {MOST}."
        )

    def small(size: Size | None) -> Size | None:
        return None if size is None else shrunk_size(size, factor)

    data, test = experiment.data, experiment.test
    return replace(
        experiment,
        data=replace(data, crop_size=small(data.crop_size), base_size=small(data.base_size)),
        test=replace(
            test,
            window=small(test.window),
            stride=small(test.stride),
            base_size=small(test.base_size),
        ),
    )


def picture_size(experiment: Experiment, factor: int) -> Size:
    """Height and width of a typical picture that the experiment is tested on."""
    return shrunk_size(PICTURES[experiment.data.dataset], factor)


@dataclass(frozen=True)
class Cost:
    """Of one picture to segment, or of one step of training on one GPU's share of a batch."""

    images: int
    size: tuple[int, int]  # of the picture, or of the crop
    timing: Timing  # milliseconds
    peak_gib: float  # weights, gradients, momentum and maps together


@dataclass(frozen=True)
class Measuring:
    """How a row is measured."""

    device: torch.device
    compute: RuntimeConfig = RuntimeConfig()
    shrink: int = 1
    repeat: int = 10


def answers(experiment: Experiment, how: Measuring) -> Iterator[Tensor]:
    """A network and, each time it is asked for, the classes (1, H, W) of one picture.

    From the picture on the device to class indices on the CPU: all of the published measurement,
    and the first resize, which that one counts among the loading of data.
    """
    model = prepare_model(
        fuse_for_inference(build_model(experiment.model)), how.device, how.compute
    )
    model = wrap_model(model, how.device, how.compute)
    label = make_label_predictor(model, experiment.test, how.compute.precision)
    images = torch.randn(1, 3, *picture_size(experiment, how.shrink), device=how.device)
    while True:
        yield label(images).cpu()


def inference_cost(row: Published, how: Measuring) -> Cost:
    """Of segmenting one picture the way the row is tested, single scale."""
    small = shrunk(row.experiment, how.shrink)
    asked = answers(small, how)
    peak = peak_bytes(lambda: next(asked), how.device)  # the network is built in the first call
    timing = time_calls(lambda: next(asked), how.device, how.repeat)
    return Cost(1, picture_size(small, how.shrink), timing, peak / 2**30)


def share_of_one_gpu(row: Published) -> Experiment:
    """The row with the part of its batch that one of the published GPUs worked on."""
    data = replace(row.experiment.data, batch_size=row.batch_per_gpu)
    return replace(row.experiment, data=data)


def training_steps(experiment: Experiment, how: Measuring) -> Iterator[Step]:
    """The steps of a training on one batch of noise; built when the first one is asked for."""
    model = fuse_for_training(build_model(experiment.model))
    model = prepare_model(model, how.device, how.compute)
    yield from steps_on(noise(experiment, how.device), model, experiment.train, how.compute)


def steps_on(
    batch: tuple[Tensor, Tensor], model: nn.Module, config: TrainConfig, compute: RuntimeConfig
) -> Iterator[Step]:
    """The steps of training a placed network on one batch, over and over."""
    optimizer = make_optimizer(model, config)
    runs = wrap_model(model, batch[0].device, compute)
    return train(runs, optimizer, iter(lambda: batch, None), config, compute=compute)


def noise(experiment: Experiment, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of one batch: what is in them changes no cost."""
    size, number = experiment.data.crop_size, experiment.data.batch_size
    images = torch.randn(number, 3, *size, device=device)
    labels = torch.randint(experiment.model.num_classes, (number, *size), device=device)
    return images, labels


def training_cost(row: Published, how: Measuring) -> Cost:
    """Of one step on one GPU's share of a batch, data loading and exchange of gradients excluded.

    Memory is that of the second step: from then on the optimiser holds its momentum.
    """
    small = shrunk(share_of_one_gpu(row), how.shrink)
    steps = training_steps(small, how)
    peak = peak_bytes(lambda: (next(steps), next(steps)), how.device)
    timing = time_calls(lambda: next(steps), how.device, how.repeat)
    return Cost(small.data.batch_size, small.data.crop_size, timing, peak / 2**30)


def device_hours(row: Published, step: Cost) -> float:
    """Of the whole training, all GPUs together: each works on its share of every step."""
    return row.experiment.train.iterations * row.num_gpus * step.timing.median / 3.6e6


REST = "rest"  # pooling in the stem, resizing of the logits, and all that is no part of its own


@dataclass(frozen=True)
class Part:
    """A part's share of one forward pass."""

    parameters: int
    gflops: float  # 2 for each multiply-add of convolutions and matrix products
    milliseconds: float


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The stages of the backbone and the blocks of the head, in the order of the forward pass."""
    children = {**dict(model.backbone.named_children()), **dict(model.named_children())}
    del children["backbone"]
    return {name: part for name, part in children.items() if any(True for _ in part.parameters())}


@contextmanager
def watched(parts: dict[str, nn.Module], clock: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Inside, how far the clock advances in each part is added up under its name."""
    spent, started, hooks = dict.fromkeys(parts, 0.0), {}, []
    for name, part in parts.items():

        def enter(module: nn.Module, inputs: tuple, name: str = name) -> None:
            started[name] = clock()

        def leave(module: nn.Module, inputs: tuple, output: Tensor, name: str = name) -> None:
            spent[name] += clock() - started[name]

        hooks.append(part.register_forward_pre_hook(enter))
        hooks.append(part.register_forward_hook(leave))
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def spent_by_part(model: nn.Module, images: Tensor, clock: Callable[[], float]) -> dict[str, float]:
    """How far a clock advances in each part, and in the rest, while images are segmented.

    The auxiliary head, which only training runs, is run once on c4 after the forward pass. The sum
    is what the clock advanced in all.
    """
    kept: list[Tensor] = []
    hook = model.backbone.register_forward_hook(lambda *call: kept.append(call[2][0]))
    try:
        with inference_of(model), watched(parts_of(model), clock) as spent:
            begun = clock()
            model(images)
            model.auxiliary(kept[0])
            total = clock() - begun
    finally:
        hook.remove()
    return spent | {REST: total - sum(spent.values())}


@cache
def without_numbers(config: ModelConfig, folded: bool) -> nn.Module:
    """A model whose parameters have a shape only; kept, for building takes as long as counting."""
    with torch.device("meta"):
        model = build_model(config)
    return fuse_for_training(model) if folded else model


def gflops_by_part(
    config: ModelConfig, images: int, size: tuple[int, int], folded: bool = True
) -> dict[str, float]:
    """Counted without computing anything, on tensors that have a shape only."""
    model = without_numbers(config, folded)
    batch = torch.empty(images, 3, *size, device="meta")
    with operation_counter() as counter:
        return spent_by_part(model, batch, lambda: counter.get_total_flops() / 1e9)


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """A parameter that two parts share would count once, with the first of them."""
    with torch.device("meta"):
        model = build_model(config)
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts_of(model).items()
    }
    total = sum(parameter.numel() for parameter in model.parameters())
    return counts | {REST: total - sum(counts.values())}


def milliseconds_by_part(
    config: ModelConfig, size: tuple[int, int], how: Measuring
) -> dict[str, float]:
    """Of the forward pass whose time is the median of all."""
    model = prepare_model(fuse_for_training(build_model(config)), how.device, how.compute)
    images = torch.randn(1, 3, *size, device=how.device)

    def clock() -> float:
        synchronise(how.device)
        return 1000 * time.perf_counter()

    with autocast(how.device, how.compute.precision):
        runs = [spent_by_part(model, images, clock) for _ in range(how.repeat + 2)][2:]
    return sorted(runs, key=lambda run: sum(run.values()))[len(runs) // 2]


def network_input(experiment: Experiment, how: Measuring) -> tuple[int, int]:
    """Size of what the network sees at once when a picture is tested: all of it, or a window."""
    test = shrunk(experiment, how.shrink).test
    return test.window or fit(picture_size(experiment, how.shrink), test.base_size)


def parts_table(experiment: Experiment, how: Measuring) -> str:
    """Parameters, multiply-adds and time of each part, which add up to the last line."""
    config, size = experiment.model, network_input(experiment, how)
    counts, gflops = parameters_by_part(config), gflops_by_part(config, 1, size)
    times = milliseconds_by_part(config, size, how)
    parts = {name: Part(counts[name], gflops[name], times[name]) for name in times}
    parts["all"] = Part(*(sum(column.values()) for column in (counts, gflops, times)))
    rows = [
        [name, f"{part.parameters:,}", f"{part.gflops:.2f}", f"{part.milliseconds:.2f}"]
        for name, part in parts.items()
    ]
    columns = table(["part", "parameters", "GFLOPs", "ms"], rows)
    return (
        f"{columns}\n\nOne forward pass of 1 x 3 x {size[0]} x {size[1]}, and the auxiliary head."
    )


@dataclass(frozen=True)
class RowCost:
    """One row as measured here. None: not asked for, or more than the memory holds."""

    row: Published
    inference: Cost | None
    training: Cost | None
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> float | None:
        """Of the whole training on this device; None if its step was not measured in full size."""
        crop_size = self.row.experiment.data.crop_size
        if self.training is None or self.training.size != crop_size:
            return None
        return device_hours(self.row, self.training)

    def as_json(self) -> dict[str, Any]:
        """Plain values, with what was published beside them."""
        inference, training = self.inference, self.training
        return {
            "name": self.row.name,
            "inference": asdict(inference) if inference else None,
            "training": asdict(training) if training else None,
            "device_hours": self.hours,
            "published": {
                "frames_per_second": self.row.frames_per_second,
                "memory_gb": self.row.memory_gb,
                "hardware": self.row.hardware,
            },
            "notes": list(self.notes),
        }


def row_cost(row: Published, how: Measuring, inference: bool, training: bool) -> RowCost:
    """Measures one row. What does not fit into memory is noted, and the rest goes on."""
    found: dict[str, Cost | None] = {"inference": None, "training": None}
    notes = []
    for kind, wanted, cost in (
        ("inference", inference, inference_cost),
        ("training", training, training_cost),
    ):
        try:
            found[kind] = cost(row, how) if wanted else None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            notes.append(f"{row.name}: no memory for {kind}. Try --precision bf16 or --shrink 2.")
    return RowCost(row, found["inference"], found["training"], tuple(notes))


def same_cost(experiment: Experiment) -> Experiment:
    """Equal for rows that differ in nothing but how long they are trained."""
    return replace(experiment, name="", train=TrainConfig(iterations=1))


def row_costs(
    rows: Sequence[Published], how: Measuring, inference: bool, training: bool
) -> Iterator[RowCost]:
    """Measures rows one after the other, those of the same cost once."""
    known: dict[Experiment, RowCost] = {}
    for row in rows:
        key = same_cost(row.experiment)
        if key not in known:
            known[key] = row_cost(row, how, inference, training)
        yield replace(known[key], row=row)


def device_name(device: torch.device) -> str:
    """The GPU's or the CPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def settings_of(how: Measuring) -> dict[str, Any]:
    """All that the numbers depend on, besides the versions of the libraries."""
    on_gpu = how.device.type == "cuda"
    return {
        "device": device_name(how.device),
        "threads": torch.get_num_threads(),
        **asdict(how.compute),
        "tf32_convolutions": on_gpu and torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "shrink": how.shrink,
        "repeat": how.repeat,
    }


def file_name(what: str, how: Measuring) -> str:
    """Another machine or another setting gets another file: no result replaces a different one."""
    words = [what, device_name(how.device), how.compute.precision]
    words += [f"shrink{how.shrink}"] * (how.shrink > 1) + ["compiled"] * how.compute.compile
    words += ["contiguous"] * (not how.compute.channels_last)
    return slug(*words)


def ratio(here: float, there: float | None, how: Measuring) -> list[str]:
    """The published number and ours as a multiple of it; smaller pictures compare with nothing."""
    if there is None or how.shrink > 1:
        return ["-", "-"]
    return [f"{there:g}", f"{here / there:.2f}"]


def inference_row(cost: RowCost, how: Measuring) -> list[str]:
    found = cost.inference
    timing = found.timing
    fps = 1000 / timing.median
    return [
        cost.row.name,
        f"{found.size[0]} x {found.size[1]}",
        f"{timing.median:.1f} ({timing.fastest:.1f} to {timing.slowest:.1f})",
        f"{fps:.2f}",
        *ratio(fps, cost.row.frames_per_second, how),
        f"{found.peak_gib:.2f}",
    ]


def training_row(cost: RowCost, how: Measuring) -> list[str]:
    found = cost.training
    timing = found.timing
    return [
        cost.row.name,
        f"{found.images} x {found.size[0]} x {found.size[1]}",
        f"{timing.median:.1f} ({timing.fastest:.1f} to {timing.slowest:.1f})",
        f"{found.peak_gib:.2f}",
        *ratio(found.peak_gib, cost.row.memory_gb, how),
        "-" if cost.hours is None else f"{cost.hours:.1f}",
    ]


INFERENCE_HEADER = ("name", "picture", "ms", "frames/s", "published", "ratio", "memory GiB")
TRAINING_HEADER = ("name", "batch", "ms a step", "memory GiB", "published", "ratio", "device-hours")
LEGEND = """Times are medians (fastest to slowest) and leave out the loading of data. Inference: one
picture, network and all up to the class indices in the CPU's memory. Training: one step on one
GPU's share of the batch, without the exchange of gradients. Memory: the most that tensors held at
once; a CPU's libraries and the interpreter take some more. Device-hours: the whole training, the
shares of all its GPUs one after the other. Published: {hardware}, fp32."""


def cost_tables(costs: Sequence[RowCost], how: Measuring) -> str:
    """Two Markdown tables, how they were measured, and what could not be."""
    inference = [inference_row(cost, how) for cost in costs if cost.inference]
    training = [training_row(cost, how) for cost in costs if cost.training]
    texts = [
        *([table(INFERENCE_HEADER, inference)] if inference else []),
        *([table(TRAINING_HEADER, training)] if training else []),
        LEGEND.format(hardware=costs[0].row.hardware),
        said(settings_of(how)),
        *dict.fromkeys(note for cost in costs for note in cost.notes),
    ]
    return "\n\n".join(texts)


def said(settings: dict[str, Any]) -> str:
    """The settings for people."""
    words = [f"{settings['device']}, {settings['precision']}"]
    words += ["TF32 convolutions"] * settings["tf32_convolutions"]
    words += ["compiled"] * settings["compile"]
    words += ["channels last" if settings["channels_last"] else "channels first"]
    text = f"Here: {', '.join(words)}; {settings['repeat']} calls each."
    if settings["shrink"] > 1:
        text += f" **All sides divided by {settings['shrink']}**: no comparison with the published."
    return text


def write_costs(costs: Sequence[RowCost], path: Path, how: Measuring, command: str) -> str:
    """Writes the tables, and the numbers beside them as JSON.  -> the tables"""
    values = {"settings": settings_of(how), "rows": [cost.as_json() for cost in costs]}
    return write_measured(cost_tables(costs, how), values, path, command)
