"""The memory that the operating system gives to a process: libraries, allocators and all."""

import re
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from annlib.config import Precision

CALLS = 2  # the second finds what the first has left behind: caches, the optimiser's momentum
STATUS = Path("/proc/self/status")


class Resident(NamedTuple):
    """The most memory that a process has occupied, in MiB."""

    before: float  # with libraries, network and pictures in place, before the first call
    peak: float


def highest_so_far() -> float | None:
    """The most MiB that this process has occupied; None where the system does not tell (Windows).

    On Linux this is not ru_maxrss, which a process inherits from the one that started it.
    """
    status = STATUS.read_text() if STATUS.exists() else ""
    if told := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(told[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:
        return None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / 2**20 if sys.platform == "darwin" else highest / 1024  # bytes there, else KiB


class Ready(NamedTuple):
    """Work that is prepared."""

    call: Callable[[], Tensor]  # returns what all who do the same work must agree on
    plain: Callable[[], Tensor]  # as many operations, neither compiled nor in half precision
    parameters: int = 0  # of the network that works
    precision: Precision = "fp32"  # in which it multiplies


def occupied(prepare: Callable[[], Ready], threads: int) -> Resident | None:
    """Prepares the work and does it, in the process that this is called in."""
    torch.set_num_threads(threads)
    ready = prepare()
    before = highest_so_far()
    for _ in range(CALLS):
        ready.call()
    return None if before is None else Resident(before, highest_so_far())


def resident(prepare: Callable[[], Ready]) -> Resident | None:
    """What some work needs in a process that does nothing else, begun for it.

    prepare: a function of a module, or a functools.partial of one: the new process imports it.
    Raises OSError if that process was killed.
    """
    # spawn: a copy of this process (fork) would begin with all the memory of this one.
    context, quietly = get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(1, context, signal.signal, quietly) as pool:
        try:
            return pool.submit(occupied, prepare, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise OSError(
                "The process that was to show its memory was killed, most likely because there was "
                "no more: take smaller pictures (--size, --crop, --batch or --shrink)."
            ) from error
