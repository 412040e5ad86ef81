"""Comparisons of forms as one table, and all that its numbers depend on."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from annlib.engine.cost_tables import device_name
from annlib.engine.tables import table
from annlib.speed.blocks import Channels
from annlib.speed.forms import Comparison, Conditions, Finish

LEGEND = """On {device} with {threads} CPU threads, float32, channels {layout}. Times are medians
(fastest to slowest) of {repeat} calls each; the forms take turns. MiB: the most that tensors held
at once, beyond the inputs and the weights; a CPU's libraries take some more. In it is the output,
which every form has to write: "times its output" compares with that. GFLOPs: 10^9 operations, two
for a multiply-add, by torch's counter and by a closed formula. Difference: the largest from the
first form of the same function, in the output and, in training, in the gradients of inputs and
weights; as a share of the largest number in the same map or layer."""


def settings(channels: Channels, conditions: Conditions) -> dict[str, Any]:
    """All that the numbers depend on, besides the versions of the libraries."""
    return {
        "device": device_name(conditions.device),
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "repeat": conditions.repeat,
        "channels_last": conditions.channels_last,
        "channels": asdict(channels),
    }


def legend(conditions: Conditions) -> str:
    return LEGEND.format(
        repeat=conditions.repeat,
        layout="last" if conditions.channels_last else "first",
        device=device_name(conditions.device),
        threads=torch.get_num_threads(),
    )


def times(larger: float, smaller: float) -> str:
    return f"{larger / smaller:.2f}"


def row(comparison: Comparison, finish: Finish, rivals: Sequence[str]) -> list[str]:
    """One form beside those that it is to beat."""
    found = [comparison.finish(rival) for rival in rivals]
    timing, needs = finish.timing, finish.needs
    first = found[0]
    return [
        f"{comparison.title}: {finish.name}",
        f"{timing.median:.1f} ({timing.fastest:.1f} to {timing.slowest:.1f})",
        *(times(rival.timing.median, timing.median) if rival else "-" for rival in found),
        f"{needs.peak_bytes / 2**20:.1f}",
        times(first.needs.peak_bytes, needs.peak_bytes) if first else "-",
        times(needs.peak_bytes, needs.output_bytes),
        f"{needs.flops / 1e9:.2f}",
        f"{finish.formula / 1e9:.2f}",
        "-" if needs.difference is None else f"{needs.difference:.0e}",
    ]


def forms_table(what: str, comparisons: Sequence[Comparison], rivals: Sequence[str]) -> str:
    """A row for each form that was measured, then notes on the others."""
    header = [
        what,
        "ms",
        *(f"times faster than {rival}" for rival in rivals),
        "MiB",
        f"times less than {rivals[0]}",
        "times its output",
        "GFLOPs",
        "by formula",
        "difference",
    ]
    rows = [
        row(comparison, finish, rivals)
        for comparison in comparisons
        for finish in comparison.finishes
    ]
    notes = [note for comparison in comparisons for note in comparison.notes]
    return "\n\n".join([table(header, rows), *notes])
