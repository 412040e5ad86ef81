"""Memory of processes, as their operating system counts it."""

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

from benchmarks import common as module
from benchmarks.common import CALLS, Ready, Resident, highest_so_far, occupied, resident

MIB = 2**20


def ready(call: Callable[[], Any]) -> Ready:
    return Ready(call, plain=call)


def allocating(before: int, during: int) -> Ready:
    """Work that holds some MiB from the start, and others in each call."""
    kept = torch.ones(before * MIB + 1, dtype=torch.uint8)
    return ready(lambda: torch.ones(during * MIB, dtype=torch.uint8) + kept[0])


def dying() -> Ready:
    os.kill(os.getpid(), signal.SIGKILL)
    return ready(torch.ones)


def test_process_of_its_own_has_nothing_of_this_one() -> None:
    own = torch.ones(700 * MIB, dtype=torch.uint8)
    assert highest_so_far() > 700
    small, large = (resident(partial(allocating, *sizes)) for sizes in ((0, 1), (200, 300)))
    assert small.peak < highest_so_far() - 300  # what this process held was not handed on
    assert 150 < large.before - small.before < 250
    assert large.peak - large.before > 250
    assert own.numel() == 700 * MIB


def test_killed_process_is_told() -> None:
    with pytest.raises(OSError, match="process .* was killed.*take smaller pictures"):
        resident(dying)


def test_work_is_done_as_often_as_its_peak_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, told = [], iter([100.0, 250.0])
    monkeypatch.setattr(module, "highest_so_far", lambda: next(told))
    work = ready(lambda: calls.append(1))
    assert occupied(lambda: work, torch.get_num_threads()) == Resident(100.0, 250.0)
    assert len(calls) == CALLS


def test_status_of_linux_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  9000 kB\nVmHWM:\t    3072 kB\nVmRSS:\t  1024 kB\n")
    monkeypatch.setattr(module, "STATUS", status)
    assert highest_so_far() == 3.0


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd", 1024)])
def test_systems_without_status_count_in_their_own_units(
    platform: str, unit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = SimpleNamespace(ru_maxrss=5 * MIB // unit)
    told = SimpleNamespace(getrusage=lambda who: usage, RUSAGE_SELF=0)
    monkeypatch.setattr(module, "STATUS", tmp_path / "missing")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setitem(sys.modules, "resource", told)
    assert highest_so_far() == 5.0


def test_system_that_does_not_tell_gives_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "STATUS", tmp_path / "missing")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert highest_so_far() is None
    assert occupied(lambda: ready(lambda: None), torch.get_num_threads()) is None
