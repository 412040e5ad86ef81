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
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import Experiment, RuntimeConfig
from annlib.engine.distributed import mean_over_ranks
from annlib.engine.optimization import make_optimizer, train
from annlib.engine.trainer import batches, prepare_model, wrap_model
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_training

LISTING = Path("/proc/meminfo")
WARM_UP_CALLS, WARM_UP_SECONDS = 2, 1.0  # at least both, because a GPU raises its clock slowly
WARM_UP_STEPS, TIMED_STEPS = 5, 20
Batch = TypeVar("Batch")


def available_bytes(device: torch.device) -> float:
    """Free memory without swapping; infinite where the system does not tell.

    An allocation on a CPU hardly ever fails. Instead the process is killed when it writes.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    listing = LISTING.read_text() if LISTING.exists() else ""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", listing, re.MULTILINE)
    return int(found[1]) * 1024 if found else inf


UNKNOWN = {  # to torch's counter, which knows the same work under other names
    # (B, N, S) @ (B, S, C), added to another tensor
    torch.ops.aten.baddbmm_: lambda into, a, b, **others: 2 * prod(a) * b[-1],
    # (..., N, C) @ (..., C, S), and its softmax @ (..., S, Cv)
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: (
        2 * prod(q) * k[-2] + 2 * prod(q[:-1]) * prod(v[-2:])
    ),
}


def operation_counter() -> FlopCounterMode:
    """Torch's counter, two for each multiply-add: use it in a `with`, then get_total_flops().

    It counts everything that annlib computes with, on a GPU, a CPU or the meta device.
    """
    return FlopCounterMode(display=False, custom_mapping=UNKNOWN)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call."""

    median: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, milliseconds: list[float]) -> "Timing":
        return cls(median(milliseconds), min(milliseconds), max(milliseconds))

    def __str__(self) -> str:
        return f"{self.median:.1f} ({self.fastest:.1f} to {self.slowest:.1f})"


def synchronise(device: torch.device) -> None:
    """Waits until a GPU has finished all of its work; a CPU always has."""
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
    """Times `repeat` calls after a warm-up."""
    calls, seconds = 0, 0.0
    while calls < WARM_UP_CALLS or seconds < WARM_UP_SECONDS:
        calls, seconds = calls + 1, seconds + seconds_of(call, device)
    return Timing.of([1000 * seconds_of(call, device) for _ in range(repeat)])


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """The most bytes that tensors hold at the same time during a call, beyond those before it.

    From torch's allocator, on a CPU as on a GPU; the memory of the interpreter and of oneDNN is
    not included.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler's logging
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    found = sorted((e for e in events if e["name"] == "[memory]"), key=lambda event: event["ts"])
    return highest_sum([(event["args"]["Addr"], event["args"]["Bytes"]) for event in found])


def highest_sum(events: list[tuple[int, int]]) -> int:
    """The most bytes held at the same time. Freeing what was held before does not count.

    events: (address, bytes) in order of time; bytes below 0 are freed.
    """
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


class Pace(NamedTuple):
    """Mean seconds of a training step, and of waiting for its batch, which they include."""

    seconds: float
    waiting: float


def watched(source: Iterable[Batch], waits: list[float]) -> Iterator[Batch]:
    """The same batches; appends the seconds of waiting for each of them to `waits`."""
    iterator = iter(source)  # this starts the workers: its time is not counted
    started = time.perf_counter()
    for batch in iterator:
        waits.append(time.perf_counter() - started)
        yield batch
        started = time.perf_counter()


def pace(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: RuntimeConfig = RuntimeConfig(),
    warm_up: int = WARM_UP_STEPS,
    timed: int = TIMED_STEPS,
) -> Pace:
    """Times `timed` training steps after `warm_up`; the mean over all processes."""
    model = prepare_model(fuse_for_training(build_model(experiment.model)), device, compute)
    optimizer = make_optimizer(model, experiment.train)
    config = replace(experiment.train, iterations=warm_up + timed)
    loader = batches(experiment, dataset, device, workers)
    for batch in islice(loader.batch_sampler, config.iterations):
        for draw in batch:  # because some data sets make a sample only once
            loader.dataset[draw]
    times, waits = [], []
    runs = wrap_model(model, device, compute)
    for step in train(runs, optimizer, watched(loader, waits), config, compute=compute):
        float(step.loss)  # waits for the device
        times.append(time.perf_counter())
    seconds = mean(b - a for a, b in pairwise(times[warm_up - 1 :]))
    # All processes must plan the same number of steps.
    found = torch.tensor([seconds, mean(waits[warm_up:])], device=device)
    return Pace(*mean_over_ranks(found).tolist())
