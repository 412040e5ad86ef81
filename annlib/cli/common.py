"""What the commands share: device, threads, memory advice, Ctrl-C, download bars, errors."""

import errno
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Literal

import torch

from annlib.config import RuntimeConfig

if TYPE_CHECKING:
    from annlib.config import Experiment


def at_least_one(option: str, value: int) -> None:
    """Raises ValueError for an option that counts something, but nothing."""
    if value < 1:
        raise ValueError(f"{option} is {value}: at least one is needed. Give {option} 1 or more.")


def message_of(error: Exception) -> str:
    """An error in words: without a KeyError's quotes and an OSError's number."""
    if isinstance(error, KeyError):
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed, but needed here: pip install -e '.[course]'"
    return str(error)


Device = Literal["auto", "cpu", "cuda"]


def choose_device(device: Device) -> "torch.device":
    """auto takes a GPU if there is one. Raises ValueError for a GPU that is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda, but torch finds no CUDA GPU here. Use --device cpu, or check the "
            "driver (nvidia-smi) and that this torch was built for CUDA."
        )
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def use_threads(threads: int | None) -> None:
    """Limits the CPU threads of one operation; None leaves torch's own choice."""
    import torch

    if threads is None:
        return
    at_least_one("--threads", threads)
    torch.set_num_threads(threads)


def able(compute: RuntimeConfig, device: "torch.device") -> RuntimeConfig:
    """What the device can do of it; what it cannot is said, and done without."""
    from annlib.engine.train import possible

    compute, obstacle = possible(compute, device)
    if obstacle:
        print(obstacle, flush=True)
    return compute


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C (or SIGTERM) is noted instead of raised; a second Ctrl-C stops at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        print("\nStopping after this step ...", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def memory_advice(
    experiment: "Experiment", compute: "RuntimeConfig", device: "torch.device", processes: int
) -> Iterator[None]:
    """Inside, running out of memory becomes an OSError that says what to do about it."""
    from annlib.engine.profiler import is_out_of_memory

    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(used_up(error, device), experiment, compute, processes) from error


def used_up(error: RuntimeError, device: "torch.device") -> str:
    """Whose memory, and how much of it."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError):
        return f"The machine's memory is used up ({str(error).splitlines()[0]})"
    held = torch.cuda.max_memory_allocated(device) / 2**30
    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"The GPU's memory is used up ({held:.1f} of {total:.1f} GiB by this process)"


def out_of_memory(
    told: str, experiment: "Experiment", compute: "RuntimeConfig", processes: int
) -> OSError:
    """What was attempted, and what would need less, in the order of what it costs."""
    share = experiment.data.batch_size // processes
    at_once = share // compute.accumulate
    crop = experiment.data.crop_size
    size = f" of {crop[0]} x {crop[1]} pixels" if crop else ""
    return OSError(
        errno.ENOMEM,
        f"{told}, working on {at_once} pictures{size} at once. "
        + " ".join([*knobs(share, at_once, compute), "A smaller crop_size in the experiment."]),
    )


def knobs(share: int, at_once: int, compute: "RuntimeConfig") -> list[str]:
    """Options that lessen memory and leave the recipe as it is, with their numbers."""
    found = []
    if at_once > 1:
        fewer = next(n for n in range(at_once - 1, 0, -1) if share % n == 0)
        found.append(
            f"Try --accumulate {share // fewer}: {fewer} at a time, the same batch for the "
            "gradient (batch norm then sees the smaller ones)."
        )
    if compute.precision == "fp32":
        found.append("Try --precision bf16: most maps then take 2 bytes a number instead of 4.")
    return found
