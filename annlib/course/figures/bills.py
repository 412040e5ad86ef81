"""Figures of costs: curves over the size of the map, and bars of what each part takes."""

from collections.abc import Mapping
from math import inf

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.course.bills import bills
from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.plots import Picture
from annlib.speed.attentions import FUSED, NONLOCAL, PLAIN

LOOKS = {  # told apart in grey, too
    NONLOCAL: {"color": BLOCK_COLOURS["nonlocal"], "marker": "s", "linestyle": ":"},
    FUSED: {
        "color": BLOCK_COLOURS["nonlocal"],
        "marker": "^",
        "linestyle": "--",
        "markerfacecolor": "none",
        "zorder": 3,  # its memory is nearly APNB's: both are to be seen
    },
    PLAIN: {"color": BLOCK_COLOURS["apnb"], "marker": "o", "linestyle": "-"},
}
POSITIONS = np.logspace(2, 5.2, 60)  # from a small picture of the course to a whole street
BASE, MARKED = "#9a9a9a", BLOCK_COLOURS["ann"]


@styled
def cost_curves(size: tuple[int, int], channels: int, anchors: int, memory: float) -> Picture:
    """Operations and memory over N by formula, with marks at one map.

    size: of the map (height, width). memory: bytes that are free here; inf if not known.
    """
    figure = Figure((9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    positions = size[0] * size[1]
    here = bills(positions, anchors, channels)
    curves = [bills(n, anchors, channels) for n in POSITIONS]
    for name, bill in here.items():
        look = LOOKS[name] | {"marker": ""}
        if name != FUSED:  # it computes what the written-out form computes
            left.plot(POSITIONS, [each[name].operations / 1e9 for each in curves], **look)
            left.plot(positions, bill.operations / 1e9, **LOOKS[name], markersize=10)
        right.plot(POSITIONS, [each[name].num_bytes / 2**30 for each in curves], **look)
        right.plot(positions, bill.num_bytes / 2**30, **LOOKS[name], markersize=10)
    draw_limit(right, memory)
    left.set(title="Operations", ylabel="GFLOPs, forward")
    right.set(title="Memory", ylabel="GiB held at once")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="N, positions of the map")
        axes.axvline(positions, color=BASE, linewidth=0.8, zorder=0)
    handles = [right.plot([], [], label=name, **LOOKS[name])[0] for name in here]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return Picture(figure, say_bills(size, channels, anchors, memory))


def draw_limit(axes: Axes, memory: float) -> None:
    """A line at the memory that is free here."""
    if memory < inf:
        axes.axhline(memory / 2**30, color=INK, linewidth=1.2)
        text = f"free here: {memory / 2**30:.1f} GiB"
        axes.text(POSITIONS[0], memory / 2**30 * 1.15, text, fontsize=9)


def say_bills(size: tuple[int, int], channels: int, anchors: int, memory: float) -> str:
    """The bills of one map as sentences: for the alternative text, and beside the sliders."""
    positions = size[0] * size[1]
    found = bills(positions, anchors, channels)
    fewer = found[NONLOCAL].operations / found[PLAIN].operations
    parts = [
        f"{name}: {bill.operations / 1e9:,.2f} GFLOPs, {bill.num_bytes / 2**20:,.1f} MiB"
        for name, bill in found.items()
    ]
    fits = "" if found[NONLOCAL].num_bytes <= memory else " Written out it does not fit here."
    return (
        f"Map {size[0]} x {size[1]}, N = {positions:,}, S = {anchors}, C = {channels}. "
        f"{'. '.join(parts)}. N / S = {positions / anchors:.1f}, but APNB does {fewer:.1f} times "
        f"fewer operations.{fits}"
    )


@styled
def part_bars(
    values: Mapping[str, float], title: str, unit: str, marked: tuple[str, ...]
) -> Picture:
    """One bar a part, the first on top; the marked ones in another colour, hatched.

    values: name of a part -> what it takes, in `unit`.
    """
    names, total = list(values), sum(values.values())
    figure = Figure((7.4, 0.9 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, (name, value) in enumerate(values.items()):
        look = {"color": MARKED, "hatch": "//"} if name in marked else {"color": BASE}
        axes.barh(row, value, edgecolor="white", **look)
        text = f" {value:,.2f} ({value / total:.0%})"
        axes.text(value, row, text, va="center", fontsize=9)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel=unit, title=title)
    axes.set_xlim(0, 1.22 * max(values.values()))
    axes.invert_yaxis()
    return Picture(figure, say_parts(values, title, unit))


def say_parts(values: Mapping[str, float], title: str, unit: str) -> str:
    """The shares in words."""
    total = sum(values.values())
    shares = ", ".join(f"{name} {value / total:.0%}" for name, value in values.items())
    return f"{title}. {total:,.2f} {unit} in all: {shares}."
