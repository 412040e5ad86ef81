"""Measures calls: time, peak memory, FLOPs, and the time of a training step."""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from math import inf, prod
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import Experiment, RuntimeConfig
from annlib.engine.distributed import mean_over_ranks
from annlib.engine.inference import inference_of
from annlib.engine.train import make_optimizer, train
from annlib.engine.trainer import batches, prepare_model, wrap_model
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_training

LISTING = Path("/proc/meminfo")
CPU_MESSAGES = ("can't allocate memory", "not enough memory")  # torch has no class for these


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not get memory for a tensor."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(message in str(error) for message in CPU_MESSAGES)


def available_bytes(device: torch.device) -> float:
    """What could be had now without swapping; infinite where the system does not tell.

    A CPU's allocations hardly ever fail: the process is killed when it writes to what there is not.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    listing = LISTING.read_text() if LISTING.exists() else ""
    told = re.search(r"^MemAvailable:\s*(\d+) kB", listing, re.MULTILINE)
    return int(told[1]) * 1024 if told else inf


def added_product(into: Any, a: Any, b: Any, **others: Any) -> int:
    """(B, N, S) @ (B, S, C), added to what is there."""
    return 2 * prod(a) * b[-1]


def fused_attention(query: Any, key: Any, value: Any, *more: Any, **others: Any) -> int:
    """(..., N, C) @ (..., C, S), and its softmax @ (..., S, Cv)."""
    return 2 * prod(query) * key[-2] + 2 * prod(query[:-1]) * prod(value[-2:])


UNKNOWN = {  # to torch's counter, which knows the same work under other names
    torch.ops.aten.baddbmm_: added_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused_attention,
}


def operation_counter() -> FlopCounterMode:
    """Torch's counter, two for each multiply-add; counts inside a `with`, tells by get_total_flops.

    It misses nothing that annlib computes with, on a GPU, a CPU or the meta device.
    """
    return FlopCounterMode(display=False, custom_mapping=UNKNOWN)


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


WARM_UP_STEPS, TIMED_STEPS = 5, 20
Batch = TypeVar("Batch")


class Pace(NamedTuple):
    """Of a training: seconds of a step, in the mean, and of waiting for its batch among them."""

    seconds: float
    waiting: float


def read_once(loader: DataLoader, num_batches: int) -> None:
    """Reads what the first batches will ask for: some data sets make a sample only once."""
    for batch in islice(loader.batch_sampler, num_batches):
        for draw in batch:
            loader.dataset[draw]


def watched(source: Iterable[Batch], waits: list[float]) -> Iterator[Batch]:
    """The same batches; notes the seconds that each of them was waited for."""
    iterator = iter(source)
    while True:
        started = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        waits.append(time.perf_counter() - started)
        yield batch


def pace(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: RuntimeConfig = RuntimeConfig(),
    warm_up: int = WARM_UP_STEPS,
    timed: int = TIMED_STEPS,
) -> Pace:
    """Of `timed` training steps after `warm_up`, once all that is done only once is done."""
    model = prepare_model(fuse_for_training(build_model(experiment.model)), device, compute)
    optimizer = make_optimizer(model, experiment.train)
    config = replace(experiment.train, iterations=warm_up + timed)
    loader = batches(experiment, dataset, device, workers)
    read_once(loader, config.iterations)
    times, waits = [], []
    steps = train(
        wrap_model(model, device, compute),
        optimizer,
        watched(loader, waits),
        config,
        compute=compute,
    )
    for step in steps:
        float(step.loss)  # waits for the device
        times.append(time.perf_counter())
    seconds = mean(b - a for a, b in pairwise(times[warm_up - 1 :]))
    # All processes must plan the same number of steps.
    found = torch.tensor([seconds, mean(waits[warm_up:])], device=device)
    return Pace(*mean_over_ranks(found).tolist())


def seconds_per_step(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: RuntimeConfig = RuntimeConfig(),
) -> float:
    """Mean time of a training step, data included."""
    return pace(experiment, dataset, device, workers, compute).seconds
