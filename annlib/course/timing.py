"""Compares implementations: interleaved timing, peak memory, FLOPs, and whether they agree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TypeVar

import torch
from torch import Tensor, nn

from annlib.course import profiler
from annlib.course.profiler import Timing, seconds_of
from annlib.engine.optimization import is_out_of_memory
from annlib.model.ann import resize_bilinear
from annlib.model.asymmetric import AsymmetricAttention

Results = dict[str, Tensor]  # "output", and in training the gradient of "layer.weight" and so on
OnDevice = TypeVar("OnDevice", Tensor, nn.Module)
# Batch norm subtracts what these add everywhere, so their gradients are zero except for rounding.
SHIFTS = ("attention.to_value.bias", "attention.to_output.bias")


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
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


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
                with profiler.operation_counter() as counter:
                    results = each.compute()
                peak = profiler.peak_bytes(each.compute, device)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                notes.append(f"{each.name}: out of memory.")
                continue
            flops, num_bytes = counter.get_total_flops(), results["output"].nbytes
            known = each.same_as in kept
            apart = relative_difference(results, kept[each.same_as]) if known else None
            costs[each.name] = (each.flops, flops, peak, num_bytes, apart)
            milliseconds[each.name] = []
            if each.name in wanted:
                kept[each.name] = results
    timings = {name: Timing.of(found) for name, found in milliseconds.items()}
    measured = {name: Measured(*cost, timings[name]) for name, cost in costs.items()}
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
        of_inputs = {name: tensor.grad for name, tensor in leaves.items()}
        return {"output": output.detach(), **of_inputs, **compared}

    return compute
