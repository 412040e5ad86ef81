"""Time, memory and FLOPs of a call; the time of a training step; free memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import small_town
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from standing_clock import stop_the_time
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.data import Dataset, Subset

from annlib.cli.common import memory_advice
from annlib.config import RuntimeConfig
from annlib.course import profiler
from annlib.course.profiler import (
    Pace,
    Timing,
    available_bytes,
    highest_sum,
    operation_counter,
    pace,
    peak_bytes,
    time_calls,
    watched,
)
from annlib.data.datasets import open_data
from annlib.engine.optimization import Step
from annlib.published_experiments import ROWS

# Time, memory and multiply-adds of a call.


CPU = torch.device("cpu")
MIB = 2**20
SIZES = st.lists(st.integers(1, 9), max_size=12)


class Clock:
    """Time that passes only when somebody sleeps: a busy machine changes nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleeper(self, *seconds: float) -> Callable[[], None]:
        """Sleeps as long as listed, one entry a call; the last one for ever."""
        left = list(seconds)

        def sleep() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return sleep


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profiler, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def no_warm_up_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)


def test_first_calls_do_not_count(clock: Clock) -> None:
    timing = time_calls(clock.sleeper(0.3, 0.3, 0.0), CPU, repeat=4)
    assert timing == Timing(0, 0, 0)


def test_median_fastest_and_slowest_are_of_the_calls_that_count(clock: Clock) -> None:
    timing = time_calls(clock.sleeper(0, 0, 0.01, 0.2, 0.05), CPU, repeat=3)
    found = (timing.fastest, timing.median, timing.slowest)
    assert found == pytest.approx((10, 50, 200))


def test_warm_up_lasts_at_least_as_long_as_wanted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.1)
    sleep = clock.sleeper(0.03)
    time_calls(lambda: calls.append(sleep()), CPU, repeat=1)
    assert len(calls) == 4 + 1  # four pass 0.1 s, and one counts


def three_at_once() -> Tensor:
    """1 MiB each: a, b and c are held together, then c and d."""
    a = torch.ones(1024, 256)
    b = a * 2
    c = a + b
    del a, b
    return c * 1


def test_peak_is_the_most_that_tensors_hold_at_once() -> None:
    assert 3 * MIB <= peak_bytes(three_at_once, CPU) < 3.01 * MIB


def test_what_was_held_before_does_not_count() -> None:
    held = [torch.ones(8 * 1024, 256)]

    def call() -> None:
        held.clear()
        held.append(torch.ones(1024, 256))

    assert MIB <= peak_bytes(call, CPU) < 1.01 * MIB


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_peak_on_a_gpu_is_the_same() -> None:
    def call() -> Tensor:
        with torch.device("cuda"):
            return three_at_once()

    assert peak_bytes(call, torch.device("cuda")) == 3 * MIB


@given(first=SIZES, second=SIZES)
def test_highest_sum_of_what_is_freed_between(first: list[int], second: list[int]) -> None:
    """All of the first list at once, freed, then all of the second: the larger of both sums."""
    taken = [(address, size) for address, size in enumerate(first)]
    freed = [(address, -size) for address, size in taken]
    again = [(address, size) for address, size in enumerate(second)]
    strangers = [(1000 + address, -size) for address, size in taken]
    events = [*taken, *strangers, *freed, *again]
    assert highest_sum(events) == max(sum(first), sum(second))


# Operations are counted under whatever name they are computed.


COUNT = st.integers(1, 7)
quick = settings(deadline=None)


@quick
@given(COUNT, COUNT, COUNT, COUNT)
def test_product_is_counted_whether_added_in_place_or_not(b: int, n: int, s: int, c: int) -> None:
    weights, anchors, sums = torch.randn(b, n, s), torch.randn(b, s, c), torch.randn(b, n, c)
    for compute in (
        lambda: weights @ anchors,
        lambda: torch.baddbmm(sums, weights, anchors),
        lambda: sums.baddbmm_(weights, anchors),
    ):
        with operation_counter() as counter:
            compute()
        assert counter.get_total_flops() == 2 * b * n * s * c


@quick
@given(COUNT, COUNT, COUNT, COUNT, st.sampled_from(["cpu", "meta"]))
def test_fused_attention_is_two_products(b: int, n: int, s: int, c: int, device: str) -> None:
    query, key, value = (torch.randn(b, 1, count, c, device=device) for count in (n, s, s))
    with torch.inference_mode(), operation_counter() as counter:
        scaled_dot_product_attention(query, key, value)
    assert counter.get_total_flops() == 2 * (2 * b * n * s * c)


def test_what_is_computed_outside_does_not_count() -> None:
    a = torch.randn(3, 4)
    with operation_counter() as counter:
        a @ a.mT
    a @ a.mT
    assert counter.get_total_flops() == 2 * 3 * 4 * 3


# The time of a step is measured where training happens, and leaves nothing behind.


CPU = torch.device("cpu")
TOWN = small_town.LAPTOP["balloon_ann"]


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return Subset(open_data(TOWN.data, None).train, range(7))


def test_time_of_a_step_is_measured_without_a_trace(scenes: Dataset, tmp_path: Path) -> None:
    assert 0 < pace(TOWN, scenes, CPU, workers=0).seconds < 5
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
    pace(TOWN, dataset, CPU, workers=0)


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


# Out of memory ends with the knobs that would help, and their numbers; what is free is told.


ROW = ROWS[0].experiment  # a batch of 8, crops of 512 x 1024
CPU = torch.device("cpu")


def advice(error: Exception, compute: RuntimeConfig = RuntimeConfig(), processes: int = 2) -> str:
    with pytest.raises(OSError) as caught, memory_advice(ROW, compute, CPU, processes):
        raise error
    return caught.value.strerror


def test_memory_that_a_cpu_lacks_is_told_with_what_was_attempted() -> None:
    with pytest.raises(OSError) as caught, memory_advice(ROW, RuntimeConfig(), CPU, 2):
        torch.empty(2**60, dtype=torch.uint8)
    assert "memory is used up" in caught.value.strerror
    assert "4 images of 512 x 1024 pixels at the same time" in caught.value.strerror


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_advice(ROW, RuntimeConfig(), CPU, 1):
        raise RuntimeError("shapes differ")


def test_gpu_memory_is_told_in_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = type("Properties", (), {"total_memory": 24 * 2**30})
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 23 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    assert "23.0 of 24.0 GiB" in advice(torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.parametrize(("share", "accumulate"), [(8, 2), (6, 2), (9, 3)])
def test_next_number_of_microbatches_divides_the_batch(share: int, accumulate: int) -> None:
    row = replace(ROW, data=replace(ROW.data, batch_size=share))
    with pytest.raises(OSError) as caught, memory_advice(row, RuntimeConfig(), CPU, 1):
        raise RuntimeError("not enough memory")
    assert f"--accumulate {accumulate}:" in caught.value.strerror


def test_what_is_used_already_is_not_advised() -> None:
    full = RuntimeError("not enough memory")
    text = advice(full, RuntimeConfig("bf16", accumulate=8), 1)
    assert "--accumulate" not in text
    assert "--precision" not in text
    assert "crop_size" in text
    whole = replace(ROW, data=replace(ROW.data, crop_size=None))
    with pytest.raises(OSError) as caught, memory_advice(whole, RuntimeConfig(), CPU, 1):
        raise full
    assert "pixels" not in caught.value.strerror


def test_free_memory_is_what_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listing = tmp_path / "meminfo"
    listing.write_text("MemTotal:       24000000 kB\nMemFree:  7 kB\nMemAvailable:    1500 kB\n")
    monkeypatch.setattr(profiler, "LISTING", listing)
    assert available_bytes(CPU) == 1500 * 1024
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 9))
    assert available_bytes(torch.device("cuda")) == 5


def test_memory_of_which_nothing_is_told_has_no_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(profiler, "LISTING", tmp_path / "none")
    assert available_bytes(CPU) == inf
