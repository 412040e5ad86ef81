"""Interleaved timing of several implementations: load on the machine affects all equally."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from annlib.engine.profiler import (
    Timing,
    is_out_of_memory,
    operation_counter,
    peak_bytes,
    seconds_of,
)
from annlib.model.ann import resize_bilinear
from annlib.model.asymmetric import AsymmetricAttention

WARM_UP_ROUNDS = 2


def time_interleaved(
    calls: Mapping[str, Callable[[], Any]], device: torch.device, repeat: int
) -> dict[str, Timing]:
    """Times each call once a round, `repeat` rounds after some that do not count."""
    for _ in range(WARM_UP_ROUNDS):
        for call in calls.values():
            call()
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            milliseconds[name].append(1000 * seconds_of(call, device))
    return {
        name: Timing(median(times), min(times), max(times)) for name, times in milliseconds.items()
    }


def speedup(timings: Mapping[str, Timing], name: str, of: str) -> float:
    """How many times faster `name` is than `of`, by their medians."""
    return timings[of].median / timings[name].median


Results = dict[str, Tensor]  # "output", and in training the gradient of "layer.weight" and so on


@dataclass(frozen=True)
class Form:
    """One way of computing."""

    name: str
    compute: Callable[[], Results]
    flops: int  # by a closed formula
    like: str | None = None  # name of the form before it that computes the same function
    bytes: int = 0  # that it is known to need, where that may be more than there is


@dataclass(frozen=True)
class Conditions:
    """Under which all forms are measured."""

    device: torch.device
    repeat: int = 5
    channels_last: bool = True
    limit_bytes: float = inf  # forms that need more are left out


@dataclass(frozen=True)
class Cost:
    """What one call of a form computes and takes, time aside."""

    peak_bytes: int  # most that tensors held at once, beyond inputs and weights
    output_bytes: int  # of the output, which any form has to write
    flops: int  # by torch's counter
    difference: float | None  # from the form that it is like; None if there is nothing to compare


@dataclass(frozen=True)
class Finish:
    """All that was measured of one form."""

    name: str
    formula: int
    needs: Cost
    timing: Timing


@dataclass(frozen=True)
class Comparison:
    """Forms that were measured side by side, in one run."""

    title: str
    size: tuple[int, int]  # of the maps
    finishes: tuple[Finish, ...]
    notes: tuple[str, ...]  # forms that could not be measured, and why

    def finish(self, name: str) -> Finish | None:
        """None if that form could not be measured."""
        return next((finish for finish in self.finishes if finish.name == name), None)


@contextmanager
def full_float32() -> Iterator[None]:
    """Inside, a GPU rounds no factors to TF32: it would do so in some forms, and in others not."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def layer_of(name: str) -> str:
    """As "attention.to_key.0.weight" -> "attention.to_key.0"; a map stands for itself."""
    return name.rpartition(".")[0] or name


def relative_difference(found: Results, expected: Results) -> float:
    """The largest difference, as a share of the largest number in the same map or layer.

    A layer's weight and bias share their measure: their gradients are sums of the same terms. NaN
    where either has one. Raises KeyError for a result that was not found.
    """
    largest: dict[str, Tensor] = {}
    for name, tensor in expected.items():
        layer, number = layer_of(name), tensor.abs().max()
        largest[layer] = torch.maximum(largest.get(layer, number), number)
    shares = [
        (found[name] - tensor).abs().max() / largest[layer_of(name)]
        for name, tensor in expected.items()
    ]
    return torch.stack(shares).max().item()


def cost_of(form: Form, expected: Results | None, device: torch.device) -> tuple[Cost, Results]:
    """Runs a form twice, under torch's two measures."""
    with operation_counter() as counter:
        results = form.compute()
    difference = None if expected is None else relative_difference(results, expected)
    needs = Cost(
        peak_bytes(form.compute, device),
        results["output"].nbytes,
        counter.get_total_flops(),
        difference,
    )
    return needs, results


def gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"


def try_forms(forms: Sequence[Form], conditions: Conditions) -> tuple[dict[str, Cost], list[str]]:
    """What each form needs, and notes on those that the memory does not hold."""
    found: dict[str, Cost] = {}
    notes: list[str] = []
    kept: dict[str, Results] = {}
    wanted = {form.like for form in forms}
    for form in forms:
        if form.bytes > conditions.limit_bytes:
            limit = gib(conditions.limit_bytes)
            notes.append(f"{form.name}: needs {gib(form.bytes)}, and {limit} may be used.")
            continue
        try:
            found[form.name], results = cost_of(form, kept.get(form.like), conditions.device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            notes.append(f"{form.name}: out of memory.")
            continue
        if form.name in wanted:
            kept[form.name] = results
    return found, notes


def compare_forms(
    title: str, size: tuple[int, int], forms: Sequence[Form], conditions: Conditions
) -> Comparison:
    """Measures all forms that the memory holds; their times turn by turn."""
    with full_float32():
        found, notes = try_forms(forms, conditions)
        able = [form for form in forms if form.name in found]
        calls = {form.name: form.compute for form in able}
        timings = time_interleaved(calls, conditions.device, conditions.repeat)
    finishes = (
        Finish(form.name, form.flops, found[form.name], timings[form.name]) for form in able
    )
    return Comparison(title, size, tuple(finishes), tuple(f"{title}, {note}" for note in notes))


COARSE = (8, 8)
# Batch norm takes back what these add everywhere: their gradients are zero, but for rounding.
SHIFTS = ("attention.to_value.bias", "attention.to_output.bias")


def layout(conditions: Conditions) -> torch.memory_format:
    return torch.channels_last if conditions.channels_last else torch.contiguous_format


def made_up(channels: int, size: tuple[int, int], conditions: Conditions) -> Tensor:
    """Numbers that, as those of a network, are alike where places are near.  (1, channels, *size)

    Of noise alone all large cells have one mean, and all anchors are the same.
    """
    coarse = torch.randn(1, channels, *COARSE, device=conditions.device)
    values = resize_bilinear(coarse, size, align_corners=False)
    values += torch.randn(values.shape, device=conditions.device)
    return values.to(memory_format=layout(conditions))


def placed(module: nn.Module, conditions: Conditions) -> nn.Module:
    """On the device, in the layout of the maps."""
    return module.to(conditions.device, memory_format=layout(conditions))


@torch.no_grad()
def settled(module: nn.Module, *inputs: Tensor) -> nn.Module:
    """As after a training: outputs are projected by no zeros, batch norm knows its inputs.

    With the zeros that a training starts from all forms would agree, whatever they compute. With
    foreign statistics scores would be so large that every position takes one anchor and no other,
    which magnifies rounding.
    """
    for part in module.modules():
        if isinstance(part, AsymmetricAttention):
            part.to_output.reset_parameters()
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # what it remembers is the batch at hand
    module.train()(*inputs)
    return module


def inference(module: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Results]:
    """A call that computes the output alone."""

    def compute() -> Results:
        module.eval()
        with torch.inference_mode():
            return {"output": module(*inputs)}

    return compute


def taken_gradients(leaves: Mapping[str, Tensor]) -> Results:
    """The gradients, which are no longer the leaves' own: the next call begins without."""
    found = {name: leaf.grad for name, leaf in leaves.items()}
    for leaf in leaves.values():
        leaf.grad = None
    return found


def training(
    module: nn.Module,
    inputs: Sequence[Tensor],
    upstream: Tensor,
    our_names: Callable[[Results], Results] = lambda gradients: gradients,
) -> Callable[[], Results]:
    """A call that computes the output and the gradients of all inputs and weights, to be compared.

    upstream: gradient of the output. our_names: gradients by the module's names -> by ours.
    """
    leaves = {f"input {i}": x.detach().requires_grad_() for i, x in enumerate(inputs)}
    weights = dict(module.named_parameters())

    def compute() -> Results:
        module.train()
        output = module(*leaves.values())
        output.backward(upstream)
        of_weights = our_names(taken_gradients(weights))
        compared = {name: of_weights[name] for name in of_weights if name not in SHIFTS}
        return {"output": output.detach(), **taken_gradients(leaves), **compared}

    return compute
