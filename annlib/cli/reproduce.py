"""annlib reproduce: measures a published row on your copy of its data set."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.cli.common import OnDevice, at_least_one, use_threads
from annlib.config import Precision, RuntimeConfig
from annlib.published_experiments import Published, published

if TYPE_CHECKING:
    import torch

    from annlib.course.row_costs import RowCost
    from annlib.data.datasets import SegmentationFolder
    from annlib.engine.metrics import Scores
    from annlib.engine.predictor import Network

SINGLE, MULTI = "single scale", "ms+flip"
Columns = dict[str, float | None]  # by name in the JSON; None: not published, or not measured


def comparison(
    row: Published, scores: "dict[str, Scores]", cost: "RowCost | None"
) -> dict[str, Columns]:
    """Published, here (scores by SINGLE and MULTI), and the difference, None if one is missing."""
    inference, training = (cost.inference, cost.training) if cost else (None, None)
    here = {
        "miou": 100 * scores[SINGLE].miou,
        "miou_multiscale": 100 * scores[MULTI].miou if MULTI in scores else None,
        "memory_gb": training.peak_gib if training else None,
        "frames_per_second": 1000 / inference.timing.median if inference else None,
    }
    published = {name: getattr(row, name) for name in here}
    pairs = ((name, value, published[name]) for name, value in here.items())
    difference = {name: None if None in (a, b) else a - b for name, a, b in pairs}
    return {"published": published, "here": here, "difference": difference}


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
    published, caveats = PUBLISHED_IMAGES[name]["val"], []
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


def reproduced_table(
    row: Published,
    scores: "dict[str, Scores]",
    cost: "RowCost | None",
    caveats: tuple[str, ...],
    precision: Precision,
    device: "torch.device",
) -> str:
    """Three lines: published, here, the difference; below them what limits the comparison."""
    from annlib.engine.metrics import table
    from annlib.engine.results import device_name

    rows, header = [], ("", "mIoU %", "ms+flip %", "memory GB", "frames/s")
    for name, columns in comparison(row, scores, cost).items():
        form = "+.2f" if name == "difference" else ".2f"
        cells = ("-" if value is None else format(value, form) for value in columns.values())
        rows.append([name, *cells])
    here = f"Here: {device_name(device)}, {precision}. Published: {row.hardware}, fp32."
    notes = [f"**{note}**" for note in (*caveats, *(cost.notes if cost else ()))]
    return "\n\n".join([f"**{row.name}**", table(header, rows), here, *notes])


@dataclass(frozen=True)
class Reproduce(OnDevice):
    """Evaluate a row's released weights on your copy of its data set, and print its row of the
    published table with the difference.

    Scores at single scale and with six scales and mirror images, memory of a training step, frames
    per second. After a stop the same command continues. torchrun --nproc-per-node=N -m annlib
    reproduce ... divides the images among N processes, and does not measure memory and speed.
    """

    name: Positional[str]  # A published row (`annlib list`).
    data: Path  # Folder of the data set, as `annlib data check` takes it.
    weights: Path | None = None  # A .pth or .safetensors; the released one if not given.
    limit: int | None = None  # Score only so many images, evenly spaced; the table says so.
    multi_scale: bool = True  # Score with six scales and mirror images, too: 17 times the work.
    benchmark: bool = True  # Measure memory and speed, too: hours on a CPU.
    repeat: int = 10  # Timed calls.
    work: Path | None = None  # Folder of finished images; runs/reproduce/NAME if not given.
    out: Path = Path("data/results/reproduce")  # Folder of the table and its JSON.
    workers: int = 0  # Processes that read images while the network runs.

    def run(self) -> None:
        """Data before weights: a missing folder is told before anything is downloaded."""
        from annlib.cli.evaluate import follow
        from annlib.course.row_costs import Measuring, row_cost
        from annlib.engine.distributed import init_distributed, is_main, world_size
        from annlib.engine.evaluate import Evaluation
        from annlib.engine.inference import MULTI_SCALE, choose_device, make_label_predictor
        from annlib.engine.predictor import segmenter
        from annlib.engine.results import command, provenance, to_json, write_results
        from annlib.model.checkpoint import write_atomically

        row = published(self.name)
        at_least_one("--repeat", self.repeat)
        at_least_one("--limit", 1 if self.limit is None else self.limit)
        use_threads(self.threads)
        with init_distributed(choose_device(self.device)) as device:
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
            scores, cost = {}, None
            for name, test in tests.items():
                folder = work / name.replace(" ", "-").replace("+", "-")
                label = make_label_predictor(first.model, test, self.precision)
                evaluation = Evaluation(first._replace(test=test, label=label), dataset, folder)
                scores[name] = follow(evaluation, self.workers, name)
            if self.benchmark and world_size() == 1:  # other processes would change both
                print("Measuring memory and speed ...", flush=True)
                how = Measuring(device, RuntimeConfig(self.precision), repeat=self.repeat)
                cost = row_cost(row, how, inference=True, training=True)
            if not is_main():
                return
        values = {"made": provenance(), "name": row.name, "precision": self.precision}
        values |= {"caveats": list(caveats), **comparison(row, scores, cost)}
        class_names, path = network.spec.class_names, self.out / f"{row.name}.md"
        values["scores"] = {name: found.as_json(class_names) for name, found in scores.items()}
        values["cost"] = cost.as_json() if cost else None
        write_atomically(path.with_suffix(".json"), to_json(values))
        text = reproduced_table(row, scores, cost, caveats, self.precision, device)
        print(write_results(text, path, shlex.join(command(sys.argv))))
        print(f"Saved {path}")
