"""A race with everything that is to be known of it: time, agreement, memory, work."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from annlib.config import Precision
from annlib.engine.benchmark import Timing, peak_bytes
from annlib.engine.counting import operation_counter
from annlib.speed.race import race, speedup
from annlib.speed.resident import Ready, Resident, resident


@dataclass(frozen=True)
class Entry:
    """What was found out about one contestant; the first one is who the others are compared with.

    difference: largest, relative to the largest number of the first one's results. agreement: share
    of pixels whose highest score is of the same class; None where results are no scores. peak_mib:
    of tensors during a call, beyond those held before. gflops: counted in one call.
    """

    name: str
    timing: Timing  # milliseconds
    times_faster: float
    difference: float
    agreement: float | None
    peak_mib: float
    resident: Resident | None  # None: not asked for, or a GPU's work
    parameters: int
    precision: Precision
    gflops: float

    @property
    def gflops_per_second(self) -> float:
        return 1000 * self.gflops / self.timing.median

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        process = self.resident._asdict() if self.resident else None
        return asdict(self) | {"resident": process, "gflops_per_second": self.gflops_per_second}


def contest(
    works: Mapping[str, Callable[[], Ready]],
    device: torch.device,
    repeat: int,
    looks: int = 1,
    processes: Mapping[str, Resident | None] | None = None,
) -> list[Entry]:
    """Lets all do their work turn by turn.

    works: what prepares each. looks: calls at the start whose results are compared. processes: see
    `processes_of`, asked for before as its processes want the memory to themselves.
    """
    ready = {name: prepare() for name, prepare in works.items()}
    results = {name: first_results(each.call, looks) for name, each in ready.items()}
    timings = race({name: each.call for name, each in ready.items()}, device, repeat)
    first = next(iter(ready))
    return [
        Entry(
            name=name,
            timing=timings[name],
            times_faster=speedup(timings, name, of=first),
            difference=difference(results[name], results[first]),
            agreement=agreement(results[name], results[first]),
            peak_mib=peak_bytes(each.call, device) / 2**20,
            resident=(processes or {}).get(name),
            parameters=each.parameters,
            precision=each.precision,
            gflops=counted_gflops(each.plain),
        )
        for name, each in ready.items()
    ]


def processes_of(
    works: Mapping[str, Callable[[], Ready]], device: torch.device
) -> dict[str, Resident | None]:
    """What each work needs in a process of its own. A GPU's memory is not the process's: None."""
    if device.type != "cpu":
        return dict.fromkeys(works)
    return {name: resident(prepare) for name, prepare in works.items()}


def first_results(call: Callable[[], Tensor], looks: int) -> Tensor:
    """Copies of what the first calls return, in one tensor."""
    # Compiled networks write into the same memory each time.
    copies = [call().detach().to("cpu", torch.float32, copy=True) for _ in range(looks)]
    return torch.stack(copies)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest, relative to the largest number expected."""
    return float((found - expected).abs().max() / expected.abs().max())


def agreement(found: Tensor, expected: Tensor) -> float | None:
    """Share of the pixels with the same class.  2 x (looks, B, K, H, W); of other results None"""
    if expected.ndim != 5:
        return None
    return float((found.argmax(2) == expected.argmax(2)).float().mean())


def counted_gflops(call: Callable[[], Tensor]) -> float:
    """10^9 operations of convolutions and products, 2 for a multiply-add."""
    with operation_counter() as counter:
        call()
    return counter.get_total_flops() / 1e9
