"""What the benchmarks share: process memory, device peak, result files."""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from annlib.course import profiler
from annlib.course.profiler import Timing
from benchmarks import common as module
from benchmarks.common import (
    CALLS,
    ProcessMemory,
    Workload,
    copy_gigabytes,
    device_peak,
    matrix_gflops,
    measure_here,
    peak_of_process,
    process_memory,
    products_like_convolutions,
)

# Memory of processes, as their operating system counts it.


MIB = 2**20


def ready(call: Callable[[], Any]) -> Workload:
    return Workload(call, plain=call)


def allocating(before: int, during: int) -> Workload:
    """Work that holds some MiB from the start, and others in each call."""
    kept = torch.ones(before * MIB + 1, dtype=torch.uint8)
    return ready(lambda: torch.ones(during * MIB, dtype=torch.uint8) + kept[0])


def dying() -> Workload:
    os.kill(os.getpid(), signal.SIGKILL)
    return ready(torch.ones)


@pytest.mark.all
def test_process_of_its_own_has_nothing_of_this_one() -> None:
    own = torch.ones(700 * MIB, dtype=torch.uint8)
    assert peak_of_process() > 700
    small, large = (process_memory(partial(allocating, *sizes)) for sizes in ((0, 1), (200, 300)))
    assert small.peak < peak_of_process() - 300  # what this process held was not handed on
    assert 150 < large.before - small.before < 250
    assert large.peak - large.before > 250
    assert own.numel() == 700 * MIB


@pytest.mark.all
def test_killed_process_is_told() -> None:
    with pytest.raises(OSError, match="process .* was killed.*take smaller images"):
        process_memory(dying)


def test_work_is_done_as_often_as_its_peak_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, told = [], iter([100.0, 250.0])
    monkeypatch.setattr(module, "peak_of_process", lambda: next(told))
    work = ready(lambda: calls.append(1))
    assert measure_here(lambda: work, torch.get_num_threads()) == ProcessMemory(100.0, 250.0)
    assert len(calls) == CALLS


def test_status_of_linux_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t    3072 kB\nVmRSS:\t  1024 kB\n")
    monkeypatch.setattr(module, "STATUS", status)
    assert peak_of_process() == 3.0


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd", 1024)])
def test_systems_without_status_count_in_their_own_units(
    platform: str, unit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = SimpleNamespace(ru_maxrss=5 * MIB // unit)
    told = SimpleNamespace(getrusage=lambda who: usage, RUSAGE_SELF=0)
    monkeypatch.setattr(module, "STATUS", tmp_path / "missing")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setitem(sys.modules, "resource", told)
    assert peak_of_process() == 5.0


def test_system_that_does_not_tell_gives_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "STATUS", tmp_path / "missing")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_of_process() is None
    assert measure_here(lambda: ready(lambda: None), torch.get_num_threads()) is None


# The fastest that a device multiplies and copies.


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


# Result files and timing


def test_numbers_are_written_with_all_that_they_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "out" / "growth.md"
    text = module.write_measured("the table", {"slope": 1.5}, path, "the command")
    assert path.read_text() == text and "Remake: `the command`" in text
    values = json.loads(path.with_suffix(".json").read_text())
    assert values["slope"] == 1.5 and values["made"]["versions"]["torch"] == torch.__version__


def test_words_make_a_file_name_that_is_valid_everywhere() -> None:
    assert module.slug("blocks", "AMD EPYC (TM) 9/4") == "blocks_amd-epyc-tm-9-4"


def test_calls_are_timed_in_turn_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    seconds = iter([9, 9, 9, 9, 0.001, 0.02, 0.003, 0.04])
    monkeypatch.setattr(module, "seconds_of", lambda call, device: call() or next(seconds))
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    found = module.time_interleaved(calls, CPU, repeat=2)
    assert order == ["a", "b"] * (module.WARM_UP_ROUNDS + 2)
    assert found["a"] == Timing(2.0, 1.0, 3.0) and found["b"] == Timing(30.0, 20.0, 40.0)
