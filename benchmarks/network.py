"""The results of contests for people, and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from annlib.engine.benchmark import Timing
from annlib.engine.cost_tables import device_name
from annlib.engine.tables import percent, table
from annlib.speed.contest import Entry
from annlib.speed.device_peak import DevicePeak

Column = tuple[str, list[str]]  # header, one cell a contestant

LEGEND = """Times are medians (fastest to slowest), {repeat} calls each, taken turn by turn. The
first of a table is who the others are compared with: how much faster; the largest difference, as a
share of the largest number; the share of pixels whose best class is the same. Tensors: the most
that they held at once, beyond what they held before the call. Process: the most memory of a process
of its own, libraries included; before: until its first call. GFLOPs: convolutions and products, 2
for a multiply-add; peak: of what this device reaches in a product of matrices, {products} GFLOP/s.
It copies {gigabytes:.1f} GB/s, read and written together. {device}, {threads} threads."""


@dataclass(frozen=True)
class Report:
    """All contests of one run, by what was to be done."""

    contests: Mapping[str, Sequence[Entry]]
    peak: DevicePeak
    device: torch.device
    repeat: int

    def text(self) -> str:
        """A table for each, and what its columns are."""
        products = ", ".join(f"{rate:.0f} in {name}" for name, rate in self.peak.gflops.items())
        legend = LEGEND.format(
            repeat=self.repeat,
            products=products,
            gigabytes=self.peak.gigabytes,
            device=device_name(self.device),
            threads=torch.get_num_threads(),
        )
        tables = [
            f"{title}:\n\n{contest_table(entries, self.peak)}"
            for title, entries in self.contests.items()
        ]
        return "\n\n".join([*tables, legend])

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "settings": {
                "device": device_name(self.device),
                "threads": torch.get_num_threads(),
                "repeat": self.repeat,
            },
            "device_peak": self.peak._asdict(),
            "contests": {
                title: [entry.as_json() for entry in entries]
                for title, entries in self.contests.items()
            },
        }


def contest_table(entries: Sequence[Entry], peak: DevicePeak) -> str:
    """A line for each contestant; columns for what there is something to say about."""
    columns = [*time_columns(entries), *memory_columns(entries)]
    if all(entry.gflops for entry in entries):
        columns += work_columns(entries, peak)
    cells = zip(*(cells for _, cells in columns), strict=True)
    rows = [[entry.name, *row] for entry, row in zip(entries, cells, strict=True)]
    return table(["contestant", *(header for header, _ in columns)], rows)


def spread(timing: Timing) -> str:
    return f"{timing.median:.1f} ({timing.fastest:.1f} to {timing.slowest:.1f})"


def time_columns(entries: Sequence[Entry]) -> list[Column]:
    columns = [
        ("ms", [spread(entry.timing) for entry in entries]),
        ("times faster", [f"{entry.times_faster:.2f}" for entry in entries]),
        ("difference", [f"{entry.difference:.0e}" for entry in entries]),
    ]
    agreements = [entry.agreement for entry in entries if entry.agreement is not None]
    return columns + ([("same class %", [*map(percent, agreements)])] if agreements else [])


def memory_columns(entries: Sequence[Entry]) -> list[Column]:
    columns = [("tensors MiB", [f"{entry.peak_mib:.1f}" for entry in entries])]
    processes = [entry.resident for entry in entries if entry.resident is not None]
    if not processes:
        return columns
    first = processes[0].peak
    return [
        *columns,
        ("process MiB", [f"{each.peak:.0f} ({each.peak / first:.2f}x)" for each in processes]),
        ("before", [f"{each.before:.0f}" for each in processes]),
    ]


def work_columns(entries: Sequence[Entry], peak: DevicePeak) -> list[Column]:
    rates = [entry.gflops_per_second for entry in entries]
    peaks = [peak.gflops[entry.precision] for entry in entries]
    return [
        ("parameters", [f"{entry.parameters:,}" for entry in entries]),
        ("GFLOPs", [f"{entry.gflops:.1f}" for entry in entries]),
        ("GFLOP/s", [f"{rate:.0f}" for rate in rates]),
        ("peak %", [percent(rate / peak) for rate, peak in zip(rates, peaks, strict=True)]),
    ]
