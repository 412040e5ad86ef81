"""The time of a step is measured where training happens, and leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_town
import torch
from standing_clock import stop_the_time
from torch.utils.data import Dataset, Subset

from annlib.config import RuntimeConfig
from annlib.data.datasets import open_data
from annlib.engine import profiler
from annlib.engine.profiler import Pace, pace, seconds_per_step, watched
from annlib.engine.train import Step

CPU = torch.device("cpu")
TOWN = small_town.LAPTOP["balloon_ann"]


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return Subset(open_data(TOWN.data, None).train, range(7))


def test_time_of_a_step_is_measured_without_a_trace(scenes: Dataset, tmp_path: Path) -> None:
    assert 0 < seconds_per_step(TOWN, scenes, CPU, workers=0) < 5
    assert list(tmp_path.iterdir()) == []


class Remembering(Dataset):
    """Notes which samples it was asked for, as a data set that paints each of them once."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.made: set[int] = set()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.made.add(index)
        return self.dataset[index]


def test_no_sample_is_made_while_steps_are_timed(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, train = Remembering(scenes), profiler.train

    def watched(*arguments: object, compute: RuntimeConfig) -> Iterator[Step]:
        before = set(dataset.made)
        yield from train(*arguments, compute=compute)
        assert dataset.made == before != set()

    monkeypatch.setattr(profiler, "train", watched)
    seconds_per_step(TOWN, dataset, CPU, workers=0)


def test_waits_are_those_for_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_the_time(monkeypatch, profiler)

    def source() -> Iterator[int]:
        for seconds in (1, 4, 2):
            clock.sleep(seconds)
            yield seconds

    waits: list[float] = []
    for seconds in watched(source(), waits):
        clock.sleep(100)  # what is done with a batch is no waiting
        assert waits[-1] == seconds
    assert waits == [1, 4, 2]


def test_pace_tells_waiting_from_training(scenes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, train = stop_the_time(monkeypatch, profiler), profiler.train

    class Slow(Remembering):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            clock.sleep(3)
            return super().__getitem__(index)

    def slow(*arguments: object, compute: RuntimeConfig) -> Iterator[Step]:
        for number, step in enumerate(train(*arguments, compute=compute)):
            clock.sleep(100 if number < 2 else 5)  # the first two are to warm up
            yield step

    monkeypatch.setattr(profiler, "train", slow)
    found = pace(TOWN, Slow(scenes), CPU, workers=0, warm_up=2, timed=3)
    batch = 3 * TOWN.data.batch_size
    assert found == Pace(seconds=pytest.approx(batch + 5), waiting=pytest.approx(batch))
