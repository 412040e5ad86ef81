"""annlib reproduce: measures a published row on your copy of its data set."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.cli.common import Device, at_least_one, choose_device, message_of, use_threads
from annlib.config import Precision, RuntimeConfig
from annlib.published_experiments import Published, published

if TYPE_CHECKING:
    import torch

    from annlib.data.datasets import SegmentationFolder
    from annlib.engine.metrics import Scores
    from annlib.engine.predictor import Network
    from annlib.engine.row_costs import RowCost

SINGLE, MULTI = "single scale", "ms+flip"
HEADER = ("", "mIoU %", "ms+flip %", "memory GB", "frames/s")
Columns = dict[str, float | None]  # by name in the JSON; None: not published, or not measured


@dataclass(frozen=True)
class Reproduced:
    """One row as measured here.

    scores: by SINGLE and MULTI. caveats: why a difference may not mean anything, as sentences.
    """

    row: Published
    scores: "dict[str, Scores]"
    cost: "RowCost | None"
    precision: Precision
    caveats: tuple[str, ...]

    @property
    def published(self) -> Columns:
        names = ("miou", "miou_multiscale", "memory_gb", "frames_per_second")
        return {name: getattr(self.row, name) for name in names}

    @property
    def here(self) -> Columns:
        scores = {name: 100 * scores.miou for name, scores in self.scores.items()}
        inference = self.cost.inference if self.cost else None
        training = self.cost.training if self.cost else None
        return {
            "miou": scores.get(SINGLE),
            "miou_multiscale": scores.get(MULTI),
            "memory_gb": training.peak_gib if training else None,
            "frames_per_second": 1000 / inference.timing.median if inference else None,
        }

    @property
    def difference(self) -> Columns:
        """None where either is missing."""
        pairs = {name: (value, self.published[name]) for name, value in self.here.items()}
        return {name: None if None in (a, b) else a - b for name, (a, b) in pairs.items()}


def network_of_row(row: Published, weights: Path | None) -> "Network":
    """The row with its released weights, from a file or, if None, from the cache or network."""
    from annlib.engine.predictor import find_network
    from annlib.model.hub import load_published

    network = find_network(row.name)
    if weights is None:
        return network
    return network._replace(load=lambda: load_published(row.name, weights))


def validation_split(
    network: "Network", row: Published, root: Path, limit: int | None
) -> "tuple[SegmentationFolder, tuple[str, ...]]":
    """Its images, `limit` of them evenly spaced if given, and caveats about them."""
    from annlib.data.datasets import labelled
    from annlib.data.synthetic import MARK, PUBLISHED_IMAGES

    dataset = labelled(network.spec, root, "val")
    total, name = len(dataset), row.experiment.data.dataset
    published = PUBLISHED_IMAGES[name]["val"]
    caveats = []
    if (root / MARK).exists():
        caveats.append(f"{name} is a synthetic imitation here ({MARK}): scores on it mean nothing.")
    elif total != published:
        caveats.append(f"{total} images in the validation split, {published} were published.")
    if limit is not None and limit < total:
        places = [index * total // limit for index in range(limit)]
        dataset.images = [dataset.images[place] for place in places]
        dataset.labels = [dataset.labels[place] for place in places]
        caveats.append(f"Scored on only {limit} of {total} images.")
    return dataset, tuple(caveats)


def reproduced_table(found: Reproduced, device: "torch.device") -> str:
    """Three lines: published, here, the difference; below them what limits the comparison."""
    from annlib.engine.metrics import table
    from annlib.engine.row_costs import device_name

    rows = [
        [name, *("-" if value is None else format(value, form) for value in columns.values())]
        for name, columns, form in (
            ("published", found.published, ".2f"),
            ("here", found.here, ".2f"),
            ("difference", found.difference, "+.2f"),
        )
    ]
    here = f"Here: {device_name(device)}, {found.precision}. Published: {found.row.hardware}, fp32."
    notes = [*found.caveats, *(found.cost.notes if found.cost else ())]
    notes = [f"**{note}**" for note in notes]
    return "\n\n".join([f"**{found.row.name}**", table(HEADER, rows), here, *notes])


@dataclass(frozen=True)
class Reproduce:
    """Evaluate a row's released weights on your copy of its data set, and print its row of the
    published table with the difference.

    Scores at single scale and with six scales and mirror images, memory of a training step, frames
    per second. After a stop the same command continues. torchrun --nproc-per-node=N -m annlib
    reproduce ... divides the images among N processes, and does not measure memory and speed.
    """

    name: Positional[str]
    """A published row (`annlib list`)."""
    data: Path
    """Folder of the data set, as `annlib data check` takes it."""
    weights: Path | None = None
    """A .pth or .safetensors of the row; the released weights if not given."""
    limit: int | None = None
    """Score only so many images, evenly spaced; the table says so."""
    multi_scale: bool = True
    """Score with six scales and mirror images, too: 17 times the work of a single scale."""
    benchmark: bool = True
    """Measure memory and speed, too: hours on a CPU, so use --no-benchmark there."""
    repeat: int = 10
    """Timed calls."""
    precision: Precision = "fp32"
    """Of convolutions and products; fp32 was published."""
    work: Path | None = None
    """Folder of finished images; runs/reproduce/NAME if not given."""
    out: Path = Path("data/results/reproduce")
    """Folder of the table and its JSON."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""
    workers: int = 0
    """Processes that read images while the network runs."""

    def run(self) -> None:
        from annlib.engine.distributed import init_distributed

        row = published(self.name)
        at_least_one("--repeat", self.repeat)
        if self.limit is not None:
            at_least_one("--limit", self.limit)
        use_threads(self.threads)
        with init_distributed(choose_device(self.device)) as device:
            self.reproduce(row, device)

    def reproduce(self, row: Published, device: "torch.device") -> None:
        """Data before weights: a missing folder is told before anything is downloaded."""
        from annlib.cli.evaluate import follow
        from annlib.engine.distributed import is_main, world_size
        from annlib.engine.evaluate import Evaluation
        from annlib.engine.inference import MULTI_SCALE, make_label_predictor
        from annlib.engine.predictor import segmenter
        from annlib.engine.results import provenance, to_json, write_results
        from annlib.engine.row_costs import Measuring, row_cost
        from annlib.model.checkpoint import write_atomically

        network = network_of_row(row, self.weights)
        dataset, caveats = validation_split(network, row, self.data, self.limit)
        if self.weights is not None:
            caveats += (f"Weights from {self.weights.name}.",)
        first = segmenter(network, device, None, self.precision)
        tests = {SINGLE: network.test}
        if self.multi_scale:
            tests[MULTI] = replace(network.test, scales=MULTI_SCALE, flip=True)
        limit = "" if self.limit is None else f"-limit{self.limit}"
        work = self.work or Path("runs/reproduce") / f"{row.name}{limit}"
        scores = {}
        for name, test in tests.items():
            folder = work / name.replace(" ", "-").replace("+", "-")
            label = make_label_predictor(first.model, test, self.precision)
            evaluation = Evaluation(first._replace(test=test, label=label), dataset, folder)
            hint = f"{folder} keeps finished images: the same command continues."
            try:
                finished = follow(evaluation, self.workers, name)
            except (ValueError, OSError) as error:
                raise ValueError(f"{message_of(error)}\n{hint}") from error
            if not finished:
                print(f"Stopped. {hint}", file=sys.stderr)
                raise KeyboardInterrupt  # as noted in `follow`
            scores[name] = evaluation.finish()
        cost = None
        if self.benchmark and world_size() == 1:  # other processes would change both
            print("Measuring memory and speed ...", flush=True)
            how = Measuring(device, RuntimeConfig(self.precision), repeat=self.repeat)
            cost = row_cost(row, how, inference=True, training=True)
        if is_main():
            found = Reproduced(row, scores, cost, self.precision, caveats)
            names = network.spec.class_names
            values = {
                "made": provenance(),
                "name": row.name,
                "precision": self.precision,
                "caveats": list(caveats),
                "published": found.published,
                "here": found.here,
                "difference": found.difference,
                "scores": {name: each.as_json(names) for name, each in scores.items()},
                "cost": cost.as_json() if cost else None,
            }
            path = self.out / f"{row.name}.md"
            write_atomically(path.with_suffix(".json"), to_json(values))
            print(write_results(reproduced_table(found, device), path, self.command()))
            print(f"Saved {path}")

    def command(self) -> str:
        """The words that measure the same again, without private parts of paths."""
        from annlib.engine.results import without_names

        words = ["annlib", "reproduce", self.name, "--data", str(self.data)]
        words += [] if self.multi_scale else ["--no-multi-scale"]
        words += [] if self.benchmark else ["--no-benchmark"]
        for option, value, default in (
            ("--weights", self.weights, None),
            ("--limit", self.limit, None),
            ("--repeat", self.repeat, 10),
            ("--precision", self.precision, "fp32"),
        ):
            words += [] if value == default else [option, str(value)]
        return shlex.join(map(without_names, words))
