"""A published row measured again, beside the numbers that were published about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from annlib.config import Precision, TestConfig
from annlib.data.benchmarks import PUBLISHED_PICTURES
from annlib.data.datasets import SegmentationFolder
from annlib.data.mimic import MARK
from annlib.data.sources import labelled
from annlib.engine.cost_tables import RowCost, device_name
from annlib.engine.evaluate import Scores
from annlib.engine.inference import MULTI_SCALE
from annlib.engine.networks import Network, find_network
from annlib.engine.provenance import provenance
from annlib.engine.results import write_results
from annlib.engine.settings import to_json
from annlib.engine.tables import table
from annlib.model.checkpoints import write_atomically
from annlib.model.published import load_published
from annlib.zoo import Published

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
    return network._replace(load=lambda progress: load_published(row.name, weights))


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
