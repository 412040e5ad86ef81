"""annlib reproduce: measures a published row on your copy of its data set."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tyro.conf import Positional

from annlib.cli.common import (
    Device,
    at_least_one,
    choose_device,
    message_of,
    use_threads,
)
from annlib.cli.evaluate import follow
from annlib.config import Precision, RuntimeConfig, TestConfig
from annlib.data.classes import PUBLISHED_PICTURES
from annlib.data.datasets import SegmentationFolder, labelled
from annlib.data.synthetic import MARK
from annlib.engine.inference import MULTI_SCALE
from annlib.engine.metrics import Scores, table
from annlib.engine.predictor import Network, find_network
from annlib.engine.results import provenance, to_json, write_results
from annlib.engine.row_costs import RowCost, device_name
from annlib.model.checkpoint import write_atomically
from annlib.model.hub import load_published
from annlib.zoo import Published

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from annlib.engine.predictor import Segmenter


SINGLE, MULTI = "single scale", "ms+flip"
HEADER = ("", "mIoU %", "ms+flip %", "memory GB", "frames/s")


@dataclass(frozen=True)
class Columns:
    """The four numbers of a published row. None: not published, or not measured."""

    miou: float | None
    miou_multiscale: float | None
    memory_gb: float | None
    frames_per_second: float | None

    def values(self) -> tuple[float | None, ...]:
        return (self.miou, self.miou_multiscale, self.memory_gb, self.frames_per_second)

    def minus(self, other: "Columns") -> "Columns":
        """None where either is missing."""
        pairs = zip(self.values(), other.values(), strict=True)
        return Columns(*(None if None in (a, b) else a - b for a, b in pairs))


@dataclass(frozen=True)
class Reproduced:
    """One row as it came out here.

    scores: by SINGLE and MULTI. caveats: why a difference may say nothing, as sentences.
    """

    row: Published
    scores: dict[str, Scores]
    cost: RowCost | None
    precision: Precision
    caveats: tuple[str, ...]

    @property
    def here(self) -> Columns:
        scores = {name: 100 * scores.miou for name, scores in self.scores.items()}
        inference = self.cost.inference if self.cost else None
        training = self.cost.training if self.cost else None
        return Columns(
            scores.get(SINGLE),
            scores.get(MULTI),
            training.peak_gib if training else None,
            1000 / inference.timing.median if inference else None,
        )

    @property
    def published(self) -> Columns:
        row = self.row
        return Columns(row.miou, row.miou_multiscale, row.memory_gb, row.frames_per_second)


def validation_half(
    network: Network, row: Published, root: Path, limit: int | None
) -> tuple[SegmentationFolder, tuple[str, ...]]:
    """Its pictures, `limit` of them evenly spread if given, and what is to be said of them."""
    dataset = labelled(network.spec, root, "val")
    total, name = len(dataset), row.experiment.data.dataset
    published = PUBLISHED_PICTURES[name]["val"]
    caveats = []
    if (root / MARK).exists():
        caveats.append(f"{name} is a painted imitation here ({MARK}): scores on it mean nothing.")
    elif total != published:
        caveats.append(f"{total} pictures in the validation half, {published} were published.")
    if limit is not None and limit < total:
        places = [index * total // limit for index in range(limit)]
        dataset.images = [dataset.images[place] for place in places]
        dataset.labels = [dataset.labels[place] for place in places]
        caveats.append(f"Scored on {limit} of {total} pictures only.")
    return dataset, tuple(caveats)


def network_of_row(row: Published, weights: Path | None) -> Network:
    """The row with its released weights, from a file or, if None, from the cache or network."""
    network = find_network(row.name)
    if weights is None:
        return network
    return network._replace(load=lambda: load_published(row.name, weights))


def ways_of_testing(network: Network, multi_scale: bool) -> dict[str, TestConfig]:
    """Those of the published columns."""
    tests = {SINGLE: network.test}
    if multi_scale:
        tests[MULTI] = replace(network.test, scales=MULTI_SCALE, flip=True)
    return tests


def cells(columns: Columns, form: str) -> list[str]:
    return ["-" if value is None else format(value, form) for value in columns.values()]


def reproduced_table(found: Reproduced, device: torch.device) -> str:
    """Three lines: published, here, the difference; below them what limits the comparison."""
    difference = found.here.minus(found.published)
    rows = [
        ["published", *cells(found.published, ".2f")],
        ["here", *cells(found.here, ".2f")],
        ["difference", *cells(difference, "+.2f")],
    ]
    here = f"Here: {device_name(device)}, {found.precision}. Published: {found.row.hardware}, fp32."
    notes = [*found.caveats, *(found.cost.notes if found.cost else ())]
    texts = [f"**{found.row.name}**", table(HEADER, rows), here, *bold(notes)]
    return "\n\n".join(texts)


def bold(sentences: Sequence[str]) -> list[str]:
    return [f"**{sentence}**" for sentence in sentences]


def as_json(found: Reproduced, class_names: Sequence[str]) -> dict[str, Any]:
    """Everything that was found, as plain values."""
    return {
        "made": provenance(),
        "name": found.row.name,
        "precision": found.precision,
        "caveats": list(found.caveats),
        "published": vars(found.published),
        "here": vars(found.here),
        "difference": vars(found.here.minus(found.published)),
        "scores": {name: scores.as_json(class_names) for name, scores in found.scores.items()},
        "cost": found.cost.as_json() if found.cost else None,
    }


def write_reproduced(
    found: Reproduced,
    class_names: Sequence[str],
    folder: Path,
    device: torch.device,
    command: str,
) -> str:
    """Writes NAME.md and NAME.json.  -> the table"""
    path = folder / f"{found.row.name}.md"
    write_atomically(path.with_suffix(".json"), to_json(as_json(found, class_names)))
    return write_results(reproduced_table(found, device), path, command)


RESULTS = Path("data/results/reproduce")


@dataclass(frozen=True)
class Reproduce:
    """Evaluate a row's released weights on your copy of its data set, and print its row of the
    published table with the difference.

    Scores at single scale and with six scales and mirror images, memory of a training step, frames
    per second. After a stop the same command goes on. torchrun --nproc-per-node=N -m annlib
    reproduce ... shares the pictures out among N processes, and leaves memory and speed away.
    """

    name: Positional[str]
    """A published row (`annlib list`)."""
    data: Path
    """Folder of the data set, as `annlib data check` takes it."""
    weights: Path | None = None
    """The released .pth, or a .safetensors of ours, if it shall not be fetched."""
    limit: int | None = None
    """Score so many pictures only, evenly spread; the table says so."""
    multi_scale: bool = True
    """Score with six scales and mirror images, too: 17 times the work of a single scale."""
    benchmark: bool = True
    """Measure memory and speed, too: hours on a CPU, so leave it away there."""
    repeat: int = 10
    """Calls that count for a time."""
    precision: Precision = "fp32"
    """Of convolutions and products; fp32 was published."""
    work: Path | None = None
    """Folder of what is done so far; runs/reproduce/NAME if not given."""
    out: Path = RESULTS
    """Folder of the table and its JSON."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""
    workers: int = 0
    """Processes that read pictures beside the prediction."""

    def run(self) -> None:
        from annlib.engine.distributed import init_distributed
        from annlib.zoo import published

        row = published(self.name)  # first: a misspelt name is told before torch is loaded
        at_least_one("--repeat", self.repeat)
        if self.limit is not None:
            at_least_one("--limit", self.limit)
        use_threads(self.threads)
        with init_distributed(choose_device(self.device)) as device:
            self.reproduce(row, device)

    def reproduce(self, row: "Published", device: "torch.device") -> None:
        """Data before weights: a missing folder is told before anything is fetched."""
        from annlib.engine.distributed import is_main

        network = network_of_row(row, self.weights)
        dataset, caveats = validation_half(network, row, self.data, self.limit)
        scores = {
            way: self.score(self.folder(row), way, ready, dataset)
            for way, ready in self.segmenters(network, device).items()
        }
        if self.weights is not None:
            caveats += (f"Weights from {self.weights.name}.",)
        cost = self.measure(row, device)
        if is_main():
            found = Reproduced(row, scores, cost, self.precision, caveats)
            self.report(found, network.spec.class_names, device)

    def segmenters(self, network: "Network", device: "torch.device") -> "dict[str, Segmenter]":
        """One model, loaded once, for every way of testing."""
        from annlib.engine.inference import make_label_predictor
        from annlib.engine.predictor import segmenter

        first = segmenter(network, device, None, self.precision)
        return {
            way: first._replace(
                test=test, label=make_label_predictor(first.model, test, self.precision)
            )
            for way, test in ways_of_testing(network, self.multi_scale).items()
        }

    def score(self, folder: Path, way: str, segmenter: "Segmenter", dataset: "Dataset") -> "Scores":
        """Scores every picture and keeps what is done."""
        from annlib.engine.evaluate import Evaluation

        folder = folder / way.replace(" ", "-").replace("+", "-")
        evaluation = Evaluation(segmenter, dataset, folder)
        way_on = f"{folder} keeps what is done: the same command goes on."
        try:
            finished = follow(evaluation, self.workers, way)
        except (ValueError, OSError) as error:
            raise ValueError(f"{message_of(error)}\n{way_on}") from error
        if not finished:
            print(f"Stopped. {way_on}", file=sys.stderr)
            raise KeyboardInterrupt  # as noted in `follow`
        return evaluation.finish()

    def folder(self, row: "Published") -> Path:
        """Of what is done so far; fewer pictures are another evaluation."""
        limit = "" if self.limit is None else f"-limit{self.limit}"
        return self.work or Path("runs/reproduce") / f"{row.name}{limit}"

    def measure(self, row: "Published", device: "torch.device") -> "RowCost | None":
        """Memory and speed; not beside other processes, which would change both."""
        from annlib.engine.distributed import world_size
        from annlib.engine.row_costs import Measuring, row_cost

        if not self.benchmark or world_size() > 1:
            return None
        how = Measuring(device, RuntimeConfig(self.precision), repeat=self.repeat)
        print("Measuring memory and speed ...", flush=True)
        return row_cost(row, how, inference=True, training=True)

    def report(
        self, found: "Reproduced", class_names: tuple[str, ...], device: "torch.device"
    ) -> None:
        """Prints the row beside the published one, and writes it down."""

        print(write_reproduced(found, class_names, self.out, device, self.command()))
        print(f"Saved {self.out / found.row.name}.md")

    def command(self) -> str:
        """The words that measure the same again, without private parts of paths."""
        from annlib.engine.results import without_names

        words = ["annlib", "reproduce", self.name, "--data", str(self.data)]
        words += [] if self.multi_scale else ["--no-multi-scale"]
        words += [] if self.benchmark else ["--no-benchmark"]
        for option, value, usual in (
            ("--weights", self.weights, None),
            ("--limit", self.limit, None),
            ("--repeat", self.repeat, 10),
            ("--precision", self.precision, "fp32"),
        ):
            words += [] if value == usual else [option, str(value)]
        return shlex.join(map(without_names, words))
