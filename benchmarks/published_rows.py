"""Memory and speed of the published rows, measured next to the published numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tyro.conf import Positional

from annlib.config import Experiment, Precision, RuntimeConfig
from annlib.course import row_costs
from annlib.course.row_costs import Cost, Measuring, RowCost, same_cost
from annlib.engine.metrics import table
from annlib.engine.results import device_name
from annlib.published_experiments import ROWS, Published, published
from benchmarks.common import Machine, Results, main, remake, slug, write_measured

INFERENCE_HEADER = ("name", "image", "ms", "frames/s", "published", "ratio", "memory GiB")
TRAINING_HEADER = ("name", "batch", "ms a step", "memory GiB", "published", "ratio", "device-hours")
LEGEND = """Times are medians (fastest to slowest) without data loading. Inference: one image,
network and everything up to the class indices in the CPU's memory. Training: one step on one GPU's
share of the batch, without the exchange of gradients. Memory: the peak of tensors; a CPU's
libraries and the interpreter take some more. Device-hours: the whole training, added up over its
GPUs. Published: {hardware}, fp32."""


@dataclass(frozen=True)
class Choice:
    """Of published rows."""

    name: Positional[str | None] = None
    """A published row (`annlib list`)."""
    all: bool = False
    """All 16 rows; those that differ only in their steps are measured once."""

    def rows(self) -> list[Published]:
        """The chosen rows. Raises ValueError if that is nothing, or two things."""
        if self.all == (self.name is not None):
            raise ValueError("Name one published row (see annlib list), or give --all.")
        return list(ROWS) if self.all else [published(self.name)]


def measure_rows(
    rows: Sequence[Published], how: Measuring, inference: bool, training: bool
) -> Iterator[RowCost]:
    """Measures rows one after the other, those of the same cost once."""
    known: dict[Experiment, RowCost] = {}
    for row in rows:
        key = same_cost(row.experiment)
        if key not in known:
            known[key] = row_costs.row_cost(row, how, inference, training)
        yield replace(known[key], row=row)


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
    """Another machine or another setting gets another file."""
    words = [what, device_name(how.device), how.compute.precision]
    words += [f"shrink{how.shrink}"] * (how.shrink > 1) + ["compiled"] * how.compute.compile
    words += ["contiguous"] * (not how.compute.channels_last)
    return slug(*words)


def cost_tables(costs: Sequence[RowCost], how: Measuring) -> str:
    """Two Markdown tables, the settings, and what could not be measured."""

    def ratio(here: float, there: float | None) -> list[str]:
        comparable = there is not None and how.shrink == 1
        return [f"{there:g}", f"{here / there:.2f}"] if comparable else ["-", "-"]

    def size(cost: Cost) -> str:
        return f"{cost.size[0]} x {cost.size[1]}"

    inference, training = [], []
    for cost in costs:
        if found := cost.inference:
            fps = 1000 / found.timing.median
            rate = ratio(fps, cost.row.frames_per_second)
            cells = [size(found), str(found.timing), f"{fps:.2f}", *rate, f"{found.peak_gib:.2f}"]
            inference.append([cost.row.name, *cells])
        if found := cost.training:
            memory = [f"{found.peak_gib:.2f}", *ratio(found.peak_gib, cost.row.memory_gb)]
            hours = "-" if cost.hours is None else f"{cost.hours:.1f}"
            batch = f"{found.images} x {size(found)}"
            training.append([cost.row.name, batch, str(found.timing), *memory, hours])
    settings = settings_of(how)
    words = [f"{settings['device']}, {settings['precision']}"]
    words += ["TF32 convolutions"] * settings["tf32_convolutions"]
    words += ["compiled"] * settings["compile"]
    words += ["channels last" if settings["channels_last"] else "channels first"]
    here = f"Here: {', '.join(words)}; {how.repeat} calls each."
    if how.shrink > 1:
        here += f" **All sides divided by {how.shrink}**: no comparison with the published."
    texts = [
        *([table(INFERENCE_HEADER, inference)] if inference else []),
        *([table(TRAINING_HEADER, training)] if training else []),
        LEGEND.format(hardware=costs[0].row.hardware),
        here,
        *dict.fromkeys(note for cost in costs for note in cost.notes),
    ]
    return "\n\n".join(texts)


def write_costs(costs: Sequence[RowCost], path: Path, how: Measuring, command: str) -> str:
    """Writes the tables, and the numbers next to them as JSON.  -> the tables"""
    values = {"settings": settings_of(how), "rows": [cost.as_json() for cost in costs]}
    return write_measured(cost_tables(costs, how), values, path, command)


@dataclass(frozen=True)
class Rows:
    """Measure frames per second, time and memory of a training step, as the published tables do.

    One image at a time at the published sizes; training with the published share of one GPU. On a
    CPU a row takes minutes to an hour: --shrink 4 shows what to expect.
    """

    choice: Choice = Choice()
    machine: Machine = Machine()
    results: Results = Results()
    inference: bool = True
    """Measure inference."""
    training: bool = True
    """Measure training."""
    shrink: int = 1
    """Divide all sides of images and crops by this."""
    precision: Precision = "fp32"
    """Of convolutions and products; fp32 was published (on a recent GPU that is TF32)."""
    compile: bool = False
    """Let torch.compile fuse operations."""
    channels_last: bool = True
    """Memory layout of feature maps."""

    def run(self) -> None:
        rows = self.choice.rows()  # first: a misspelt name is told before anything is measured
        if not (self.inference or self.training):
            raise ValueError("--no-inference and --no-training leave nothing to measure.")
        compute = RuntimeConfig(
            self.precision, channels_last=self.channels_last, compile=self.compile
        )
        how = Measuring(self.machine.ready(), compute, self.shrink, self.machine.repeat)
        path = self.results.out / f"{file_name(self.choice.name or 'all', how)}.md"
        costs: list[RowCost] = []
        for cost in measure_rows(rows, how, self.inference, self.training):
            costs.append(cost)
            text = write_costs(costs, path, how, remake())
            print(f"{len(costs)} of {len(rows)}: {cost.row.name}", flush=True)
        print(f"\n{text}\nSaved {path}")


if __name__ == "__main__":
    main("benchmarks.published_rows", Rows, __doc__, "--all --shrink 4")
