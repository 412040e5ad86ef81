"""Figure: time and memory of several forms of attention on one map, as they were measured."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.plots import Picture
from annlib.course.remeasuring import Found


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


@styled
def measured_points(found: Mapping[str, Found], size: tuple[int, int]) -> Picture:
    """A point for each form, time with its spread beside memory, on logarithmic axes."""
    figure = Figure((9.6, 1.2 + 0.5 * len(found)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, (name, one) in enumerate(found.items()):
        colour = BLOCK_COLOURS["nonlocal" if name.startswith("non-local") else "apnb"]
        timing, look = one.timing, {"color": colour, "markersize": 11}
        look["marker"] = "s" if name.startswith("non-local") else "o"
        left.plot([timing.fastest, timing.slowest], [row, row], color=INK, marker="|")
        left.plot(timing.median, row, **look)
        left.text(1.2 * timing.slowest, row, short(timing.median), va="center")
        right.plot(one.mebibytes, row, **look)
        right.text(1.2 * one.mebibytes, row, short(one.mebibytes), va="center")
    left.set(yticks=range(len(found)), yticklabels=list(found), xscale="log")
    left.set(title=f"Time, map {size[0]} x {size[1]}", xlabel="milliseconds, median and spread")
    right.set(title="Memory", xlabel="MiB held at once", xscale="log")
    for axes in (left, right):
        axes.grid(axis="x", color="#e4e4e4")
        low, high = axes.get_xlim()
        axes.set_xlim(low / 2, high * 3)  # room for the numbers
    left.set_ylim(len(found) - 0.4, -0.6)
    return Picture(figure, say_found(found, size))


def say_found(found: Mapping[str, Found], size: tuple[int, int]) -> str:
    """The measurements in words."""
    parts = [
        f"{name}: {one.timing.median:.1f} ms ({one.timing.fastest:.1f} to "
        f"{one.timing.slowest:.1f}), {one.mebibytes:.1f} MiB"
        for name, one in found.items()
    ]
    return f"Attention on a map of {size[0]} x {size[1]}. {'; '.join(parts)}."
