"""Out of memory ends with the knobs that would help, and their numbers; what is free is told."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch

from annlib.cli.common import knobs, memory_advice, out_of_memory
from annlib.config import RuntimeConfig
from annlib.engine import profiler
from annlib.engine.profiler import available_bytes
from annlib.zoo import ROWS

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
    assert "4 pictures of 512 x 1024 pixels at once" in caught.value.strerror


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_advice(ROW, RuntimeConfig(), CPU, 1):
        raise RuntimeError("shapes differ")


def test_gpu_memory_is_told_in_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = type("Properties", (), {"total_memory": 24 * 2**30})
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 23 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    assert "23.0 of 24.0 GiB" in advice(torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.parametrize(("share", "at_once", "accumulate"), [(8, 8, 2), (6, 6, 2), (9, 9, 3)])
def test_next_number_of_parts_divides_the_batch(share: int, at_once: int, accumulate: int) -> None:
    assert f"--accumulate {accumulate}:" in " ".join(knobs(share, at_once, RuntimeConfig()))


def test_what_is_used_already_is_not_advised() -> None:
    text = out_of_memory("Full", ROW, RuntimeConfig("bf16", accumulate=8), 1).strerror
    assert "--accumulate" not in text
    assert "--precision" not in text
    assert "crop_size" in text
    whole = replace(ROW, data=replace(ROW.data, crop_size=None))
    assert "pixels" not in out_of_memory("Full", whole, RuntimeConfig(), 1).strerror


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
