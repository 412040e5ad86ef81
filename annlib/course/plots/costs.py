"""Figures of costs: curves over the size of the map, bars, measured points, efficient methods."""

from collections.abc import Mapping, Sequence
from math import inf
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, StrMethodFormatter

from annlib.course.attention import Attention, match, query_on
from annlib.course.costs import BEFORE, TIMED, Curve, Setting, Times, bills, say_times
from annlib.course.efficient import EXACT, FAMILIES, KEYS, ORDER, PAIRS, STORAGE
from annlib.course.implementations import FOLDED_APNB, FUSED, NONLOCAL, PLAIN_APNB, Exchange
from annlib.course.interventions import MethodScore
from annlib.course.plots import style
from annlib.course.plots.style import BLOCK_COLOURS, INK, Drawn, new_figure, styled
from annlib.course.profiler import Measured
from annlib.course.row_costs import Estimate
from annlib.data.balloon_town.layout import Scene

NONLOCAL_COLOUR, APNB_COLOUR = BLOCK_COLOURS["nonlocal"], BLOCK_COLOURS["apnb"]
LOOKS = {  # differ in grey, too
    NONLOCAL: {"color": NONLOCAL_COLOUR, "marker": "s", "linestyle": ":"},
    FUSED: {"color": NONLOCAL_COLOUR, "marker": "^", "linestyle": "--"},
    PLAIN_APNB: {"color": APNB_COLOUR, "marker": "o", "linestyle": "-"},
    FOLDED_APNB: {"color": APNB_COLOUR, "marker": "o", "linestyle": "-"},
}
# Fused attention needs nearly the memory of APNB: both should be seen.
COST_LOOKS = LOOKS | {FUSED: LOOKS[FUSED] | {"markerfacecolor": "none", "zorder": 3}}
POSITIONS = np.logspace(2, 5.2, 60)  # from a small image of the course to a whole street
BASE, MARKED = "#9a9a9a", BLOCK_COLOURS["ann"]


@styled
def cost_curves(setting: Setting, memory: float, times: Times | None = None) -> Drawn:
    """Operations, memory and time over N, with marks at one map.  memory: free bytes, or inf"""
    figure = Figure((12.4, 4.2))  # a layout that is computed takes as long as all the drawing
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.23, top=0.92, wspace=0.24)
    left, middle, right = figure.subplots(1, 3)
    positions, anchors, channels = setting.positions, setting.anchors, setting.channels
    here, *curves = (bills(n, anchors, channels) for n in (positions, *POSITIONS))
    for name, bill in here.items():
        look, line = COST_LOOKS[name], COST_LOOKS[name] | {"marker": ""}
        if name != FUSED:  # it computes what the written-out form computes
            left.plot(POSITIONS, [each[name].operations / 1e9 for each in curves], **line)
            left.plot(positions, bill.operations / 1e9, **look, markersize=10)
        middle.plot(POSITIONS, [each[name].num_bytes / 2**30 for each in curves], **line)
        middle.plot(positions, bill.num_bytes / 2**30, **look, markersize=10)
    if (gib := memory / 2**30) < inf:
        middle.axhline(gib, color=INK, linewidth=1.2)
        middle.text(POSITIONS[0], gib * 1.15, f"free here: {gib:.1f} GiB", fontsize=9)
    left.set(title="Operations", ylabel="GFLOPs, forward")
    middle.set(title="Memory", ylabel="GiB, peak")
    if times is None:
        right.set(title="Time")
        right.set_axis_off()
        right.text(0.5, 0.5, fill(BEFORE, 34), ha="center", va="center", transform=right.transAxes)
    else:
        for name in TIMED:  # measured on maps that differ in their size alone
            look, scale = COST_LOOKS[name], 1000 / times.speed
            line = [scale * each[name].operations for each in curves]
            right.plot(POSITIONS, line, **look | {"marker": ""})
            for at, timing in times.points(name, setting):
                spread = [timing.fastest, timing.slowest]
                right.plot([at, at], spread, color=INK, marker="_", linewidth=1)
                right.plot(at, timing.median, **look, markersize=8)
        right.set(title="Time: lines predicted, points measured", ylabel="milliseconds a call")
    for axes in (left, middle) if times is None else (left, middle, right):
        axes.set(xscale="log", yscale="log", xlabel="N, positions of the map")
        axes.minorticks_off()  # hundreds of them, each of which is drawn by itself
        axes.axvline(positions, color=BASE, linewidth=0.8, zorder=0)
    handles = [middle.plot([], [], label=name, **COST_LOOKS[name])[0] for name in here]
    figure.legend(handles=handles, loc="lower center", ncols=3)
    (height, width), fewer = setting.size, here[NONLOCAL].operations / here[PLAIN_APNB].operations
    costs = ". ".join(
        f"{name}: {bill.operations / 1e9:,.2f} GFLOPs, {bill.num_bytes / 2**20:,.1f} MiB"
        for name, bill in here.items()
    )
    fits = "" if here[NONLOCAL].num_bytes <= memory else " Written out it does not fit here."
    return figure, (
        f"Map {height} x {width}, N = {positions:,}, S = {anchors}, C = {channels}. {costs}. "
        f"N / S = {positions / anchors:.1f}, but APNB does {fewer:.1f} times fewer operations."
        f"{fits} {say_times(setting, memory, times)}"
    )


@styled
def part_bars(values: Mapping[str, float], title: str, unit: str, marked: tuple[str, ...]) -> Drawn:
    """One bar for each part's cost, the first on top; the marked ones coloured and hatched."""
    names, total = list(values), sum(values.values())
    figure, axes = new_figure(7.4, 0.9 + 0.34 * len(names))
    for row, (name, value) in enumerate(values.items()):
        look = {"color": MARKED, "hatch": "//"} if name in marked else {"color": BASE}
        axes.barh(row, value, edgecolor="white", **look)
        axes.text(value, row, f" {value:,.2f} ({value / total:.0%})", va="center", fontsize=9)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel=unit, title=title)
    axes.set_xlim(0, 1.22 * max(values.values()))
    axes.invert_yaxis()
    parts = ", ".join(f"{name} {value / total:.0%}" for name, value in values.items())
    return figure, f"{title}. {total:,.2f} {unit} in all: {parts}."


@styled
def growth_chart(curves: Sequence[Curve]) -> Drawn:
    """Time and memory of each form against the number of positions, with fitted lines."""
    figure, (left, right) = new_figure(9.6, 5, 1, 2)
    words = ["How attention grows with the map, on logarithmic axes."]
    for curve in curves:
        drawn = ((left, curve.milliseconds, curve.time), (right, curve.mebibytes, curve.memory))
        for axes, values, line in drawn:
            look, label = LOOKS[curve.name], curve.name
            axes.plot(curve.positions, values, **look | {"linestyle": ""})
            if line is None:
                look = look | {"linestyle": ""}
            else:
                fitted = np.exp(line.intercept) * np.array(curve.positions, float) ** line.slope
                axes.plot(curve.positions, fitted, **look | {"marker": ""})
                label = f"{label}: slope {line.slope:.2f}"
            axes.plot([], [], label=label, **look)  # the legend shows points and line as one
        words.append(f"{curve.name}, N from {curve.positions[0]} to {curve.positions[-1]}:")
        times, mebibytes = curve.milliseconds, curve.mebibytes
        words.append(
            "one map only."
            if curve.time is None
            else f"time grows as N to the power of {curve.time.slope:.2f}, from {times[0]:.1f} to "
            f"{times[-1]:.1f} ms; memory to the power of {curve.memory.slope:.2f}, from "
            f"{mebibytes[0]:.1f} to {mebibytes[-1]:.1f} MiB."
        )
    left.set(title="Time", ylabel="milliseconds, median")
    right.set(title="Memory", ylabel="MiB, peak")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set(yscale="log", xlabel=r"positions $N$ of the map ($2^{10} = 32 \times 32$)")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16))
        axes.grid(alpha=0.25, linewidth=0.6)
    return figure, " ".join(words)


@styled
def measured_points(found: Mapping[str, Measured], size: tuple[int, int]) -> Drawn:
    """A point for each form, time with its spread beside memory, on logarithmic axes."""
    figure, (left, right) = new_figure(9.6, 1.2 + 0.5 * len(found), 1, 2, sharey=True)
    words = []
    for row, (name, one) in enumerate(found.items()):
        timing, form = one.timing, LOOKS[NONLOCAL if name.startswith("non-local") else PLAIN_APNB]
        look = form | {"markersize": 11, "linestyle": ""}
        left.plot([timing.fastest, timing.slowest], [row, row], color=INK, marker="|")
        points = ((left, timing.median, timing.slowest), (right, one.mebibytes, one.mebibytes))
        for axes, value, end in points:
            axes.plot(value, row, **look)
            text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
            axes.text(1.2 * end, row, text, va="center")
        words.append(f"{name}: {timing} ms, {one.mebibytes:.1f} MiB")
    left.set(yticks=range(len(found)), yticklabels=list(found), xscale="log")
    left.set(title=f"Time, map {size[0]} x {size[1]}", xlabel="milliseconds, median and spread")
    right.set(title="Memory", xlabel="MiB, peak", xscale="log")
    for axes in (left, right):
        axes.grid(axis="x", color="#e4e4e4")
        low, high = axes.get_xlim()
        axes.set_xlim(low / 2, high * 3)  # room for the numbers
    left.set_ylim(len(found) - 0.4, -0.6)
    return figure, f"Attention on a map of {size[0]} x {size[1]}. {'; '.join(words)}."


@styled
def memory_bar(found: Estimate, title: str) -> Drawn:
    """The memory that is fixed, what each image adds, and the memory of the GPU."""
    figure, axes = new_figure(8, 1.9)
    look = {"height": 0.5, "edgecolor": INK}
    fixed = {"color": BLOCK_COLOURS["ppm"], "label": "12 P: weights, gradients, momentum"}
    maps = {"color": NONLOCAL_COLOUR, "label": "B · A: feature maps", "hatch": "//"}
    axes.barh(0, found.fixed_gb, **fixed, **look)
    axes.barh(0, found.maps_gb, left=found.fixed_gb, **maps, **look)
    axes.axvline(found.gpu_gb, color=INK, linewidth=3, linestyle="--")
    axes.text(found.gpu_gb, 0.36, f" the GPU has {found.gpu_gb:g} GB", ha="left", va="bottom")
    most = max(found.memory_gb, found.gpu_gb)
    axes.set(xlim=(0, 1.32 * most), ylim=(-0.35, 0.75), yticks=[], xlabel="GB on one GPU")
    axes.set_title(f"{title}: {found.verdict}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure, (
        f"{title}. {found.verdict}. Memory {found.memory_gb:.1f} of {found.gpu_gb:g} GB: "
        f"{found.fixed_gb:.1f} for weights, gradients, momentum, {found.maps_gb:.1f} for feature "
        f"maps. Time between {found.hours / 2:.1f} and {2 * found.hours:.1f} hours. Disk "
        f"{found.disk_gb:.1f} GB: archives, the same unpacked, two checkpoints."
    )


KIND_LOOKS = {  # what a method reduces -> its colour and marker
    "nothing": {"color": NONLOCAL_COLOUR, "marker": "o"},
    STORAGE: {"color": NONLOCAL_COLOUR, "marker": "o"},
    KEYS: {"color": APNB_COLOUR, "marker": "s"},
    PAIRS: {"color": BLOCK_COLOURS["afnb"], "marker": "X"},
    ORDER: {"color": BLOCK_COLOURS["ppm"], "marker": "^"},
}
GUESSING = 100 / 3  # per cent, of three kinds of houses


class Row(NamedTuple):
    """One method in the comparison."""

    name: str  # its label
    shrinks: str
    work: float  # operations relative to the non-local block
    score: MethodScore


@styled
def comparison(rows: Sequence[Row]) -> Drawn:
    """A row for each method: its operations, the error of its output, its house accuracy."""
    figure, axes = new_figure(9.4, 1.3 + 0.32 * len(rows), 1, 3, sharey=True)
    titles = "Operations, % of non-local", "Error of the output, %", "Houses correct, %"
    table = 100 * np.array([(row.work, row.score.error, row.score.right) for row in rows])
    for place, title, values in zip(axes, titles, table.T, strict=True):
        for y, (row, value) in enumerate(zip(rows, values, strict=True)):
            place.plot([0, value], [y, y], color="#c9c9c9", linewidth=1, zorder=1)
            place.plot([value], [y], markersize=8, linestyle="", **KIND_LOOKS[row.shrinks])
            beside = {"xytext": (7, 0), "textcoords": "offset points", "size": 9, "va": "center"}
            label = place.annotate(f"{value:.0f}", (value, y), **beside)
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
        place.set(title=title, xlim=(-4, max(108, 1.08 * max(values))))
    axes[2].axvline(GUESSING, color=INK, linewidth=1, linestyle=":")
    axes[2].text(GUESSING + 1.5, -0.75, "guessing", size=9, va="center")
    axes[0].set_yticks(range(len(rows)), [row.name for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -1.2)
    figure.supxlabel("Squares: fewer keys; crosses: fewer pairs; triangles: other order", size=9)
    said = "; ".join(
        f"{row.name}: {row.work:.0%} of the operations, error {row.score.error:.0%}, "
        f"{row.score.right:.0%} of houses correct"
        for row in rows
    )
    return figure, f"Methods in place of the non-local block, not retrained. {said}."


@styled
def attention_of_methods(scene: Scene, index: int, found: Mapping[str, Attention]) -> Drawn:
    """The attention of house `index` by several methods, each with the weight on its balloon."""
    figure, axes = style.panels(-(-len(found) // 3), 3)
    house, query = scene.houses[index], query_on(scene, scene.houses[index])
    sentences = [f"Scene {scene.seed}: attention of the {house.paint} house."]
    for place, (name, attention) in zip(axes.flat, found.items(), strict=False):
        weight, heat = match(attention, scene, house).on_its_balloon, attention.map_at(*query)
        style.draw_spotlight(place, scene.image, heat.numpy(), query, f"{name}: {weight:.0%}")
        sentences.append(f"{name}: {weight:.0%} on its balloon.")
    for place in axes.flat[len(found) :]:
        place.set_visible(False)
    return figure, " ".join(sentences)


def label_of(name: str, option: int) -> str:
    """A family at one size, in a few characters."""
    return f"{name} {option}" if len(FAMILIES[name].options) > 1 else name


@styled
def method_cost_curves(channels: int, options: Mapping[str, int], side: int) -> Drawn:
    """Operations over N for maps of s x 2s, a line at one `side`.  options: family -> its size"""
    sides = np.unique(np.geomspace(16, 256, 17).astype(int) // 8 * 8)
    positions = 2 * sides**2
    (figure, axes), ends, here = new_figure(8.6, 4.2), {}, {}
    for name, option in options.items():
        family, label = FAMILIES[name], label_of(name, option)
        costs = [family.operations(option, (int(s), 2 * int(s)), channels) for s in sides]
        axes.loglog(positions, costs, markevery=4, markersize=6, **KIND_LOOKS[family.shrinks])
        ends[label], here[label] = costs[-1], family.operations(option, (side, 2 * side), channels)
    axes.axvline(2 * side**2, color=INK, linewidth=1, linestyle=":")
    gap, height = np.diff(np.log10(axes.get_ylim())).item() / 18, -np.inf
    look = {"arrowprops": {"arrowstyle": "-", "color": style.GREY, "linewidth": 0.6}, "size": 9}
    for label in sorted(ends, key=ends.get):
        height, last = max(np.log10(ends[label]), height + gap), positions[-1]  # without overlap
        axes.annotate(label, (last, ends[label]), (1.35 * last, 10**height), va="center", **look)
    title = f"Operations of one block, C = {channels}"
    axes.set(xlabel="N, positions of the map", ylabel="operations", title=title)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.set_xlim(positions[0] * 0.9, positions[-1] * 5)
    axes.minorticks_off()  # hundreds of them, each of which is drawn by itself
    whole = FAMILIES[EXACT].operations(1, (side, 2 * side), channels)
    listed = ", ".join(f"{name} {here[name] / whole:.2%}" for name in sorted(here, key=here.get))
    return figure, (
        f"{title}. At {side} x {2 * side} (N = {2 * side**2:,}) the non-local block takes "
        f"{whole / 1e9:.3g} billion operations; of that: {listed}."
    )


@styled
def orders(found: Exchange, channel: int, name: str) -> Drawn:
    """One channel of the first image in both orders, and their relative difference."""
    first, second = (maps[0, channel].numpy() for maps in found[:2])
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    difference = np.abs(first - second) / max(float(np.abs(first).max()), 1e-12)
    figure, axes = new_figure(9.6, 3.4, 1, 3)
    titles = "Layer, then pooling", "Pooling, then layer", "Relative difference"
    limits, bar = (low, high), {}
    for place, values, title in zip(axes, (first, second, difference), titles, strict=True):
        if values is difference:
            limits, bar = (0, 1), {"format": lambda value, _: f"{value:.0%}"}
        drawn = place.imshow(values, vmin=limits[0], vmax=limits[1], aspect="auto")
        place.set(title=title, xticks=[], yticks=[])
        if values is not first:
            figure.colorbar(drawn, ax=place, **bar)
    cells, verdict = found.layer_first.shape[2], "They do not commute."
    if found.difference < 1e-5:  # what the order of a sum may change in float32
        verdict = "They commute: this is rounding."
    return figure, (
        f"{name}, {cells} x {cells} cells, channel {channel}: the two orders differ by up to "
        f"{found.difference:.1e} of the largest number, over all channels. {verdict}"
    )


@styled
def before_after(before: Mapping[str, float], after: Mapping[str, float], title: str) -> Drawn:
    """Two bars for each step's GFLOPs: as the block is written (hatched), and folded."""
    figure, axes = new_figure(8.6, 1.3 + 0.5 * len(before))
    written = {"color": BASE, "hatch": "//", "edgecolor": "white", "label": "as written"}
    folded, rows = {"color": APNB_COLOUR, "label": "folded"}, np.arange(len(before))
    for shift, values, look in ((-0.2, before, written), (0.2, after, folded)):
        bars = axes.barh(rows + shift, [values[name] for name in before], 0.36, **look)
        axes.bar_label(bars, fmt=" {:,.2f}", fontsize=9)
    axes.set(yticks=rows, yticklabels=list(before), xlabel="GFLOPs", title=title)
    axes.set_xlim(0, 1.15 * max(*before.values(), *after.values()))
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2)
    totals = sum(before.values()), sum(after.values())
    steps = "; ".join(f"{name} {before[name]:.2f}, then {after[name]:.2f}" for name in before)
    return figure, (
        f"{title}. {totals[0]:.2f} GFLOPs as written, {totals[1]:.2f} folded: "
        f"{totals[0] / totals[1]:.2f} times fewer. {steps}."
    )
