"""Data loading: stages, workers, tables and command."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from standing_clock import StandingClock, stop_the_time
from tiny_zoo import ADE20K, CITYSCAPES, SHRINK, VOC12AUG, tiny_row

from annlib import published_experiments
from annlib.course import profiler
from annlib.course.profiler import Timing
from annlib.course.row_costs import image_size, shrunk
from annlib.data.datasets import SegmentationFolder, open_data
from annlib.data.synthetic import MARK, mimic
from annlib.published_experiments import ROWS, Published, published
from benchmarks import dataloading
from benchmarks.dataloading import (
    ALL,
    AUGMENTATION,
    DECODE,
    MARGIN,
    DataReport,
    Need,
    Stages,
    our_stages,
    published_rate,
    rate_of_one_worker,
    reference_stages,
    share_waited,
    stage_table,
    time_stages,
    workers_for,
)
from benchmarks.mmseg_reference import installed

pytestmark = pytest.mark.all

# The race of data pipelines: every stage counts, and ours is the one that trains.


def chain(stages: Stages, index: int) -> Any:
    return reduce(lambda found, stage: stage(found), stages.values(), index)


needs_reference = pytest.mark.skipif(
    not installed(), reason="the extra `reference` is not installed"
)


def small(name: str, root: Path) -> tuple[Published, SegmentationFolder]:
    """A row with all sides divided, and an imitation of its data."""
    row = published(name)
    row = replace(row, experiment=shrunk(row.experiment, SHRINK))
    data = row.experiment.data
    mimic(data.dataset, root, train=3, val=1, size=image_size(row.experiment, SHRINK))
    return row, open_data(data, root).train


def test_our_stages_are_the_training_transform(tmp_path: Path) -> None:
    row, dataset = small(CITYSCAPES, tmp_path)
    torch.manual_seed(0)
    expected = dataset[1]
    torch.manual_seed(0)
    found = chain(our_stages(dataset, row.experiment.data), 1)
    assert all(torch.equal(*parts) for parts in zip(found, expected, strict=True))


def test_stages_are_timed_apart_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_the_time(monkeypatch, dataloading)

    def taking(*seconds: float):
        return lambda index: clock.sleep(seconds[index]) or index

    stages = {DECODE: taking(0.001, 0.003), "first": taking(0.01, 0.03), "second": taking(0.5, 0.5)}
    found = time_stages({"a": stages, "b": {DECODE: taking(1, 1)}}, num_samples=2, rounds=3)
    medians = {stage: timing.median for stage, timing in found["a"].items()}
    expected = {DECODE: 2, "first": 20, "second": 500, AUGMENTATION: 520, ALL: 522}
    assert medians == pytest.approx(expected)
    assert found["b"][ALL].median == pytest.approx(1000)


def test_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seconds = stop_the_time(monkeypatch, dataloading), iter([9, 0.001, 0.004, 0.002])
    found = time_stages({"a": {DECODE: lambda index: clock.sleep(next(seconds))}}, 1, 3)
    timing = found["a"][ALL]
    assert (timing.fastest, timing.median, timing.slowest) == pytest.approx((1, 2, 4))
    assert isinstance(timing, Timing)


def test_race_is_run_on_one_core_and_gives_the_others_back() -> None:
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        time_stages({"a": {DECODE: lambda index: seen.append(torch.get_num_threads())}}, 1, 1)
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
    batch = chain(theirs, 0)
    image, labels = chain(ours, 0)
    assert batch["inputs"].shape == image[None].shape and batch["inputs"].dtype == image.dtype
    assert batch["data_samples"][0].gt_sem_seg.data.shape == labels[None].shape
    assert batch["inputs"].abs().max() < 3


# How many workers feed a training, and the share of its time that it waits.


rates = st.floats(0.01, 1000)


class Loader:
    """Three batches ready at once, all others after `seconds` each; four images a batch."""

    num_workers, prefetch_factor = 1, 2

    def __init__(self, clock: StandingClock, seconds: float):
        self.clock = clock
        self.seconds = seconds

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from 3 * [(torch.zeros(4), torch.zeros(4))]
        while True:
            self.clock.sleep(self.seconds)
            yield torch.zeros(4), torch.zeros(4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    return stop_the_time(monkeypatch, dataloading, profiler)


@given(wanted=rates, one_worker=rates)
def test_workers_are_the_fewest_that_deliver_enough(wanted: float, one_worker: float) -> None:
    workers = workers_for(wanted, one_worker)
    assert workers * one_worker >= MARGIN * wanted * (1 - 1e-12)
    assert workers == 1 or (workers - 1) * one_worker < MARGIN * wanted


def test_rate_leaves_out_what_was_prepared_in_advance(clock: StandingClock) -> None:
    assert rate_of_one_worker(Loader(clock, seconds=2.0), timed=5) == pytest.approx(4 / 2)


def test_share_of_waiting_leaves_out_what_was_prepared_in_advance(clock: StandingClock) -> None:
    found = share_waited(Loader(clock, seconds=1.0), seconds_per_batch=3.0, timed=5)
    assert found == pytest.approx(1 / 4)


def test_published_rate_is_a_third_of_the_inference_of_as_many_pixels() -> None:
    row = published("ann_r50-d8_512x1024_40k_cityscapes")
    assert published_rate(row) == pytest.approx(3.71 * 4 / 3)  # a picture is four crops


def test_published_rate_is_known_where_whole_pictures_were_timed() -> None:
    for row in ROWS:
        timed_whole = row.frames_per_second is not None and row.experiment.test.mode == "whole"
        assert (published_rate(row) is not None) == timed_whole


# The race of data pipelines as a table.


def stages(decode: float, rest: float) -> dict[str, Timing]:
    milliseconds = {DECODE: decode, "colours": rest, AUGMENTATION: rest, ALL: decode + rest}
    return {stage: Timing(time, time - 1, time + 1) for stage, time in milliseconds.items()}


TIMINGS = {"reference": stages(6, 14), "ours": stages(3, 5)}


def cells(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {first: rest for first, *rest in rows}


def test_stages_stand_side_by_side() -> None:
    found = cells(stage_table(TIMINGS))
    assert found["stage"] == ["reference", "ours", "times faster"]
    assert found["colours"] == ["14.0 (13.0 to 15.0)", "5.0 (4.0 to 6.0)", "2.80"]
    assert found["images/s, augmentation"] == ["71.4", "200.0", "2.80"]
    assert found["images/s"] == ["50.0", "125.0", "2.50"]


def test_alone_ours_is_compared_with_nothing() -> None:
    found = cells(stage_table({"ours": TIMINGS["ours"]}))
    assert found["stage"] == ["ours"] and found["images/s"] == ["125.0"]


def test_report_tells_what_a_training_needs() -> None:
    need = Need("a GPU", 75.0, workers=3, tried=2, waiting=0.254)
    report = DataReport(TIMINGS, images=6, rounds=8, one_worker=31.25, needs=[need])
    assert cells(report.text())["a GPU"] == ["75.00", "3", "25.40 % with 2"]
    assert "One worker prepares 31.2 images a second" in report.text()
    assert report.values()["needs"][0]["workers"] == 3


# The command: what it measures, writes and refuses.


@pytest.fixture
def run(benchmark, monkeypatch: pytest.MonkeyPatch):
    """Runs the benchmark, without the reference.  -> what it printed"""
    monkeypatch.setattr(
        published_experiments, "NAMES", {name: tiny_row(name) for name in (CITYSCAPES, ADE20K)}
    )
    monkeypatch.setattr(dataloading, "installed", lambda: False)

    def run(*words: object) -> str:
        small = {"--shrink": SHRINK, "--repeat": 1, "--device": "cpu", "--images": 2}
        line = [*words, *(x for item in small.items() if item[0] not in words for x in item)]
        return benchmark("dataloading", *line)

    return run


def results() -> dict:
    (path,) = Path("data/results/benchmark").glob("data_*.json")
    return json.loads(path.read_text())


def test_pipeline_and_needs_are_measured_printed_and_kept(run) -> None:
    printed = run("--images-per-second", 1000)
    found = results()
    assert "reference is not installed" in printed
    assert list(found["milliseconds"]) == ["ours"] and found["images"] == 2
    assert found["images_per_second_of_one_worker"] > 0
    who = [need["who"] for need in found["needs"]]
    assert who[:2] == ["a published GPU (estimated)", "elsewhere (as given)"] and len(who) == 3
    assert found["needs"][1]["images_per_second"] == 1000
    assert all(0 <= need["waiting"] <= 1 for need in found["needs"])
    (table,) = Path("data/results/benchmark").glob("data_*.md")
    assert table.read_text() in printed and "| resize and crop" in printed


def test_own_pictures_are_read_and_left_alone(run, tmp_path: Path) -> None:
    mimic("ade20k", tmp_path / "ade", train=1, val=1, size=(32, 40))
    before = sorted(tmp_path.rglob("*"))
    run("--row", ADE20K, "--data", tmp_path / "ade", "--no-training")
    assert results()["images"] == 1  # there is no second
    made = {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - set(before)}
    assert made == {"data"} and (tmp_path / "ade" / MARK).exists()


def test_reference_comes_first_where_it_is_installed(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataloading, "installed", lambda: True)
    monkeypatch.setattr(
        dataloading,
        "reference_stages",
        lambda row, data: dict.fromkeys(
            ("decode", "resize and crop", "flip", "colours", "normalise and pad"), lambda x: x
        ),
    )
    printed = run("--no-training")
    assert list(results()["milliseconds"]) == ["reference", "ours"]
    assert "times faster" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--row", "ann_r50"), "No published row 'ann_r50'. Nearest: "),
        (("--images", 0), "--images is 0: at least one is needed"),
        (("--shrink", 99), "Sides are to be divided by 99"),
        (("--images-per-second", 0), "--images-per-second is 0: no training is that fast"),
        (("--images-per-second", "nan"), "--images-per-second is nan"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused(run, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert message in str(stopped.value)
    assert not Path("data").exists()
