"""How time and memory of attention grow with the map, drawn on logarithmic axes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from annlib.course.drawing import BLOCK_COLOURS, styled
from annlib.course.plots import Picture
from annlib.speed.attentions import FOLDED, FUSED, NONLOCAL
from annlib.speed.growth import Curve, Line

LOOKS = {  # told apart in grey, too
    NONLOCAL: {"color": BLOCK_COLOURS["nonlocal"], "marker": "s", "linestyle": ":"},
    FUSED: {"color": BLOCK_COLOURS["nonlocal"], "marker": "^", "linestyle": "--"},
    FOLDED: {"color": BLOCK_COLOURS["apnb"], "marker": "o", "linestyle": "-"},
}


def draw_growth(axes: Axes, curve: Curve, values: Sequence[float], line: Line | None) -> None:
    """Points as measured, and the line that was fitted to them."""
    look = LOOKS[curve.name]
    if line is None:
        axes.plot(curve.positions, values, label=curve.name, **look | {"linestyle": ""})
        return
    drawn = np.exp(line.intercept) * np.array(curve.positions, float) ** line.slope
    axes.plot(curve.positions, values, **look | {"linestyle": ""})
    axes.plot(curve.positions, drawn, **look | {"marker": ""})
    label = f"{curve.name}: slope {line.slope:.2f}"
    axes.plot([], [], label=label, **look)  # the legend shows the two as one


def say_growth(curve: Curve) -> str:
    """A curve in words."""
    reach = f"{curve.name}, N from {curve.positions[0]} to {curve.positions[-1]}"
    if curve.time is None:
        return f"{reach}: one map only."
    return (
        f"{reach}: time grows as N to the power of {curve.time.slope:.2f}, from "
        f"{curve.milliseconds[0]:.1f} to {curve.milliseconds[-1]:.1f} ms; memory to the power of "
        f"{curve.memory.slope:.2f}, from {curve.mebibytes[0]:.1f} to {curve.mebibytes[-1]:.1f} MiB."
    )


@styled
def growth_chart(curves: Sequence[Curve]) -> Picture:
    """Time and memory of each form against the number of positions, both axes logarithmic."""
    figure = Figure((9.6, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for curve in curves:
        draw_growth(left, curve, curve.milliseconds, curve.time)
        draw_growth(right, curve, curve.mebibytes, curve.memory)
    left.set(title="Time", ylabel="milliseconds, median")
    right.set(title="Memory", ylabel="MiB, the most held at once")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(r"positions $N$ of the map ($2^{10} = 32 \times 32$)")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16))
        axes.grid(alpha=0.25, linewidth=0.6)
    words = "How attention grows with the map, on logarithmic axes. "
    return Picture(figure, words + " ".join(map(say_growth, curves)))
