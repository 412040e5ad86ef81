"""The race of data pipelines: every stage counts, and ours is the one that trains."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from standing_clock import stop_the_time
from tiny_zoo import ADE20K, CITYSCAPES, SHRINK, VOC12AUG

from annlib.data.datasets import SegmentationFolder, open_data
from annlib.data.synthetic import mimic
from annlib.engine.profiler import Timing
from annlib.engine.row_costs import picture_size, shrunk
from annlib.zoo import Published, published
from benchmarks import dataloading
from benchmarks.dataloading import (
    ALL,
    AUGMENTATION,
    DECODE,
    chain,
    our_stages,
    race_stages,
    reference_stages,
)
from benchmarks.mmseg_reference import installed

needs_reference = pytest.mark.skipif(
    not installed(), reason="the extra `reference` is not installed"
)


def small(name: str, root: Path) -> tuple[Published, SegmentationFolder]:
    """A row with all sides divided, and an imitation of its data."""
    row = published(name)
    row = replace(row, experiment=shrunk(row.experiment, SHRINK))
    data = row.experiment.data
    mimic(data.dataset, root, train=3, val=1, size=picture_size(row.experiment, SHRINK))
    return row, open_data(data, root).train


def test_our_stages_are_the_training_transform(tmp_path: Path) -> None:
    row, dataset = small(CITYSCAPES, tmp_path)
    torch.manual_seed(0)
    expected = dataset[1]
    torch.manual_seed(0)
    found = chain(tuple(our_stages(dataset, row.experiment.data).values()))(1)
    assert all(torch.equal(*parts) for parts in zip(found, expected, strict=True))


def test_stages_are_timed_apart_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_the_time(monkeypatch, dataloading)

    def taking(*seconds: float):
        return lambda index: clock.sleep(seconds[index]) or index

    stages = {DECODE: taking(0.001, 0.003), "first": taking(0.01, 0.03), "second": taking(0.5, 0.5)}
    found = race_stages({"a": stages, "b": {DECODE: taking(1, 1)}}, num_samples=2, rounds=3)
    medians = {stage: timing.median for stage, timing in found["a"].items()}
    expected = {DECODE: 2, "first": 20, "second": 500, AUGMENTATION: 520, ALL: 522}
    assert medians == pytest.approx(expected)
    assert found["b"][ALL].median == pytest.approx(1000)


def test_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seconds = stop_the_time(monkeypatch, dataloading), iter([9, 0.001, 0.004, 0.002])
    found = race_stages({"a": {DECODE: lambda index: clock.sleep(next(seconds))}}, 1, 3)
    timing = found["a"][ALL]
    assert (timing.fastest, timing.median, timing.slowest) == pytest.approx((1, 2, 4))
    assert isinstance(timing, Timing)


def test_race_is_run_on_one_core_and_gives_the_others_back() -> None:
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        race_stages({"a": {DECODE: lambda index: seen.append(torch.get_num_threads())}}, 1, 1)
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@needs_reference
@pytest.mark.parametrize("name", [CITYSCAPES, ADE20K, VOC12AUG])
def test_reference_has_the_same_stages_and_ends_with_the_same_sizes(
    name: str, tmp_path: Path
) -> None:
    row, dataset = small(name, tmp_path)
    theirs, ours = reference_stages(row, dataset), our_stages(dataset, row.experiment.data)
    assert list(theirs) == list(ours)
    batch = chain(tuple(theirs.values()))(0)
    image, labels = chain(tuple(ours.values()))(0)
    assert batch["inputs"].shape == image[None].shape and batch["inputs"].dtype == image.dtype
    assert batch["data_samples"][0].gt_sem_seg.data.shape == labels[None].shape
    assert batch["inputs"].abs().max() < 3
