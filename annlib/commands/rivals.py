"""What the races of whole networks have in common: who takes part, and what is told of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from annlib.commands.devices import able
from annlib.config import Compute, Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from annlib.speed.contest import Entry
    from annlib.speed.contest_tables import Report
    from annlib.speed.contestants import Contestant, Network
    from annlib.speed.resident import Ready, Resident
    from annlib.zoo import Published


@dataclass(frozen=True)
class Rivals:
    """Who races, with the same weights, and what is measured of them."""

    row: str = "ann_r50-d8_512x1024_40k_cityscapes"
    """A published row (`annlib list`): its network and recipe."""
    precision: Precision = "fp32"
    """The best of ours takes part in this precision, too."""
    compile: bool = False
    """The best of ours takes part compiled, too. Its first call takes minutes."""
    cuda_graphs: bool = False
    """With --compile, on a GPU: it takes part with its kernels replayed, too."""
    processes: bool = True
    """Measure the memory of processes, too, one for each (on a CPU)."""

    def published(self) -> "Published":
        """Raises KeyError for an unknown row."""
        from annlib.zoo import published

        return published(self.row)

    def field(self, best: "Network", device: "torch.device") -> "list[Contestant]":
        """Those that can take part; says who cannot, and why."""
        from annlib.speed.contestants import field
        from annlib.speed.reference import HOW_TO_INSTALL, installed

        if not installed():
            print(f"The reference is not installed: ours race alone. {HOW_TO_INSTALL}", flush=True)
        asked = Compute(self.precision, compile=self.compile, cuda_graphs=self.cuda_graphs)
        return field(best, able(asked, device))

    def race(
        self,
        works: "Mapping[str, Callable[[], Ready]]",
        device: "torch.device",
        repeat: int,
        looks: int = 1,
    ) -> "list[Entry]":
        """Says what is being done, for it takes minutes."""
        from annlib.speed.contest import contest, processes_of

        processes: dict[str, Resident | None] = {}
        if self.processes:
            print(f"Memory of {len(works)} processes ...", flush=True)
            processes = processes_of(works, device)
        print(f"{repeat} rounds of: {'; '.join(works)} ...", flush=True)
        return contest(works, device, repeat, looks, processes)

    def report(
        self, contests: "Mapping[str, list[Entry]]", device: "torch.device", repeat: int
    ) -> "Report":
        """The contests beside what the device can do at most, measured now."""
        from annlib.speed.contest_tables import Report
        from annlib.speed.device_peak import device_peak

        peak = device_peak(device, sorted({"fp32", self.precision}))
        return Report(contests, peak, device, repeat)

    def words(self) -> list[str]:
        """Settings for the name of a file: the row, and what is not the usual."""
        words = [self.row] + [self.precision] * (self.precision != "fp32")
        return words + ["compiled"] * self.compile + ["cuda-graphs"] * self.cuda_graphs
