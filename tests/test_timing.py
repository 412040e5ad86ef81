"""The time of a step is measured where training happens, and leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_town
import torch
from torch.utils.data import Dataset, Subset

from annlib.config import Compute
from annlib.data.sources import open_data
from annlib.engine import timing
from annlib.engine.timing import seconds_per_step
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
    dataset, train = Remembering(scenes), timing.train

    def watched(*arguments: object, compute: Compute) -> Iterator[Step]:
        before = set(dataset.made)
        yield from train(*arguments, compute=compute)
        assert dataset.made == before != set()

    monkeypatch.setattr(timing, "train", watched)
    seconds_per_step(TOWN, dataset, CPU, workers=0)
