"""The preparation of training data, stage by stage and turn by turn, each on one core."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from annlib.config import DataConfig
from annlib.data.datasets import SegmentationFolder
from annlib.data.transforms import Compose, training_transform
from annlib.engine.benchmark import Timing

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
    cut, flip, colours, *rest = training_transform(config).steps
    to_tensors = Compose(tuple(rest))
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
