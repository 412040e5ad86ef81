"""Figures of costs: curves over the size of the map, bars of parts, measured points."""

from collections.abc import Mapping, Sequence
from math import inf
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from annlib.course.costs import Setting, bills
from annlib.course.implementations import FOLDED_APNB, FUSED, NONLOCAL, PLAIN_APNB
from annlib.course.plots.scenes import Picture
from annlib.course.plots.style import BLOCK_COLOURS, INK, styled
from annlib.course.preflight import Estimate
from annlib.course.scaling import (
    TIMED,
    Curve,
    Line,
    Times,
    key,
    predicted,
    refusal,
    said_seconds,
)
from annlib.course.timing import Measured

LOOKS = {  # told apart in grey, too
    NONLOCAL: {"color": BLOCK_COLOURS["nonlocal"], "marker": "s", "linestyle": ":"},
    FUSED: {
        "color": BLOCK_COLOURS["nonlocal"],
        "marker": "^",
        "linestyle": "--",
        "markerfacecolor": "none",
        "zorder": 3,  # its memory is nearly APNB's: both are to be seen
    },
    PLAIN_APNB: {"color": BLOCK_COLOURS["apnb"], "marker": "o", "linestyle": "-"},
}
POSITIONS = np.logspace(2, 5.2, 60)  # from a small picture of the course to a whole street
BEFORE = (
    "'Measure here' calls the non-local block and APNB on this map, on this machine, and draws "
    "their time beside the one that operations let expect. It takes some 3 s at most."
)
BASE, MARKED = "#9a9a9a", BLOCK_COLOURS["ann"]


@styled
def cost_curves(setting: Setting, memory: float, times: Times | None = None) -> Picture:
    """Operations, memory and time over N by formula, with marks at one map.

    memory: bytes that are free here; inf if not known. times: what was measured, None before.
    """
    figure = Figure((12.4, 4.2))  # a layout that is computed takes as long as all the drawing
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.23, top=0.92, wspace=0.24)
    left, middle, right = figure.subplots(1, 3)
    anchors, channels = setting.anchors, setting.channels
    here = bills(setting.positions, anchors, channels)
    curves = [bills(n, anchors, channels) for n in POSITIONS]
    for name, bill in here.items():
        look = LOOKS[name] | {"marker": ""}
        if name != FUSED:  # it computes what the written-out form computes
            left.plot(POSITIONS, [each[name].operations / 1e9 for each in curves], **look)
            left.plot(setting.positions, bill.operations / 1e9, **LOOKS[name], markersize=10)
        middle.plot(POSITIONS, [each[name].num_bytes / 2**30 for each in curves], **look)
        middle.plot(setting.positions, bill.num_bytes / 2**30, **LOOKS[name], markersize=10)
    draw_limit(middle, memory)
    left.set(title="Operations", ylabel="GFLOPs, forward")
    middle.set(title="Memory", ylabel="GiB held at once")
    right.set(title="Time")
    drawn = [left, middle]
    if times is None:
        right.set_axis_off()
        text = fill(BEFORE, 34)
        right.text(0.5, 0.5, text, transform=right.transAxes, ha="center", va="center")
    else:
        drawn.append(right)
        draw_times(right, setting, times)
    for axes in drawn:
        axes.set(xscale="log", yscale="log", xlabel="N, positions of the map")
        axes.minorticks_off()  # hundreds of them, each of which is drawn by itself
        axes.axvline(setting.positions, color=BASE, linewidth=0.8, zorder=0)
    handles = [middle.plot([], [], label=name, **LOOKS[name])[0] for name in here]
    figure.legend(handles=handles, loc="lower center", ncols=3)
    said = f"{say_bills(setting, memory)} {say_times(setting, memory, times)}"
    return Picture(figure, said)


def draw_times(axes: Axes, setting: Setting, times: Times) -> None:
    """Lines as predicted; points as measured on maps that differ in their size alone."""
    for name in TIMED:
        look = LOOKS[name]
        scale = 1000 / times.speed
        line = [
            scale * bills(n, setting.anchors, setting.channels)[name].operations for n in POSITIONS
        ]
        axes.plot(POSITIONS, line, **look | {"marker": ""})
        for positions, timing in times.points(name, setting):
            spread = [timing.fastest, timing.slowest]
            axes.plot([positions] * 2, spread, color=INK, marker="_", linewidth=1)
            axes.plot(positions, timing.median, **look, markersize=8)
    axes.set(title="Time: lines predicted, points measured", ylabel="milliseconds a call")


def draw_limit(axes: Axes, memory: float) -> None:
    """A line at the memory that is free here."""
    if memory < inf:
        axes.axhline(memory / 2**30, color=INK, linewidth=1.2)
        text = f"free here: {memory / 2**30:.1f} GiB"
        axes.text(POSITIONS[0], memory / 2**30 * 1.15, text, fontsize=9)


def say_bills(setting: Setting, memory: float) -> str:
    """The bills of one map as sentences: for the alternative text, and beside the sliders."""
    (height, width), positions, anchors = setting.size, setting.positions, setting.anchors
    found = bills(positions, anchors, setting.channels)
    fewer = found[NONLOCAL].operations / found[PLAIN_APNB].operations
    parts = [
        f"{name}: {bill.operations / 1e9:,.2f} GFLOPs, {bill.num_bytes / 2**20:,.1f} MiB"
        for name, bill in found.items()
    ]
    fits = "" if found[NONLOCAL].num_bytes <= memory else " Written out it does not fit here."
    return (
        f"Map {height} x {width}, N = {positions:,}, S = {anchors}, C = {setting.channels}. "
        f"{'. '.join(parts)}. N / S = {positions / anchors:.1f}, but APNB does {fewer:.1f} times "
        f"fewer operations.{fits}"
    )


def say_times(setting: Setting, memory: float, times: Times | None) -> str:
    """What is predicted and measured of the time at one map, or why nothing is."""
    if times is None:
        return f"Time: {BEFORE}"
    said = [f"{name}: {say_time(name, setting, memory, times)}." for name in TIMED]
    return (
        f"Time by operations, at the {times.speed / 1e9:,.0f} GFLOPs a second of the non-local "
        f"block on the map of 16 x 24 (C = 256). {' '.join(said)}"
    )


def say_time(name: str, setting: Setting, memory: float, times: Times) -> str:
    """The same of one form."""
    seconds = predicted(name, setting, times.speed)
    told, asked = f"predicted {said_seconds(seconds)}", key(name, setting)
    if (timing := times.timings.get(asked)) is not None:
        middle, *ends = (
            said_seconds(one / 1000) for one in (timing.median, timing.fastest, timing.slowest)
        )
        ratio = timing.median / 1000 / seconds
        return f"{told}, measured {middle} ({' to '.join(ends)}), {ratio:.1f} times the prediction"
    why = times.refused.get(asked) or refusal(name, setting, times.speed, memory)
    return f"{told}, not measured yet" if why is None else f"{told}, not measured: {why}"


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


GROWTH_LOOKS = {  # told apart in grey, too
    NONLOCAL: {"color": BLOCK_COLOURS["nonlocal"], "marker": "s", "linestyle": ":"},
    FUSED: {"color": BLOCK_COLOURS["nonlocal"], "marker": "^", "linestyle": "--"},
    FOLDED_APNB: {"color": BLOCK_COLOURS["apnb"], "marker": "o", "linestyle": "-"},
}


def draw_growth(axes: Axes, curve: Curve, values: Sequence[float], line: Line | None) -> None:
    """Points as measured, and the line that was fitted to them."""
    look = GROWTH_LOOKS[curve.name]
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


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


@styled
def measured_points(found: Mapping[str, Measured], size: tuple[int, int]) -> Picture:
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


def say_found(found: Mapping[str, Measured], size: tuple[int, int]) -> str:
    """The measurements in words."""
    parts = [
        f"{name}: {one.timing.median:.1f} ms ({one.timing.fastest:.1f} to "
        f"{one.timing.slowest:.1f}), {one.mebibytes:.1f} MiB"
        for name, one in found.items()
    ]
    return f"Attention on a map of {size[0]} x {size[1]}. {'; '.join(parts)}."


@styled
def memory_bar(found: Estimate, title: str) -> Picture:
    """What is there once, what each picture adds, and where the GPU ends."""
    figure = Figure((8, 1.9), layout="constrained")
    axes = figure.subplots()
    fixed, maps = BLOCK_COLOURS["ppm"], BLOCK_COLOURS["nonlocal"]
    look = {"height": 0.5, "edgecolor": INK}
    axes.barh(0, found.fixed_gb, color=fixed, label="12 P: weights, gradients, momentum", **look)
    look |= {"left": found.fixed_gb, "hatch": "//"}
    axes.barh(0, found.maps_gb, color=maps, label="B · A: maps", **look)
    axes.axvline(found.gpu_gb, color=INK, linewidth=3, linestyle="--")
    axes.text(found.gpu_gb, 0.36, f" the GPU ends: {found.gpu_gb:g} GB", ha="left", va="bottom")
    most = max(found.memory_gb, found.gpu_gb)
    axes.set(xlim=(0, 1.32 * most), ylim=(-0.35, 0.75), yticks=[], xlabel="GB on one GPU")
    axes.set_title(f"{title}: {found.verdict}")
    figure.legend(loc="outside lower center", ncols=2)
    return Picture(figure, f"{title}. {say_estimate(found)}")


def say_estimate(found: Estimate) -> str:
    """An estimate in words."""
    return (
        f"{found.verdict}. Memory {found.memory_gb:.1f} of {found.gpu_gb:g} GB: "
        f"{found.fixed_gb:.1f} for weights, gradients, momentum, {found.maps_gb:.1f} for maps. "
        f"Time between {found.hours / 2:.1f} and {2 * found.hours:.1f} hours. Disk "
        f"{found.disk_gb:.1f} GB: archives, the same unpacked, two checkpoints."
    )
