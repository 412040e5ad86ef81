"""Measures calls: time, peak memory, FLOPs, training steps, and implementations side by side."""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from math import inf, prod
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import Experiment, RuntimeConfig
from annlib.engine.distributed import mean_over_ranks
from annlib.engine.optimization import is_out_of_memory, make_optimizer, train
from annlib.engine.trainer import batches, prepare_model, wrap_model
from annlib.model.ann import resize_bilinear
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_training

LISTING = Path("/proc/meminfo")
WARM_UP_CALLS, WARM_UP_SECONDS = 2, 1.0  # at least both, because a GPU raises its clock slowly
Batch = TypeVar("Batch")
Results = dict[str, Tensor]  # "output", and in training the gradient of "layer.weight" and so on
OnDevice = TypeVar("OnDevice", Tensor, nn.Module)
# Batch norm subtracts what these add everywhere, so their gradients are zero except for rounding.
SHIFTS = ("attention.to_value.bias", "attention.to_output.bias")


def available_bytes(device: torch.device) -> float:
    """Free memory without swapping; infinite where the system does not tell."""
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
    """Torch's counter, two for each multiply-add: use it in a `with`, then get_total_flops()."""
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
    """The most bytes that tensors hold at the same time during a call, beyond those before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences the profiler's logging
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
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
    started = time.perf_counter()
    for batch in source:
        waits.append(time.perf_counter() - started)
        yield batch
        started = time.perf_counter()


def pace(
    experiment: Experiment,
    dataset: Dataset,
    device: torch.device,
    workers: int,
    compute: RuntimeConfig = RuntimeConfig(),
    warm_up: int = 5,
    timed: int = 20,
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


@dataclass(frozen=True)
class Implementation:
    """One way of computing a function."""

    name: str
    compute: Callable[[], Results]
    flops: int  # by a closed formula
    same_as: str | None = None  # name of an earlier implementation of the same function
    num_bytes: int = 0  # that it needs, where that may be more than there is


@dataclass(frozen=True)
class Conditions:
    """What is the same for all implementations."""

    device: torch.device
    repeat: int = 5
    channels_last: bool = True
    limit_bytes: float = inf  # implementations that need more are left out

    def place(self, x: OnDevice) -> OnDevice:
        """A feature map or a module on the device, in the memory layout."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return x.to(self.device, memory_format=layout)


@dataclass(frozen=True)
class Measured:
    """What one call of an implementation costs."""

    formula: int  # FLOPs by the closed formula
    flops: int  # by torch's counter
    peak_bytes: int  # most that tensors hold at the same time, beyond inputs and weights
    output_bytes: int  # of the output, which every implementation has to write
    difference: float | None  # from the one that computes the same; None if there is none
    timing: Timing

    @property
    def mebibytes(self) -> float:
        return self.peak_bytes / 2**20


@dataclass(frozen=True)
class Comparison:
    """Implementations that were measured in turn, in one run."""

    title: str
    size: tuple[int, int]  # of the feature maps
    measured: dict[str, Measured]
    notes: tuple[str, ...]  # implementations that could not be measured, and why


@contextmanager
def full_float32() -> Iterator[None]:
    """Inside, a GPU does not round to TF32, which would affect only some implementations."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    with ExitStack() as stack:
        for backend in backends:
            stack.callback(setattr, backend, "allow_tf32", backend.allow_tf32)
            backend.allow_tf32 = False
        yield


def relative_difference(found: Results, expected: Results) -> float:
    """The largest difference, relative to the largest number in the same map or layer.

    A layer's weight and bias share their scale, because their gradients are sums of the same
    terms. NaN where either has one. Raises KeyError for a result that was not found.
    """
    shares = []
    for name, tensor in expected.items():
        layer = name.rpartition(".")[0]  # of "to_key.0.weight": "to_key.0"; of a map: ""
        same = [other for other in expected if layer and other.rpartition(".")[0] == layer]
        largest = torch.stack([expected[other].abs().max() for other in same or [name]]).max()
        shares.append((found[name] - tensor).abs().max() / largest)
    return torch.stack(shares).max().item()


def gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"


def compare(
    title: str,
    size: tuple[int, int],
    implementations: Sequence[Implementation],
    conditions: Conditions,
    watch: Callable[[list[Implementation]], Iterable[Implementation]] = iter,
) -> Comparison:
    """Measures FLOPs, memory and agreement of each, then times all in turn, `repeat` rounds.

    So load on the machine affects all equally. What the memory does not hold is noted and left out.
    watch: wraps the list of calls, for example in a progress bar.
    """
    costs, milliseconds, notes = {}, {}, []
    kept: dict[str, Results] = {}
    wanted, device = {each.same_as for each in implementations}, conditions.device
    with full_float32():
        for number, each in enumerate(watch([*implementations] * (1 + conditions.repeat))):
            if number >= len(implementations):
                if each.name in costs:
                    milliseconds[each.name].append(1000 * seconds_of(each.compute, device))
                continue
            if each.num_bytes > conditions.limit_bytes:
                limit = gib(conditions.limit_bytes)
                notes.append(f"{each.name}: needs {gib(each.num_bytes)}, and {limit} may be used.")
                continue
            try:
                with operation_counter() as counter:
                    results = each.compute()
                peak = peak_bytes(each.compute, device)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                notes.append(f"{each.name}: out of memory.")
                continue
            flops, num_bytes = counter.get_total_flops(), results["output"].nbytes
            same = kept.get(each.same_as)
            apart = None if same is None else relative_difference(results, same)
            costs[each.name] = (each.flops, flops, peak, num_bytes, apart)
            milliseconds[each.name] = []
            if each.name in wanted:
                kept[each.name] = results
    measured = {n: Measured(*cost, Timing.of(milliseconds[n])) for n, cost in costs.items()}
    return Comparison(title, size, measured, tuple(f"{title}, {note}" for note in notes))


def smooth_noise(channels: int, size: tuple[int, int], conditions: Conditions) -> Tensor:
    """A feature map whose nearby positions are similar, as in a network.  -> (1, channels, *size)

    In plain noise all large pooling cells have the same mean, so all anchors would be the same.
    """
    coarse = torch.randn(1, channels, 8, 8, device=conditions.device)
    values = resize_bilinear(coarse, size, align_corners=False)
    return conditions.place(values + torch.randn_like(values))


@torch.no_grad()
def as_trained(module: nn.Module, *inputs: Tensor) -> nn.Module:
    """Initialises the output projection, and sets batch norm to the statistics of the inputs.

    With zeros all implementations would agree, whatever they compute. With other statistics each
    position would attend to one anchor, which magnifies rounding.
    """
    for part in module.modules():
        if isinstance(part, AsymmetricAttention):
            part.to_output.reset_parameters()
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # the running statistics are those of the last batch
    module.train()(*inputs)
    return module


def inference(module: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Results]:
    """A call that computes only the output."""

    def compute() -> Results:
        module.eval()
        with torch.inference_mode():
            return {"output": module(*inputs)}

    return compute


def training(
    module: nn.Module,
    inputs: Sequence[Tensor],
    upstream: Tensor,
    our_names: Callable[[Results], Results],
) -> Callable[[], Results]:
    """A call that computes the output and the gradients of all inputs and weights.

    upstream: gradient of the output. our_names: renames gradients of the module's weights.
    """
    leaves = {f"input {i}": x.detach().requires_grad_() for i, x in enumerate(inputs)}
    weights = dict(module.named_parameters())

    def compute() -> Results:
        for tensor in (*weights.values(), *leaves.values()):
            tensor.grad = None  # so that this call does not add to the last one's
        output = module.train()(*leaves.values())
        output.backward(upstream)
        gradients = our_names({name: tensor.grad for name, tensor in weights.items()})
        compared = {name: one for name, one in gradients.items() if name not in SHIFTS}
        return {"output": output.detach(), **{n: x.grad for n, x in leaves.items()}, **compared}

    return compute
