"""The paper's claim about cost, measured again: as large a map as time and memory here allow."""

from collections.abc import Iterator, Sequence
from math import prod
from statistics import median
from typing import NamedTuple

import torch

from annlib.engine.benchmark import Timing, peak_bytes, seconds_of
from annlib.engine.tables import table
from annlib.speed.attentions import FOLDED, FUSED, NONLOCAL, PLAIN
from annlib.speed.blocks import Size
from annlib.speed.forms import Comparison, Form, full_float32

MEASURED = (NONLOCAL, FUSED, PLAIN, FOLDED)
PAPER_FASTER, PAPER_SMALLER = (
    6,
    28,
)  # abstract: at 256 x 128, on a GPU, "around" and "times smaller"


class Visit(NamedTuple):
    """One call of one form: its milliseconds, or the MiB that it held at most."""

    name: str
    milliseconds: float | None
    mebibytes: float | None


class Found(NamedTuple):
    """What all visits to a form have shown."""

    timing: Timing
    mebibytes: float


def largest_affordable(
    sizes: Sequence[Size], small: Comparison, calls: int, seconds: float, num_bytes: float
) -> Size:
    """The largest map on which `calls` of all forms take so long at most, and fit; else the first.

    small: what was measured on a smaller map. Time and memory of the form that is written out grow
    with the square of the map, once it is large; so do the others at most.
    """
    spent = sum(each.timing.median for each in small.finishes) / 1000
    able = sizes[:1]
    for size in sizes:
        growth = (prod(size) / prod(small.size)) ** 2
        weights = 2 * 4 * prod(size) ** 2
        if calls * spent * growth <= seconds and weights <= num_bytes / 2:
            able = [*able, size]
    return max(able, key=prod)


def visits(forms: Sequence[Form], device: torch.device, repeat: int) -> Iterator[Visit]:
    """Memory of each form first, which warms it up; then rounds of the clock, in turn."""
    with full_float32():
        for form in forms:
            yield Visit(form.name, None, peak_bytes(form.compute, device) / 2**20)
        for _ in range(repeat):
            for form in forms:
                yield Visit(form.name, 1000 * seconds_of(form.compute, device), None)


def found_in(seen: Sequence[Visit]) -> dict[str, Found]:
    """Median and spread of each form, and its memory."""
    found = {}
    for name in dict.fromkeys(visit.name for visit in seen):
        own = [visit for visit in seen if visit.name == name]
        times = [visit.milliseconds for visit in own if visit.milliseconds is not None]
        timing = Timing(median(times), min(times), max(times))
        found[name] = Found(timing, own[0].mebibytes)
    return found


def beside_paper(found: dict[str, Found], size: Size) -> str:
    """A table: the paper's two numbers, and ours against either form of the non-local block."""
    apnb = found[PLAIN]

    def ratios(rival: str) -> list[str]:
        timing = found[rival].timing
        low, high = timing.fastest / apnb.timing.slowest, timing.slowest / apnb.timing.fastest
        faster = f"{timing.median / apnb.timing.median:.1f} ({low:.1f} to {high:.1f})"
        return [faster, f"{found[rival].mebibytes / apnb.mebibytes:.1f}"]

    here = f"here, {size[0]} x {size[1]}"
    columns = [
        ["paper, abstract: 256 x 128, GPU", f"around {PAPER_FASTER}", f"{PAPER_SMALLER}"],
        [f"{here}: than non-local", *ratios(NONLOCAL)],
        [f"{here}: than non-local, fused", *ratios(FUSED)],
    ]
    return table(["APNB is ...", "times faster", "times less memory"], columns)
