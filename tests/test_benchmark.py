"""Time, memory and multiply-adds of a call."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from annlib.engine import profiler
from annlib.engine.profiler import Timing, highest_sum, measure, peak_bytes, time_calls
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention

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


def test_multiply_adds_are_those_of_the_formula() -> None:
    conv = nn.Conv2d(3, 8, 5, padding=2, bias=False)
    found = measure(conv, torch.randn(2, 3, 10, 12), repeat=1)
    assert found.gmacs == pytest.approx(2 * 8 * 3 * 5 * 5 * 10 * 12 / 1e9)


def test_peak_of_a_convolution_holds_its_output() -> None:
    found = measure(nn.Conv2d(1, 64, 1), torch.randn(1, 1, 128, 128), repeat=1)
    assert found.peak_mib >= 4.0  # 64 x 128 x 128 float32
    assert found.milliseconds > 0


def test_measuring_leaves_the_mode_and_no_gradients() -> None:
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = block[1].running_mean.clone()
    measure(block, torch.randn(1, 3, 8, 8), repeat=1)
    assert block.training and block[1].training
    assert torch.equal(block[1].running_mean, before)
    assert block[0].weight.grad is None


def test_asymmetric_attention_needs_less_of_everything_than_the_ordinary_one() -> None:
    x = torch.randn(1, 16, 48, 48)
    ours = AsymmetricAttention(16, 16, 8, 8, (1, 3, 6, 8), True)
    asymmetric, ordinary = measure(Twice(ours), x), measure(NonLocalAttention(16, 8, 8), x)
    weights = 48**4 * 4 / MIB  # (N, N) float32, and as much again for the softmax of it
    assert ordinary.peak_mib > weights > 4 * asymmetric.peak_mib
    assert ordinary.gmacs > 4 * asymmetric.gmacs


class Twice(nn.Module):
    """Query and key map are one."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return self.block(x, x)
