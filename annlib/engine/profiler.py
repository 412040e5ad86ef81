"""What a call costs: time, memory, multiply-adds, on a GPU or on a CPU."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from annlib.engine.counting import operation_counter
from annlib.engine.inference import inference_of

WARM_UP_CALLS, WARM_UP_SECONDS = 2, 1.0  # at least both: a GPU's clock takes its time to rise


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call."""

    median: float
    fastest: float
    slowest: float


class Measurement(NamedTuple):
    """One forward pass of a module."""

    milliseconds: float  # median
    peak_mib: float  # most memory held at once, beyond what was held before
    gmacs: float  # 10^9 multiply-adds of convolutions and matrix products


def synchronise(device: torch.device) -> None:
    """Waits until the device has done all that it was asked for; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """From an idle device to an idle device."""
    synchronise(device)
    started = time.perf_counter()
    call()
    synchronise(device)
    return time.perf_counter() - started


def time_calls(call: Callable[[], Any], device: torch.device, repeat: int) -> Timing:
    """Times `repeat` calls after some that do not count."""
    calls, seconds = 0, 0.0
    while calls < WARM_UP_CALLS or seconds < WARM_UP_SECONDS:
        calls, seconds = calls + 1, seconds + seconds_of(call, device)
    times = [1000 * seconds_of(call, device) for _ in range(repeat)]
    return Timing(median(times), min(times), max(times))


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """The most bytes that tensors held at once during a call, beyond those held before it.

    On a GPU this is torch.cuda.max_memory_allocated. On a CPU it is the same of PyTorch's
    allocator there; what the interpreter and oneDNN take for themselves comes on top.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would write its diary to the terminal
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    return highest_sum(memory_events(profiler))


def memory_events(profiler: profile) -> list[tuple[int, int]]:
    """What was allocated (bytes above 0) and freed (below), in order, as (address, bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    found = [event for event in events if event["name"] == "[memory]"]
    found.sort(key=lambda event: event["ts"])
    return [(event["args"]["Addr"], event["args"]["Bytes"]) for event in found]


def highest_sum(events: list[tuple[int, int]]) -> int:
    """The most that was held at once. What is freed, but was held before, does not count."""
    held: dict[int, int] = {}
    total = highest = 0
    for address, num_bytes in events:
        if num_bytes > 0:
            held[address] = num_bytes
            total += num_bytes
            highest = max(highest, total)
        else:
            total -= held.pop(address, 0)
    return highest


def measure(module: nn.Module, *inputs: Tensor, repeat: int = 5) -> Measurement:
    """What one forward pass costs on the device of the inputs, in evaluation mode.

    module: anything that takes the inputs, a single block or a whole network.
    """
    device = inputs[0].device

    def call() -> None:
        module(*inputs)

    with inference_of(module):
        timing = time_calls(call, device, repeat)
        peak = peak_bytes(call, device)
        with operation_counter() as counter:
            call()
    return Measurement(timing.median, peak / 2**20, counter.get_total_flops() / 2e9)
