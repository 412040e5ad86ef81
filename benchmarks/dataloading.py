"""Preparation of training images by the reference and ours, and the workers that it needs."""

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import islice
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from annlib.cli.common import at_least_one
from annlib.config import DataConfig, Precision, RuntimeConfig
from annlib.course.profiler import Timing, pace, watched
from annlib.course.row_costs import Measuring, image_size, share_of_one_gpu, shrunk, training_cost
from annlib.data.datasets import SegmentationFolder, open_data
from annlib.data.synthetic import mimic
from annlib.data.transforms import Compose, training_transform
from annlib.engine.metrics import percent, table
from annlib.engine.results import device_name
from annlib.engine.trainer import batches
from annlib.published_experiments import Published, published
from benchmarks.common import Machine, Results, main
from benchmarks.mmseg_reference import HOW_TO_INSTALL, import_reference, installed

# What is done to an image and its labels, in this order.
DECODE, CUT, FLIP, COLOURS, TENSORS = (
    "decode",
    "resize and crop",
    "flip",
    "colours",
    "normalise and pad",
)
AUGMENTATION, ALL = "all but decode", "all"  # sums
Stages = Mapping[str, Callable[[Any], Any]]  # each takes what the one before returns


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


def time_stages(
    variants: Mapping[str, Stages], num_samples: int, rounds: int
) -> dict[str, dict[str, Timing]]:
    """Milliseconds of a sample by variant and stage: median, least and most of all rounds.

    In a round each variant prepares all samples, and the mean counts, because the work for a sample
    is drawn at random. The first round warms up.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in variants}
    with one_core():
        for number in range(1 + rounds):
            for name, stages in variants.items():
                milliseconds = dict.fromkeys(stages, 0.0)
                for index in range(num_samples):
                    sample: Any = index
                    for stage, call in stages.items():
                        started = time.perf_counter()
                        sample = call(sample)
                        elapsed = time.perf_counter() - started
                        milliseconds[stage] += 1000 * elapsed / num_samples
                total = sum(milliseconds.values())
                milliseconds |= {AUGMENTATION: total - milliseconds[DECODE], ALL: total}
                if number:
                    for stage, value in milliseconds.items():
                        found[name].setdefault(stage, []).append(value)
    return {
        name: {stage: Timing.of(values) for stage, values in stages.items()}
        for name, stages in found.items()
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


def reference_stages(row: Published, dataset: SegmentationFolder) -> Stages:
    """From the index of a sample to what its network takes, as its configuration file says.

    The reference normalises and pads a whole batch on the device that trains; here one image on the
    CPU. OpenCV, which does most of the rest, gets one thread.
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
    sizes = defaultdict(dict)  # ours: the same as the reference's own, unless ours were shrunk
    sizes["RandomResize"] = {"scale": data.base_size[::-1], "ratio_range": data.ratio_range}
    sizes["RandomCrop"] = {"crop_size": data.crop_size}
    sizes["Pad"] = {"size": data.crop_size[::-1]}
    steps: dict[str, list[Callable[[Any], Any]]] = {name: [] for name in STAGE_OF.values()}
    steps[DECODE].append(
        lambda index: {  # what the reference's data set tells its transforms
            "img_path": str(dataset.images[index]),
            "seg_map_path": str(dataset.labels[index]),
            "reduce_zero_label": dataset.spec.name == "ade20k",
            "label_map": None,
            "seg_fields": [],
        }
    )
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        config = Config.fromfile(path)
        for settings in config.train_pipeline:
            transform = TRANSFORMS.build(settings | sizes[settings["type"]])
            steps[STAGE_OF[settings["type"]]].append(transform)
        preprocess = MODELS.build(config.model.data_preprocessor | {"size": data.crop_size})
    steps[TENSORS].append(
        lambda packed: preprocess({name: [value] for name, value in packed.items()}, training=True)
    )

    def chain(parts: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
        return lambda value: reduce(lambda found, part: part(found), parts, value)

    return {stage: chain(parts) for stage, parts in steps.items()}


MARGIN = 1.25  # workers share the memory and its caches, and some batches take longer than others
STEP_IN_FORWARDS = 3  # a training step: once forward, and backward twice as much work


@dataclass(frozen=True)
class Need:
    """The workers that a training at some speed needs.

    waiting: share of its time that it waited with `tried` workers, at most one for each core.
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
    """At most one for each core of this machine."""
    return min(workers, os.cpu_count() or 1)


def published_rate(row: Published) -> float | None:
    """Images a second that one of the published GPUs trained, estimated from its inference.

    Proportional to the pixels. None where no inference was published.
    """
    if row.frames_per_second is None or row.experiment.test.mode == "slide":
        return None
    (height, width), (crop_height, crop_width) = (
        image_size(row.experiment, 1),
        row.experiment.data.crop_size,
    )
    crops = height * width / (crop_height * crop_width)
    return row.frames_per_second * crops / STEP_IN_FORWARDS


def rate_of_one_worker(loader: DataLoader, timed: int) -> float:
    """Images a second from a loader with one worker, while nothing else runs."""
    stream = iter(loader)
    size = len(last_of(stream, 1 + in_advance(loader))[0])
    started = time.perf_counter()
    last_of(stream, timed)
    return timed * size / (time.perf_counter() - started)


def share_waited(loader: DataLoader, seconds_per_batch: float, timed: int) -> float:
    """Share of its time that a training on a GPU waits; a sleep replaces the GPU's work.

    Batches that the workers prepared in advance are used up first.
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
        """how.repeat: number of batches that are timed."""
        self.row = row
        self.experiment = share_of_one_gpu(row)
        self.dataset = dataset
        self.how = how
        self.one_worker = rate_of_one_worker(self.loader(1), how.repeat)  # images a second

    def loader(self, workers: int) -> DataLoader:
        return batches(self.experiment, self.dataset, self.how.device, workers)

    def need_of(self, who: str, images_per_second: float) -> Need:
        """Of a training on another device, which is simulated here."""
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
STAGES_LEGEND = """Milliseconds an image on one core: medians (least to most) of {rounds} rounds,
interleaved, each the mean over {images} images. Ours: Pillow, NumPy, PyTorch, and a check of every
label for undefined values. The reference: OpenCV, NumPy; it normalises and pads on the device that
trains, so its workers do not do that stage."""
NEEDS_LEGEND = """One worker prepares {rate:.1f} images a second, from files to batches in shared
memory. Workers: those of one GPU, for {margin:.0%} more than it takes. Waits: share of its time
that a training at this speed waited for the next batch, measured with at most one worker a
core."""


@dataclass(frozen=True)
class DataReport:
    """Of one run: timings by variant and stage, and needs."""

    timings: Mapping[str, Mapping[str, Timing]]
    images: int
    rounds: int
    one_worker: float  # images a second
    needs: Sequence[Need]

    def text(self) -> str:
        rate = self.one_worker
        return "\n\n".join(
            [
                stage_table(self.timings),
                STAGES_LEGEND.format(rounds=self.rounds, images=self.images),
                *([need_table(self.needs)] if self.needs else []),
                NEEDS_LEGEND.format(rate=rate, margin=MARGIN - 1),
            ]
        )

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rounds": self.rounds,
            "images": self.images,
            "milliseconds": {
                name: {stage: asdict(timing) for stage, timing in stages.items()}
                for name, stages in self.timings.items()
            },
            "images_per_second_of_one_worker": self.one_worker,
            "needs": [asdict(need) for need in self.needs],
        }


def stage_table(timings: Mapping[str, Mapping[str, Timing]]) -> str:
    """A line a stage, then images a second; with the reference, how many times faster ours is."""
    rows = [
        [stage, *(str(stages[stage]) for stages in timings.values()), *gain(timings, stage)]
        for stage in timings[OURS]
    ]
    for title, stage in (("images/s, augmentation", AUGMENTATION), ("images/s", ALL)):
        rates = [f"{1000 / stages[stage].median:.1f}" for stages in timings.values()]
        rows.append([title, *rates, *gain(timings, stage)])
    header = ["stage", *timings] + ["times faster"] * (REFERENCE in timings)
    return table(header, rows)


def gain(timings: Mapping[str, Mapping[str, Timing]], stage: str) -> list[str]:
    """How many times faster ours is, if there is a reference."""
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
class DataLoading:
    """Compare with the reference: preparation of training images; then count workers.

    Decoding, resizing and cropping, mirroring, colours, normalising: stage by stage, on one core.
    Without the reference (pip install -e '.[reference]') only ours is measured. Then: how much one
    worker prepares, how many a training needs, and whether it waits for them.
    """

    row: str = "ann_r50-d8_512x1024_40k_cityscapes"
    """A published row (`annlib list`): its data set and sizes."""
    data: Path | None = None
    """Folder of the data set; a synthetic imitation if not given."""
    images: int = 6
    """How many of its images."""
    images_per_second: float | None = None
    """Speed of a training on another device."""
    training: bool = True
    """Train the row on this device, too, and measure how long it waits: minutes on a CPU."""
    precision: Precision = "fp32"
    """Of that training."""
    compile: bool = False
    """Let torch.compile fuse its operations."""
    shrink: int = 1
    """Divide all sides of images and crops by this."""
    machine: Machine = Machine()
    results: Results = Results()

    def run(self) -> None:
        row, device = published(self.row), self.machine.ready()
        at_least_one("--images", self.images)
        speed, repeat = self.images_per_second, self.machine.repeat
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(
                f"--images-per-second is {speed:g}: no training is that fast. Give a number above "
                "0, for example --images-per-second 50."
            )
        row = replace(row, experiment=shrunk(row.experiment, self.shrink))
        with TemporaryDirectory() as folder:
            root = self.data
            if root is None:
                root, experiment = Path(folder) / "imitation", row.experiment
                size = image_size(experiment, self.shrink)
                mimic(experiment.data.dataset, root, train=self.images, val=1, size=size)
            dataset = open_data(row.experiment.data, root).train
            variants = {OURS: our_stages(dataset, row.experiment.data)}
            if installed():
                variants = {REFERENCE: reference_stages(row, dataset)} | variants
            else:
                print(f"The reference is not installed: only ours is measured. {HOW_TO_INSTALL}")
            number = min(self.images, len(dataset))
            print(f"{repeat} rounds of {number} images ...", flush=True)
            timings = time_stages(variants, number, repeat)
            compute = RuntimeConfig(self.precision, compile=self.compile)
            feeding = Feeding(row, dataset, Measuring(device, compute, repeat=repeat))
            speeds = {
                "a published GPU (estimated)": published_rate(row),
                "elsewhere (as given)": speed,
            }
            print(f"One worker: {feeding.one_worker:.1f} images/s. Feeding trainings ...")
            needs = [feeding.need_of(who, rate) for who, rate in speeds.items() if rate]
            needs += [feeding.need_here()] if self.training else []
        report = DataReport(timings, number, repeat, feeding.one_worker, needs)
        words = [self.precision] * (self.precision != "fp32") + ["compiled"] * self.compile
        words += [f"shrink{self.shrink}"] * (self.shrink > 1)
        path = self.results.path(device, "data", self.row, *words)
        print(f"\n{self.results.save(report.text(), report.values(), path)}", flush=True)


if __name__ == "__main__":
    main("benchmarks.dataloading", DataLoading, __doc__, "--no-training --shrink 4")
