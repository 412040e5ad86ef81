"""How time and memory of attention grow with the map: slopes of straight lines in log-log plots."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log, prod
from statistics import linear_regression
from typing import Any

from annlib.engine.tables import table
from annlib.speed.attentions import FOLDED, FUSED, NONLOCAL, attention_forms
from annlib.speed.blocks import Channels, Size
from annlib.speed.forms import Comparison, Conditions, compare_forms

NAMES = (NONLOCAL, FUSED, FOLDED)


@dataclass(frozen=True)
class Line:
    """y = exp(intercept) * x ** slope"""

    slope: float
    intercept: float


def fitted(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The line through the logarithms with the least squares; None for fewer than two points."""
    if len(set(x)) < 2:
        return None
    return Line(*linear_regression([log(value) for value in x], [log(value) for value in y]))


@dataclass(frozen=True)
class Curve:
    """What one form takes on maps of growing size."""

    name: str
    positions: tuple[int, ...]  # N
    milliseconds: tuple[float, ...]  # medians
    mebibytes: tuple[float, ...]  # most that tensors held at once

    @property
    def time(self) -> Line | None:
        return fitted(self.positions, self.milliseconds)

    @property
    def memory(self) -> Line | None:
        return fitted(self.positions, self.mebibytes)

    def end(self) -> "Curve":
        """Its two largest maps, where what grows fastest shows most."""
        columns = (self.positions, self.milliseconds, self.mebibytes)
        return Curve(self.name, *(column[-2:] for column in columns))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        time, memory = self.time, self.memory
        lines = {
            "time": asdict(time) if time else None,
            "memory": asdict(memory) if memory else None,
        }
        return asdict(self) | lines


def growing(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions
) -> Iterator[Comparison]:
    """Attention at maps of each size, the smallest first."""
    for size in sorted(sizes, key=prod):
        forms = attention_forms(channels, size, conditions)
        chosen = [form for form in forms if form.name in NAMES]
        yield compare_forms(f"{size[0]} x {size[1]}", size, chosen, conditions)


def curves_of(comparisons: Sequence[Comparison]) -> list[Curve]:
    """A curve for each form, as far as the memory went."""
    curves = []
    for name in NAMES:
        points = [
            (prod(each.size), finish.timing.median, finish.needs.peak_bytes / 2**20)
            for each in comparisons
            for finish in each.finishes
            if finish.name == name
        ]
        if points:
            curves.append(Curve(name, *zip(*points, strict=True)))
    return curves


def said(line: Line | None) -> str:
    return "-" if line is None else f"{line.slope:.2f}"


def slopes_table(curves: Sequence[Curve]) -> str:
    """The exponents of N, over all maps and between the two largest."""
    header = ["", "N", "time", "last two", "memory", "last two"]
    rows = [
        [
            curve.name,
            f"{curve.positions[0]} to {curve.positions[-1]}",
            said(curve.time),
            said(curve.end().time),
            said(curve.memory),
            said(curve.end().memory),
        ]
        for curve in curves
    ]
    return table(header, rows)
