"""The fastest that a device multiplies and copies."""

import pytest
import torch

from annlib.engine import profiler
from annlib.engine.profiler import Timing
from benchmarks import common as module
from benchmarks.common import copy_gigabytes, device_peak, matrix_gflops, products_like_convolutions

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is made, and takes 2 ms at best."""

    def time_calls(call, device: torch.device, repeat: int) -> Timing:
        call()
        return Timing(5.0, 2.0, 9.0)

    monkeypatch.setattr(module, "time_calls", time_calls)


def test_product_is_a_multiply_add_for_each_pair_of_a_row_and_a_column(clock: None) -> None:
    multiply_adds = 10**3  # of 10 x 10 x 10
    assert matrix_gflops(CPU, "fp32", 10) == pytest.approx(2 * multiply_adds / 0.002 / 1e9)


def test_faster_of_two_libraries_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    results, times = [], iter([3.0, 2.0])

    def time_calls(call, device: torch.device, repeat: int) -> Timing:
        results.append(call())
        return Timing(9.0, next(times), 9.0)

    monkeypatch.setattr(module, "time_calls", time_calls)
    assert matrix_gflops(CPU, "fp32", 10) == pytest.approx(2 * 10**3 / 0.002 / 1e9)
    product, convolution = results
    torch.testing.assert_close(convolution[0, :, 0].mT, product)  # the same work


def test_copy_reads_and_writes(clock: None) -> None:
    assert copy_gigabytes(CPU, 3) == pytest.approx((3 + 3) * 2**20 / 0.002 / 1e9)


def test_products_are_of_the_precision_asked_for(clock: None, monkeypatch) -> None:
    seen = []
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *s, **o: seen.append(o["dtype"]) or randn(*s, **o))
    matrix_gflops(CPU, "bf16", 4)
    matrix_gflops(CPU, "fp32", 4)
    assert seen == 2 * [torch.bfloat16] + 2 * [torch.float32]


def test_peak_is_of_each_precision_that_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(module, "SIDE", {"cpu": 16})
    monkeypatch.setattr(module, "COPIED_MIB", {"cpu": 1})
    peak = device_peak(CPU, ["bf16", "fp32"])
    assert peak.gflops.keys() == {"bf16", "fp32"}
    assert min(*peak.gflops.values(), peak.gigabytes) > 0


@pytest.mark.parametrize("allowed", [True, False])
def test_products_round_as_convolutions_may_and_only_inside(allowed: bool, monkeypatch) -> None:
    matmul = torch.backends.cuda.matmul
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    before = matmul.allow_tf32
    with products_like_convolutions():
        assert matmul.allow_tf32 == allowed
    assert matmul.allow_tf32 == before
