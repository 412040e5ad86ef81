"""Costs of a published row on this machine: parameters, FLOPs, time and memory."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from annlib.config import Experiment, ModelConfig, RuntimeConfig, TrainConfig
from annlib.course.profiler import Timing, operation_counter, peak_bytes, time_calls
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.engine.optimization import Step, is_out_of_memory, make_optimizer, train
from annlib.engine.trainer import prepare_model, wrap_model
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_inference, fuse_for_training
from annlib.published_experiments import Published

Size = tuple[int, int]  # height, width
IMAGE_SIZES: dict[str, Size] = {  # typical for each data set; Cityscapes has this size only
    "cityscapes": (1024, 2048),
    "ade20k": (512, 683),
    "voc12aug": (375, 500),
}
LARGEST_FACTOR = 16  # crops of 512 become 32: less would leave a feature map of one position
REST = "rest"  # pooling in the stem, resizing of the logits, and all else outside of the parts


def shrunk_size(size: Size, factor: int) -> Size:
    """An odd side stays odd: 769 = 8 * 96 + 1 becomes 8 * 12 + 1 = 97."""
    height, width = ((side - side % 2) // factor + side % 2 for side in size)
    return height, width


def shrunk(experiment: Experiment, factor: int) -> Experiment:
    """Crop, window, stride and base sizes divided by `factor`; network and recipe unchanged.

    Raises ValueError for a factor below 1, or so large that no image would be left.
    """
    if not 1 <= factor <= LARGEST_FACTOR:
        raise ValueError(
            f"Sides are to be divided by {factor} (--shrink): give a whole number of 1 (the "
            f"published sizes) to {LARGEST_FACTOR}."
        )

    def small(part: Any, *names: str) -> Any:
        sizes = {name: getattr(part, name) for name in names}
        sizes = {name: size and shrunk_size(size, factor) for name, size in sizes.items()}
        return replace(part, **sizes)

    data = small(experiment.data, "crop_size", "base_size")
    test = small(experiment.test, "window", "stride", "base_size")
    return replace(experiment, data=data, test=test)


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

    That is all of the published measurement, and the first resize, which that one counts as data
    loading. The network is built with the first prediction.
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
    size = image_size(experiment, how.shrink)
    return measured(predictions(experiment, how), 1, size, 1, how)


def share_of_one_gpu(row: Published) -> Experiment:
    """The row with the part of its batch that one of the published GPUs worked on."""
    data = replace(row.experiment.data, batch_size=row.batch_per_gpu)
    return replace(row.experiment, data=data)


def training_steps(experiment: Experiment, how: Measuring) -> Iterator[Step]:
    """Training steps on one batch of noise; the network is built with the first step."""
    model = fuse_for_training(build_model(experiment.model))
    model = prepare_model(model, how.device, how.compute)
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


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The stages of the backbone and the blocks of the head, in the order of the forward pass."""
    children = dict(model.backbone.named_children()) | dict(model.named_children())
    del children["backbone"]
    return {name: part for name, part in children.items() if any(True for _ in part.parameters())}


def spent_by_part(model: nn.Module, images: Tensor, clock: Callable[[], float]) -> dict[str, float]:
    """How far a clock advances in each part, and in the rest, while images are segmented.

    The auxiliary head, which only training runs, is run once on c4 after the forward pass. The sum
    is what the clock advanced in total.
    """
    spent, started, c4 = dict.fromkeys(parts_of(model), 0.0), {}, []

    def enter(name: str, *call: object) -> None:
        started[name] = clock()

    def leave(name: str, *call: object) -> None:
        spent[name] += clock() - started[name]

    handles = [model.backbone.register_forward_hook(lambda *call: c4.append(call[2][0]))]
    for name, part in parts_of(model).items():
        handles.append(part.register_forward_pre_hook(partial(enter, name)))
        handles.append(part.register_forward_hook(partial(leave, name)))
    try:
        with inference_of(model):
            begun = clock()
            model(images)
            model.auxiliary(c4[0])
            total = clock() - begun
    finally:
        for handle in handles:
            handle.remove()
    return spent | {REST: total - sum(spent.values())}


@cache  # because building takes as long as counting
def meta_model(config: ModelConfig, folded: bool) -> nn.Module:
    """A network whose parameters have only a shape."""
    with torch.device("meta"):
        model = build_model(config)
    return fuse_for_training(model) if folded else model


def gflops_by_part(
    config: ModelConfig, images: int, size: Size, folded: bool = True
) -> dict[str, float]:
    """10^9 operations of one forward pass, two for a multiply-add; nothing is computed."""
    model, batch = meta_model(config, folded), torch.empty(images, 3, *size, device="meta")
    with operation_counter() as counter:
        return spent_by_part(model, batch, lambda: counter.get_total_flops() / 1e9)


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """Parameters of each part, and of the rest."""

    def count(part: nn.Module) -> int:
        return sum(parameter.numel() for parameter in part.parameters())

    model = meta_model(config, True)
    counts = {name: count(part) for name, part in parts_of(model).items()}
    return counts | {REST: count(model) - sum(counts.values())}


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
        crop_size = self.row.experiment.data.crop_size
        if self.training is None or self.training.size != crop_size:
            return None
        steps = self.row.experiment.train.iterations * self.row.num_gpus
        return steps * self.training.timing.median / 3.6e6

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
    found, notes = {}, []
    wanted = (("inference", inference, inference_cost), ("training", training, training_cost))
    for kind, is_wanted, cost in wanted:
        try:
            found[kind] = cost(row, how) if is_wanted else None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            found[kind] = None
            notes.append(f"{row.name}: no memory for {kind}. Try --precision bf16 or --shrink 2.")
    return RowCost(row, **found, notes=tuple(notes))


def same_cost(experiment: Experiment) -> Experiment:
    """Equal for rows that differ only in how long they are trained."""
    return replace(experiment, name="", train=TrainConfig(iterations=1))
