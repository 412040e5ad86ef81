"""What the benchmarks share: options, result files, timing, process memory, device peak."""

import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from tyro.conf import arg

from annlib.cli.common import Device, at_least_one, exit_codes, parse, use_threads
from annlib.config import Precision
from annlib.course.implementations import Channels
from annlib.course.profiler import Conditions, Timing, available_bytes, seconds_of, time_calls
from annlib.engine.inference import DTYPES, choose_device
from annlib.engine.results import command, device_name, provenance, to_json, write_results
from annlib.model.checkpoint import write_atomically

Sizes = Annotated[tuple[tuple[int, int], ...], arg(metavar="HEIGHT WIDTH ...")]
WARM_UP_ROUNDS = 2
CALLS = 2  # the second has what the first leaves in memory: caches, the optimiser's momentum
STATUS = Path("/proc/self/status")
REPEAT = 10
SIDE = {"cpu": 2048, "cuda": 8192}  # of square matrices: larger ones are not faster
COPIED_MIB = {"cpu": 256, "cuda": 2048}  # more than any cache holds


def main(name: str, commands: type | Mapping[str, type], about: str, example: str = "") -> None:
    """Runs `python -m NAME` with the words of sys.argv; errors end it as those of annlib do."""
    with exit_codes():
        example = f"python -m {name} {example}".strip()
        parse(commands, f"python -m {name}", about, example, sys.argv[1:]).run()


def remake() -> str:
    """The words that measure the same again: this command, without private parts of paths."""
    return shlex.join(command(sys.argv))


def slug(*words: str) -> str:
    """Words as the name of a file, without its suffix."""
    return "_".join(re.sub(r"[^a-z0-9_-]+", "-", word.lower()).strip("-") for word in words)


def write_measured(text: str, values: dict[str, Any], path: Path, command: str) -> str:
    """Writes a table and, next to it, its numbers and their provenance as JSON.  -> the text"""
    write_atomically(path.with_suffix(".json"), to_json({"made": provenance(), **values}))
    return write_results(text, path, command)


@dataclass(frozen=True)
class Machine:
    """Where to measure, and how often."""

    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""
    repeat: int = 10
    """Timed calls, after a warm-up."""

    def ready(self) -> torch.device:
        """Checks the options and limits the threads.  -> the device to measure on"""
        at_least_one("--repeat", self.repeat)
        use_threads(self.threads)
        return choose_device(self.device)


@dataclass(frozen=True)
class Results:
    """Where results are written."""

    out: Path = Path("data/results/benchmark")
    """Folder of the table and its JSON. The file name contains the settings and the device."""

    def path(self, device: torch.device, *words: str) -> Path:
        """Of the table about `words` on this device: another machine gets another file."""
        return self.out / f"{slug(*words, device_name(device))}.md"

    def save(self, text: str, values: dict[str, Any], path: Path) -> str:
        """Writes a table and its numbers.  -> the table and its path"""
        return f"{write_measured(text, values, path, remake())}\nSaved {path}"


def check_sizes(option: str, sizes: Sizes) -> None:
    """Raises ValueError without sizes, or for one without positions."""
    if not sizes or min(min(size) for size in sizes) < 1:
        raise ValueError(f"{option} {sizes}: give one map or more, with sides of 1 or more.")


@dataclass(frozen=True)
class Maps:
    """Feature maps that blocks are measured on."""

    sizes: Sizes
    """Height and width of the first map, of the next, and so on."""
    divide: int = 1
    """Divide the paper's channels by this, for a first test."""
    channels_last: bool = True
    """Memory layout of feature maps."""
    limit_gib: float | None = None
    """Leave out what needs more memory; all free memory if not given."""

    def channels(self) -> Channels:
        """Checks the options. Raises ValueError for no positions, or too few channels."""
        check_sizes("--sizes", self.sizes)
        return Channels().divided(self.divide)

    def conditions(self, device: torch.device, repeat: int) -> Conditions:
        limit = available_bytes(device) if self.limit_gib is None else self.limit_gib * 2**30
        return Conditions(device, repeat, self.channels_last, limit)

    def words(self, default: "Maps") -> list[str]:
        """What differs from the default, for the file name: results do not replace other ones."""
        words = [f"channels-by-{self.divide}"] * (self.divide > 1)
        words += ["contiguous"] * (not self.channels_last)
        return words + ([f"{h}x{w}" for h, w in self.sizes] if self.sizes != default.sizes else [])


def time_interleaved(
    calls: Mapping[str, Callable[[], Any]], device: torch.device, repeat: int
) -> dict[str, Timing]:
    """Times each call once a round, so that load on the machine affects all variants equally."""
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(WARM_UP_ROUNDS + repeat):
        for name, call in calls.items():
            milliseconds[name].append(1000 * seconds_of(call, device))
    return {name: Timing.of(times[WARM_UP_ROUNDS:]) for name, times in milliseconds.items()}


class ProcessMemory(NamedTuple):
    """The peak memory of a process, in MiB."""

    before: float  # with libraries, network and images, before the first call
    peak: float


def peak_of_process() -> float | None:
    """Peak memory of this process in MiB; None where the system does not tell it (Windows).

    psutil does not know it on Linux, and ru_maxrss is inherited there from the parent process.
    """
    status = STATUS.read_text() if STATUS.exists() else ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(found[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:
        return None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / 2**20 if sys.platform == "darwin" else highest / 1024  # bytes there, else KiB


class Workload(NamedTuple):
    """Prepared work."""

    call: Callable[[], Tensor]  # returns what all variants must agree on
    plain: Callable[[], Tensor]  # the same operations, neither compiled nor in half precision
    parameters: int = 0  # of the network
    precision: Precision = "fp32"  # of products


def measure_here(prepare: Callable[[], Workload], threads: int) -> ProcessMemory | None:
    """Prepares and runs the workload in this process."""
    torch.set_num_threads(threads)
    workload = prepare()
    before = peak_of_process()
    for _ in range(CALLS):
        workload.call()
    return None if before is None else ProcessMemory(before, peak_of_process())


def process_memory(prepare: Callable[[], Workload]) -> ProcessMemory | None:
    """What a workload needs in a new process that does nothing else.

    prepare: a function of a module, or a functools.partial of one: the new process imports it.
    Raises OSError if that process was killed.
    """
    # spawn, because a copy of this process (fork) would start with all the memory of this one.
    context, on_interrupt = get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(1, context, signal.signal, on_interrupt) as pool:
        try:
            return pool.submit(measure_here, prepare, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise OSError(
                "The process whose memory was to be measured was killed, most likely because there "
                "was no more: take smaller images (--size, --crop, --batch or --shrink)."
            ) from error


class DevicePeak(NamedTuple):
    """Measured, not looked up."""

    gflops: dict[Precision, float]  # 10^9 operations a second, 2 for a multiply-add
    gigabytes: float  # 10^9 bytes a second, read and written together


@contextmanager
def products_like_convolutions() -> Iterator[None]:
    """Inside, matrix products may round to TF32 if convolutions may."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def matrix_gflops(device: torch.device, precision: Precision, side: int) -> float:
    """10^9 operations a second of a product of two square matrices, the fastest of several calls.

    As a product and as a 1 x 1 convolution: a CPU has a library for each, and one may be faster.
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
    """10^9 bytes a second that a copy reads and writes, the fastest of several calls."""
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
