"""How many workers feed a training, and the share of its time that it waits."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from standing_clock import StandingClock, stop_the_time

from annlib.engine import profiler
from annlib.zoo import ROWS, published
from benchmarks import dataloading
from benchmarks.dataloading import (
    MARGIN,
    published_rate,
    rate_of_one_worker,
    share_waited,
    workers_for,
)

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
