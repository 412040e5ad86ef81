"""annlib reproduce: a published row, measured on your copy of its data set."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.commands.devices import Device, choose_device, use_threads
from annlib.commands.errors import at_least_one, message_of
from annlib.commands.progress import download_bar
from annlib.commands.scoring import follow
from annlib.config import Compute, Precision

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

    from annlib.engine.cost_tables import RowCost
    from annlib.engine.evaluate import Scores
    from annlib.engine.networks import Network
    from annlib.engine.predict import Segmenter
    from annlib.engine.reproduce import Reproduced
    from annlib.zoo import Published

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
        from annlib.engine.distributed import joined
        from annlib.zoo import published

        row = published(self.name)  # first: a misspelt name is told before torch is loaded
        at_least_one("--repeat", self.repeat)
        if self.limit is not None:
            at_least_one("--limit", self.limit)
        use_threads(self.threads)
        with joined(choose_device(self.device)) as device:
            self.reproduce(row, device)

    def reproduce(self, row: "Published", device: "torch.device") -> None:
        """Data before weights: a missing folder is told before anything is fetched."""
        from annlib.engine.distributed import is_main
        from annlib.engine.reproduce import Reproduced, network_of_row, validation_half

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
        from annlib.engine.inference import labeller
        from annlib.engine.predict import segmenter
        from annlib.engine.reproduce import ways_of_testing

        with download_bar(network.name) as progress:
            first = segmenter(network, device, None, self.precision, progress)
        return {
            way: first._replace(test=test, label=labeller(first.model, test, self.precision))
            for way, test in ways_of_testing(network, self.multi_scale).items()
        }

    def score(self, folder: Path, way: str, segmenter: "Segmenter", dataset: "Dataset") -> "Scores":
        """Scores every picture and keeps what is done."""
        from annlib.engine.evaluation import Evaluation

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
        from annlib.engine.cost_tables import row_cost
        from annlib.engine.costs import Measuring
        from annlib.engine.distributed import world_size

        if not self.benchmark or world_size() > 1:
            return None
        how = Measuring(device, Compute(self.precision), repeat=self.repeat)
        print("Measuring memory and speed ...", flush=True)
        return row_cost(row, how, inference=True, training=True)

    def report(
        self, found: "Reproduced", class_names: tuple[str, ...], device: "torch.device"
    ) -> None:
        """Prints the row beside the published one, and writes it down."""
        from annlib.engine.reproduce import write_reproduced

        print(write_reproduced(found, class_names, self.out, device, self.command()))
        print(f"Saved {self.out / found.row.name}.md")

    def command(self) -> str:
        """The words that measure the same again, without private parts of paths."""
        from annlib.engine.provenance import without_names

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
