"""The order of the data belongs to the seed and the step, to nothing else."""

from collections.abc import Iterator
from itertools import islice
from multiprocessing import active_children

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from annlib.data.loader import Draw, ResumableBatchSampler, make_loader

NUM_SAMPLES, BATCH = 7, 3
few = settings(max_examples=50, deadline=None)


class Noisy(Dataset):
    """Each sample tells its index and a random number."""

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.rand(2), torch.tensor(index)


def batches(start: int, workers: int = 0, seed: int = 0) -> Iterator[list[Tensor]]:
    return iter(make_loader(Noisy(), BATCH, True, seed=seed, start=start, workers=workers))


def taken(start: int, count: int, workers: int = 0, seed: int = 0) -> list[list[Tensor]]:
    return list(islice(batches(start, workers, seed), count))


def equal(first: list[list[Tensor]], second: list[list[Tensor]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


@few
@given(
    num_samples=st.integers(1, 9),
    batch_size=st.integers(1, 12),
    start=st.integers(0, 20),
    seed=st.integers(0, 3),
)
def test_batch_is_the_same_from_any_start(
    num_samples: int, batch_size: int, start: int, seed: int
) -> None:
    sizes = num_samples, batch_size, seed
    whole = islice(ResumableBatchSampler(*sizes, 0), start, start + 4)
    assert list(whole) == list(
        islice(ResumableBatchSampler(num_samples, batch_size, seed, start), 4)
    )


@few
@given(num_samples=st.integers(1, 9), batch_size=st.integers(1, 12), epochs=st.integers(1, 3))
def test_every_epoch_visits_each_sample_once(
    num_samples: int, batch_size: int, epochs: int
) -> None:
    draws: list[Draw] = []
    for batch in ResumableBatchSampler(num_samples, batch_size, 0, 0):
        assert len(batch) == batch_size
        draws += batch
        if len(draws) >= epochs * num_samples:
            break
    for epoch in range(epochs):
        visited = draws[epoch * num_samples : (epoch + 1) * num_samples]
        assert sorted(draw.index for draw in visited) == list(range(num_samples))


def test_epochs_are_shuffled_again() -> None:
    (first, second, third) = islice(ResumableBatchSampler(50, 50, 0, 0), 3)
    orders = [[draw.index for draw in batch] for batch in (first, second, third)]
    assert len({tuple(order) for order in [*orders, range(50)]}) == 4


def test_no_two_draws_share_a_seed() -> None:
    draws = [draw for batch in islice(ResumableBatchSampler(7, 3, 0, 0), 100) for draw in batch]
    assert len({draw.seed for draw in draws}) == 300


def test_resumed_batches_hold_the_same_random_numbers() -> None:
    assert equal(taken(0, 9)[4:], taken(4, 5))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    assert equal(taken(0, 6), taken(0, 6, workers))


def test_resuming_with_workers_changes_nothing() -> None:
    assert equal(taken(0, 6)[2:], taken(2, 4, workers=2))


def test_another_seed_gives_another_order_and_other_numbers() -> None:
    (numbers, order), (others, other_order) = (
        map(torch.cat, zip(*taken(0, 5, seed=seed), strict=True)) for seed in (0, 1)
    )
    assert not torch.equal(order, other_order)
    assert not set(numbers[:, 0].tolist()) & set(others[:, 0].tolist())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("workers", [0, 1])
def test_callers_random_numbers_are_left_alone(training: bool, workers: int) -> None:
    class Quiet(Noisy):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return (torch.rand(2) if training else torch.zeros(2)), torch.tensor(index)

    before = torch.get_rng_state()
    list(islice(make_loader(Quiet(), 2, training, workers=workers), 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_random_numbers_of_the_caller_change_no_batch() -> None:
    torch.manual_seed(0)
    expected = taken(0, 4)
    stream = batches(0)
    for wanted in expected:
        torch.rand(3)
        assert equal([next(stream)], [wanted])


def test_evaluation_reads_every_sample_once_in_order() -> None:
    found = torch.cat([index for _, index in make_loader(Noisy(), BATCH, training=False)])
    assert found.tolist() == list(range(NUM_SAMPLES))


def test_memory_is_pinned_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not make_loader(Noisy(), BATCH, training=True).pin_memory
    assert make_loader(Noisy(), BATCH, training=True, pin_memory=True).pin_memory


class Broken(Dataset):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == 4:
            raise ValueError("number 4")
        return torch.zeros(3, 8, 8), torch.zeros(8, 8, dtype=torch.int64)


def test_workers_end_with_an_error_though_somebody_keeps_it() -> None:
    before = set(active_children())
    with pytest.raises(ValueError, match="number 4") as kept:
        for _ in make_loader(Broken(), 1, training=False, workers=2):
            pass
    assert set(active_children()) == before
    assert kept.value
