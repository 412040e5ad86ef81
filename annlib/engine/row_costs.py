"""What rows of the zoo cost here, beside what was published about them: measured, shown, kept."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from annlib.config import Experiment, TrainConfig
from annlib.engine.costs import Cost, Measuring, device_hours, inference_cost, training_cost
from annlib.engine.memory import is_out_of_memory
from annlib.engine.provenance import cpu_name
from annlib.engine.results import slug, write_measured
from annlib.engine.tables import table
from annlib.zoo import Published


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
