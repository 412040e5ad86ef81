"""Several forms of one computation: whether they agree, what they need, how long they take."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from annlib.engine.benchmark import Timing, peak_bytes
from annlib.engine.counting import operation_counter
from annlib.engine.memory import is_out_of_memory
from annlib.speed.race import race

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
class Needs:
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
    needs: Needs
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


def needs_of(form: Form, expected: Results | None, device: torch.device) -> tuple[Needs, Results]:
    """Runs a form twice, under torch's two measures."""
    with operation_counter() as counter:
        results = form.compute()
    difference = None if expected is None else relative_difference(results, expected)
    needs = Needs(
        peak_bytes(form.compute, device),
        results["output"].nbytes,
        counter.get_total_flops(),
        difference,
    )
    return needs, results


def gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"


def try_forms(forms: Sequence[Form], conditions: Conditions) -> tuple[dict[str, Needs], list[str]]:
    """What each form needs, and notes on those that the memory does not hold."""
    found: dict[str, Needs] = {}
    notes: list[str] = []
    kept: dict[str, Results] = {}
    wanted = {form.like for form in forms}
    for form in forms:
        if form.bytes > conditions.limit_bytes:
            limit = gib(conditions.limit_bytes)
            notes.append(f"{form.name}: needs {gib(form.bytes)}, and {limit} may be used.")
            continue
        try:
            found[form.name], results = needs_of(form, kept.get(form.like), conditions.device)
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
        timings = race(calls, conditions.device, conditions.repeat)
    finishes = (
        Finish(form.name, form.flops, found[form.name], timings[form.name]) for form in able
    )
    return Comparison(title, size, tuple(finishes), tuple(f"{title}, {note}" for note in notes))
