"""python -m benchmarks dataloading: preparation of training images, and the workers it needs."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import islice
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from annlib.cli.common import at_least_one
from annlib.config import DataConfig, Precision, RuntimeConfig
from annlib.data.datasets import SegmentationFolder
from annlib.data.transforms import Compose, training_transform
from annlib.engine.metrics import percent, table
from annlib.engine.profiler import Timing, pace, watched
from annlib.engine.row_costs import (
    Measuring,
    device_name,
    picture_size,
    share_of_one_gpu,
    training_cost,
)
from annlib.engine.trainer import batches
from annlib.zoo import Published, published
from benchmarks.common import Machine, Results
from benchmarks.mmseg_reference import import_reference
from benchmarks.network import spread

# What happens to a picture and its labels, in this order.
DECODE, CUT, FLIP, COLOURS, TENSORS = (
    "decode",
    "resize and crop",
    "flip",
    "colours",
    "normalise and pad",
)
AUGMENTATION, ALL = "all but decode", "all"  # sums
Stages = Mapping[str, Callable[[Any], Any]]  # each takes what the one before returns
Milliseconds = dict[str, float]


def our_stages(dataset: SegmentationFolder, config: DataConfig) -> Stages:
    """From the index of a sample to what a batch is made of.

    config: one that resizes, crops and changes colours, as those of the published rows do.
    """
    resize, crop, flip, colours, *rest = training_transform(config).steps
    cut, to_tensors = Compose((resize, crop)), Compose(tuple(rest))
    return {
        DECODE: dataset.read,
        CUT: lambda pair: cut(*pair),
        FLIP: lambda pair: flip(*pair),
        COLOURS: lambda pair: colours(*pair),
        TENSORS: lambda pair: to_tensors(*pair),
    }


@contextmanager
def one_core() -> Iterator[None]:
    """PyTorch works with one thread inside, as it does in a loader's workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lap(stages: Stages, index: int) -> Milliseconds:
    """Prepares one sample.  -> what each stage took"""
    sample: Any = index
    taken = {}
    for name, stage in stages.items():
        started = time.perf_counter()
        sample = stage(sample)
        taken[name] = 1000 * (time.perf_counter() - started)
    return taken


def with_sums(taken: Milliseconds) -> Milliseconds:
    everything = sum(taken.values())
    return taken | {AUGMENTATION: everything - taken[DECODE], ALL: everything}


def race_stages(
    contestants: Mapping[str, Stages], num_samples: int, rounds: int
) -> dict[str, dict[str, Timing]]:
    """Milliseconds of a sample by contestant and stage: median, least and most of all rounds.

    In a round one after the other prepares all samples. Its figure is their mean, for what is
    done to a sample is drawn at random, and takes now more, now less. One round goes before those
    that count.
    """
    found: dict[str, list[Milliseconds]] = {name: [] for name in contestants}
    with one_core():
        for _ in range(1 + rounds):
            for name, stages in contestants.items():
                laps = [with_sums(lap(stages, index)) for index in range(num_samples)]
                found[name].append(mean_of(laps))
    return {name: timings(means[1:]) for name, means in found.items()}


def mean_of(laps: list[Milliseconds]) -> Milliseconds:
    return {stage: sum(taken[stage] for taken in laps) / len(laps) for stage in laps[0]}


def timings(rounds: list[Milliseconds]) -> dict[str, Timing]:
    columns = {stage: [taken[stage] for taken in rounds] for stage in rounds[0]}
    return {
        stage: Timing(median(values), min(values), max(values)) for stage, values in columns.items()
    }


STAGE_OF = {  # its transforms
    "LoadImageFromFile": DECODE,
    "LoadAnnotations": DECODE,
    "RandomResize": CUT,
    "RandomCrop": CUT,
    "RandomFlip": FLIP,
    "PhotoMetricDistortion": COLOURS,
    "Pad": TENSORS,
    "PackSegInputs": TENSORS,
}
Sample = dict[str, Any]


def reference_stages(row: Published, dataset: SegmentationFolder) -> Stages:
    """From the index of a sample to what its network takes, as its configuration file says.

    It normalises and pads a whole batch on the device that trains; here this counts for one
    picture on the CPU. OpenCV, which does most of the rest, gets one thread.
    """
    import_reference()
    import cv2
    import mmseg
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS, TRANSFORMS

    cv2.setNumThreads(1)
    path = Path(mmseg.__file__).parent / ".mim/configs/ann" / f"{published(row.name).name_1x}.py"
    data = row.experiment.data
    steps: dict[str, list[Callable[[Any], Any]]] = {name: [] for name in STAGE_OF.values()}
    steps[DECODE].append(lambda index: sample(dataset, index))
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        config = Config.fromfile(path)
        for settings in config.train_pipeline:
            transform = TRANSFORMS.build(settings | in_its_words(settings["type"], data))
            steps[STAGE_OF[settings["type"]]].append(transform)
        sizes = {"size": data.crop_size}
        preprocess = MODELS.build(config.model.data_preprocessor | sizes)
    steps[TENSORS].append(lambda packed: preprocess(as_batch(packed), training=True))
    return {stage: chain(parts) for stage, parts in steps.items()}


def in_its_words(transform: str, data: DataConfig) -> dict[str, Any]:
    """Our sizes for one of its transforms; its own are the same, unless ours were shrunk."""
    if transform == "RandomResize":
        return {"scale": data.base_size[::-1], "ratio_range": data.ratio_range}
    if transform == "RandomCrop":
        return {"crop_size": data.crop_size}
    return {"size": data.crop_size[::-1]} if transform == "Pad" else {}


def sample(dataset: SegmentationFolder, index: int) -> Sample:
    """What its data set tells its transforms."""
    return {
        "img_path": str(dataset.images[index]),
        "seg_map_path": str(dataset.labels[index]),
        "reduce_zero_label": dataset.spec.name == "ade20k",
        "label_map": None,
        "seg_fields": [],
    }


def as_batch(packed: Sample) -> dict[str, list[Any]]:
    return {name: [value] for name, value in packed.items()}


def chain(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    return lambda value: reduce(lambda found, step: step(found), steps, value)


MARGIN = 1.25  # workers share the memory and its caches, and some batches take longer than others
STEP_IN_FORWARDS = 3  # a training step: once forward, and backward twice as much work


@dataclass(frozen=True)
class Need:
    """What a training at some speed needs.

    waiting: share of its time that it waited, with `tried` workers: there are cores for no more.
    """

    who: str
    images_per_second: float
    workers: int
    tried: int
    waiting: float


def workers_for(images_per_second: float, one_worker: float) -> int:
    """one_worker: images a second that a worker prepares."""
    return max(1, ceil(MARGIN * images_per_second / one_worker))


def possible(workers: int) -> int:
    """As many as this machine has cores for."""
    return min(workers, os.cpu_count() or 1)


def published_rate(row: Published) -> float | None:
    """Images a second that one of the published GPUs trained, as estimated from its inference.

    Taken as proportional to the pixels. None where no inference was published.
    """
    if row.frames_per_second is None or row.experiment.test.mode == "slide":
        return None
    (height, width), (crop_height, crop_width) = (
        picture_size(row.experiment, 1),
        row.experiment.data.crop_size,
    )
    crops = height * width / (crop_height * crop_width)
    return row.frames_per_second * crops / STEP_IN_FORWARDS


def rate_of_one_worker(loader: DataLoader, timed: int) -> float:
    """Images a second from a loader with one worker, of which nobody asks anything else."""
    stream = iter(loader)
    size = len(last_of(stream, 1 + in_advance(loader))[0])
    started = time.perf_counter()
    last_of(stream, timed)
    return timed * size / (time.perf_counter() - started)


def share_waited(loader: DataLoader, seconds_per_batch: float, timed: int) -> float:
    """Of the time of a training that leaves the CPU alone, as a GPU's: a sleep stands in for it.

    What the workers prepared in advance, before the first batch was asked for, is used up first.
    """
    waits: list[float] = []
    warm_up = 1 + in_advance(loader)
    for _ in islice(watched(loader, waits), warm_up + timed):
        time.sleep(seconds_per_batch)
    waited = sum(waits[warm_up:])
    return waited / (waited + timed * seconds_per_batch)


def in_advance(loader: DataLoader) -> int:
    """Batches that workers keep ready."""
    return loader.num_workers * (loader.prefetch_factor or 0)


def last_of(stream: Iterator[Any], number: int) -> Any:
    """The last of the next batches."""
    *_, batch = islice(stream, number)
    return batch


class Feeding:
    """A published row's training data, in batches of the share of one GPU."""

    def __init__(self, row: Published, dataset: Dataset, how: Measuring):
        """how.repeat: how many batches are looked at each time."""
        self.row = row
        self.experiment = share_of_one_gpu(row)
        self.dataset = dataset
        self.how = how
        self.one_worker = rate_of_one_worker(self.loader(1), how.repeat)  # images a second

    def loader(self, workers: int) -> DataLoader:
        return batches(self.experiment, self.dataset, self.how.device, workers)

    def need_of(self, who: str, images_per_second: float) -> Need:
        """Of a training elsewhere, which is imitated here."""
        workers = workers_for(images_per_second, self.one_worker)
        tried = possible(workers)
        seconds = self.experiment.data.batch_size / images_per_second
        waiting = share_waited(self.loader(tried), seconds, self.how.repeat)
        return Need(who, images_per_second, workers, tried, waiting)

    def need_here(self) -> Need:
        """Of the row's training on this device."""
        device, compute, timed = self.how.device, self.how.compute, self.how.repeat
        cost = training_cost(self.row, self.how)
        images_per_second = 1000 * cost.images / cost.timing.median
        workers = workers_for(images_per_second, self.one_worker)
        tried = possible(workers)
        warm_up = 1 + in_advance(self.loader(tried))
        found = pace(self.experiment, self.dataset, device, tried, compute, warm_up, timed)
        waiting = found.waiting / found.seconds
        return Need(device_name(device), images_per_second, workers, tried, waiting)


OURS, REFERENCE = "ours", "reference"

STAGES_LEGEND = """Milliseconds a picture on one core: medians (least to most) of {rounds} rounds,
taken in turn, each the mean over {pictures} pictures. Ours: Pillow, NumPy, PyTorch, and a look at
every label for values that mean nothing. The reference: OpenCV, NumPy; it normalises and pads on
the device that trains, so its workers are spared that stage."""
NEEDS_LEGEND = """One worker prepares {rate:.1f} images a second, from files to batches in memory
that processes share. Workers: those of one GPU, for {margin:.0%} more than it takes. Waits: share
of its time that a training at this speed waited for the next batch, measured with as many workers
as there are cores for."""


@dataclass(frozen=True)
class DataReport:
    """Of one run: timings by contestant and stage, and needs."""

    timings: Mapping[str, Mapping[str, Timing]]
    pictures: int
    rounds: int
    one_worker: float  # images a second
    needs: Sequence[Need]

    def text(self) -> str:
        rate = self.one_worker
        return "\n\n".join(
            [
                stage_table(self.timings),
                STAGES_LEGEND.format(rounds=self.rounds, pictures=self.pictures),
                *([need_table(self.needs)] if self.needs else []),
                NEEDS_LEGEND.format(rate=rate, margin=MARGIN - 1),
            ]
        )

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rounds": self.rounds,
            "pictures": self.pictures,
            "milliseconds": {
                name: {stage: asdict(timing) for stage, timing in stages.items()}
                for name, stages in self.timings.items()
            },
            "images_per_second_of_one_worker": self.one_worker,
            "needs": [asdict(need) for need in self.needs],
        }


def stage_table(timings: Mapping[str, Mapping[str, Timing]]) -> str:
    """A line a stage, then images a second; beside the reference how many times faster ours is."""
    rows = [
        [stage, *(spread(stages[stage]) for stages in timings.values()), *gain(timings, stage)]
        for stage in timings[OURS]
    ]
    for title, stage in (("images/s, augmentation", AUGMENTATION), ("images/s", ALL)):
        rates = [f"{1000 / stages[stage].median:.1f}" for stages in timings.values()]
        rows.append([title, *rates, *gain(timings, stage)])
    header = ["stage", *timings] + ["times faster"] * (REFERENCE in timings)
    return table(header, rows)


def gain(timings: Mapping[str, Mapping[str, Timing]], stage: str) -> list[str]:
    """How many times faster ours is, in a cell, where there is a reference."""
    if REFERENCE not in timings:
        return []
    return [f"{timings[REFERENCE][stage].median / timings[OURS][stage].median:.2f}"]


def need_table(needs: Sequence[Need]) -> str:
    rows = [
        [
            need.who,
            f"{need.images_per_second:.2f}",
            str(need.workers),
            f"{percent(need.waiting)} % with {need.tried}",
        ]
        for need in needs
    ]
    return table(["a training on", "images/s", "workers", "waits"], rows)


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
        from annlib.engine.row_costs import Measuring, shrunk
        from annlib.zoo import published

        row, device = published(self.row), self.machine.ready()
        self.check()
        row = replace(row, experiment=shrunk(row.experiment, self.shrink))
        with self.opened(row) as dataset:
            contestants = self.contestants(row, dataset)
            number = min(self.pictures, len(dataset))
            print(f"{self.machine.repeat} rounds of {number} pictures ...", flush=True)
            timings = race_stages(contestants, number, self.machine.repeat)
            compute = RuntimeConfig(self.precision, compile=self.compile)
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
        from annlib.data.datasets import open_data
        from annlib.data.synthetic import mimic
        from annlib.engine.row_costs import picture_size

        with TemporaryDirectory() as folder:
            root = self.data
            if root is None:
                root, experiment = Path(folder) / "imitation", row.experiment
                size = picture_size(experiment, self.shrink)
                mimic(experiment.data.dataset, root, train=self.pictures, val=1, size=size)
            yield open_data(row.experiment.data, root).train

    def contestants(self, row: "Published", dataset: "SegmentationFolder") -> "dict[str, Stages]":
        """Ours, and the reference where it is installed."""
        from benchmarks.mmseg_reference import HOW_TO_INSTALL, installed

        ours = {OURS: our_stages(dataset, row.experiment.data)}
        if installed():
            return {REFERENCE: reference_stages(row, dataset)} | ours
        print(f"The reference is not installed: ours runs alone. {HOW_TO_INSTALL}", flush=True)
        return ours

    def needs(self, feeding: "Feeding") -> "list[Need]":
        """Of trainings on a published GPU, elsewhere, and here."""

        speeds = {
            "a published GPU (estimated)": published_rate(feeding.row),
            "elsewhere (as given)": self.images_per_second,
        }
        print(f"One worker: {feeding.one_worker:.1f} images/s. Feeding trainings ...", flush=True)
        found = [feeding.need_of(who, speed) for who, speed in speeds.items() if speed]
        return found + ([feeding.need_here()] if self.training else [])
