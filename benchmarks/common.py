"""What the benchmarks share: options, result files, resident memory, peak speed of the device."""

import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from tyro.conf import arg

from annlib.cli.common import Device, at_least_one, choose_device, use_threads
from annlib.config import Precision
from annlib.engine.inference import DTYPES
from annlib.engine.profiler import time_calls

if TYPE_CHECKING:
    from annlib.course.implementations import Channels
    from annlib.course.timing import Conditions


@dataclass(frozen=True)
class Machine:
    """Where to measure, and how often."""

    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""
    repeat: int = 10
    """Calls that count, after some to warm up."""

    def ready(self) -> "torch.device":
        """Checks the options and limits the threads.  -> the device to measure on"""
        at_least_one("--repeat", self.repeat)
        use_threads(self.threads)
        return choose_device(self.device)


@dataclass(frozen=True)
class Results:
    """Where results go."""

    out: Path = Path("data/results/benchmark")
    """Folder of the table and its JSON; their name says what was measured, and the device."""

    def path(self, device: "torch.device", *words: str) -> Path:
        """Of the table about `words` on this device: another machine gets another file."""
        from annlib.engine.results import slug
        from annlib.engine.row_costs import device_name

        return self.out / f"{slug(*words, device_name(device))}.md"

    def save(self, text: str, values: dict[str, Any], path: Path) -> str:
        """Writes a table and, beside it, its numbers as JSON.  -> the table, and where it is"""
        from annlib.engine.results import write_measured

        return f"{write_measured(text, values, path, remake())}\nSaved {path}"

    def keep(self, text: str, values: dict[str, Any], path: Path) -> None:
        """The same, and prints it."""
        print(f"\n{self.save(text, values, path)}", flush=True)


def remake() -> str:
    """The words that measure the same again: this command, private parts of paths left out."""
    from annlib.engine.results import command

    return shlex.join(command(sys.argv))


Sizes = Annotated[tuple[tuple[int, int], ...], arg(metavar="HEIGHT WIDTH ...")]


def check_sizes(option: str, sizes: Sizes) -> None:
    """Raises ValueError for no map, or one without positions."""
    if not sizes or min(min(size) for size in sizes) < 1:
        raise ValueError(f"{option} {sizes}: give one map or more, with sides of 1 or more.")


@dataclass(frozen=True)
class Maps:
    """What blocks are measured on."""

    sizes: Sizes
    """Height and width of one map, of the next, and so on."""
    divide: int = 1
    """Divide the paper's channels by this, for a first look."""
    channels_last: bool = True
    """Layout of maps in memory."""
    limit_gib: float | None = None
    """Leave out what needs more memory; all that is free if not given."""

    def channels(self) -> "Channels":
        """Checks the options. Raises ValueError for no positions, or too few channels."""
        from annlib.course.implementations import Channels

        check_sizes("--sizes", self.sizes)
        return Channels().divided(self.divide)

    def conditions(self, device: "torch.device", repeat: int) -> "Conditions":
        """Under which all are measured."""
        from annlib.course.timing import Conditions
        from annlib.engine.profiler import available_bytes

        limit = available_bytes(device) if self.limit_gib is None else self.limit_gib * 2**30
        return Conditions(device, repeat, self.channels_last, limit)

    def words(self, usual: "Maps") -> list[str]:
        """What is not as usual, for the name of a file: no result replaces a different one."""
        words = [f"channels-by-{self.divide}"] * (self.divide > 1)
        words += ["contiguous"] * (not self.channels_last)
        return words + ([f"{h}x{w}" for h, w in self.sizes] if self.sizes != usual.sizes else [])


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


REPEAT = 10
SIDE = {"cpu": 2048, "cuda": 8192}  # of square matrices: more is no faster
COPIED_MIB = {"cpu": 256, "cuda": 2048}  # more than any cache holds


class DevicePeak(NamedTuple):
    """Measured, not looked up."""

    gflops: dict[Precision, float]  # 10^9 operations a second, 2 for a multiply-add
    gigabytes: float  # 10^9 bytes a second, read and written together


@contextmanager
def products_like_convolutions() -> Iterator[None]:
    """Matrix products may round to TF32 inside if convolutions may: a GPU's fp32 is both."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def matrix_gflops(device: torch.device, precision: Precision, side: int) -> float:
    """10^9 operations a second of a product of two square matrices, the fastest of some.

    As such and as a convolution of 1 x 1: a CPU has a library for each, and one may be faster.
    """
    dtype = DTYPES.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    # A row of pixels, channels last: the same numbers in the same places.
    pixels, weights = a.mT[None, :, None], b.mT[:, :, None, None]
    with torch.inference_mode(), products_like_convolutions():
        milliseconds = min(
            time_calls(call, device, REPEAT).fastest
            for call in (lambda: a @ b, lambda: conv2d(pixels, weights))
        )
    return 2 * side**3 / milliseconds / 1e6


def copy_gigabytes(device: torch.device, mebibytes: int) -> float:
    """10^9 bytes a second that a copy reads and writes, the fastest of some."""
    source = torch.ones(mebibytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    milliseconds = time_calls(lambda: target.copy_(source), device, REPEAT).fastest
    return 2 * source.numel() / milliseconds / 1e6


def device_peak(device: torch.device, precisions: Iterable[Precision]) -> DevicePeak:
    """Measured with all threads that torch uses now."""
    return DevicePeak(
        {name: matrix_gflops(device, name, SIDE[device.type]) for name in precisions},
        copy_gigabytes(device, COPIED_MIB[device.type]),
    )
