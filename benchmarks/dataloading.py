"""annlib benchmark data: the preparation of training pictures, and the workers it takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from annlib.commands.errors import at_least_one
from annlib.commands.measuring import Machine, Results
from annlib.config import Compute, Precision

if TYPE_CHECKING:
    from annlib.data.datasets import SegmentationFolder
    from annlib.speed.data_race import Stages
    from annlib.speed.feeding import Feeding, Need
    from annlib.zoo import Published


@dataclass(frozen=True)
class Data:
    """Race the reference in preparing training pictures, and count the workers that it takes.

    Decoding, resizing and cropping, mirroring, colours, normalising: stage by stage, on one core.
    Without the reference (pip install -e '.[reference]') ours runs alone. Then: how much one
    worker delivers, how many a training takes, and whether it waits for them.
    """

    row: str = "ann_r50-d8_512x1024_40k_cityscapes"
    """A published row (`annlib list`): its data set and sizes."""
    data: Path | None = None
    """Folder of the data set; an imitation, painted for the occasion, if not given."""
    pictures: int = 6
    """How many of its pictures."""
    images_per_second: float | None = None
    """Speed of a training elsewhere that is to be fed."""
    training: bool = True
    """Train the row on this device, too, to see what it takes and waits: minutes on a CPU."""
    precision: Precision = "fp32"
    """Of that training."""
    compile: bool = False
    """Let torch.compile fuse its operations."""
    shrink: int = 1
    """Divide all sides of pictures and crops by this."""
    machine: Machine = Machine()
    results: Results = Results()

    def run(self) -> None:
        from annlib.engine.costs import Measuring
        from annlib.engine.shrinking import shrunk
        from annlib.speed.data_race import race_stages
        from annlib.speed.data_tables import DataReport
        from annlib.speed.feeding import Feeding
        from annlib.zoo import published

        row, device = published(self.row), self.machine.ready()
        self.check()
        row = replace(row, experiment=shrunk(row.experiment, self.shrink))
        with self.opened(row) as dataset:
            contestants = self.contestants(row, dataset)
            number = min(self.pictures, len(dataset))
            print(f"{self.machine.repeat} rounds of {number} pictures ...", flush=True)
            timings = race_stages(contestants, number, self.machine.repeat)
            compute = Compute(self.precision, compile=self.compile)
            how = Measuring(device, compute, repeat=self.machine.repeat)
            feeding = Feeding(row, dataset, how)
            needs = self.needs(feeding)
        report = DataReport(timings, number, self.machine.repeat, feeding.one_worker, needs)
        words = [self.precision] * (self.precision != "fp32") + ["compiled"] * self.compile
        words += [f"shrink{self.shrink}"] * (self.shrink > 1)
        path = self.results.path(device, "data", self.row, *words)
        self.results.keep(report.text(), report.values(), path)

    def check(self) -> None:
        """Raises ValueError for a number that is none."""
        at_least_one("--pictures", self.pictures)
        speed = self.images_per_second
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(
                f"--images-per-second is {speed:g}: no training is that fast. Give a number above "
                "0, for example --images-per-second 50."
            )

    @contextmanager
    def opened(self, row: "Published") -> "Iterator[SegmentationFolder]":
        """The training half of the data set, or of its imitation while it is there."""
        from annlib.data.mimic import mimic
        from annlib.data.sources import open_data
        from annlib.engine.shrinking import picture_size

        with TemporaryDirectory() as folder:
            root = self.data
            if root is None:
                root, experiment = Path(folder) / "imitation", row.experiment
                size = picture_size(experiment, self.shrink)
                mimic(experiment.data.dataset, root, train=self.pictures, val=1, size=size)
            yield open_data(row.experiment.data, root).train

    def contestants(self, row: "Published", dataset: "SegmentationFolder") -> "dict[str, Stages]":
        """Ours, and the reference where it is installed."""
        from annlib.speed.data_race import our_stages
        from annlib.speed.data_tables import OURS, REFERENCE
        from annlib.speed.reference import HOW_TO_INSTALL, installed
        from annlib.speed.reference_data import reference_stages

        ours = {OURS: our_stages(dataset, row.experiment.data)}
        if installed():
            return {REFERENCE: reference_stages(row, dataset)} | ours
        print(f"The reference is not installed: ours runs alone. {HOW_TO_INSTALL}", flush=True)
        return ours

    def needs(self, feeding: "Feeding") -> "list[Need]":
        """Of trainings on a published GPU, elsewhere, and here."""
        from annlib.speed.feeding import published_rate

        speeds = {
            "a published GPU (estimated)": published_rate(feeding.row),
            "elsewhere (as given)": self.images_per_second,
        }
        print(f"One worker: {feeding.one_worker:.1f} images/s. Feeding trainings ...", flush=True)
        found = [feeding.need_of(who, speed) for who, speed in speeds.items() if speed]
        return found + ([feeding.need_here()] if self.training else [])
