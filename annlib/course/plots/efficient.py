"""Figures of efficient attention methods and of folding."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from annlib.course.attention import Attention
from annlib.course.attention_metrics import match, query_on
from annlib.course.commutation import Exchange
from annlib.course.efficient import EXACT, FAMILIES, KEYS, ORDER, PAIRS, STORAGE
from annlib.course.plots.scenes import Picture, panels
from annlib.course.plots.style import BLOCK_COLOURS, INK, draw_spotlight, styled
from annlib.course.replace_attention import Score
from annlib.data.balloon_town.layout import Scene

KIND_COLOURS = {
    "nothing": BLOCK_COLOURS["nonlocal"],
    STORAGE: BLOCK_COLOURS["nonlocal"],
    KEYS: BLOCK_COLOURS["apnb"],
    PAIRS: BLOCK_COLOURS["afnb"],
    ORDER: BLOCK_COLOURS["ppm"],
}
KIND_MARKS = {"nothing": "o", STORAGE: "o", KEYS: "s", PAIRS: "X", ORDER: "^"}
GUESSING = 1 / 3  # of three kinds of houses


class Row(NamedTuple):
    """One method in the comparison."""

    name: str  # as it stands beside the row
    shrinks: str
    work: float  # share of the operations of the non-local block
    score: Score


@styled
def comparison(rows: Sequence[Row]) -> Picture:
    """A row a method: its work, how far off it fetches, and how many houses are named rightly."""
    figure = Figure((9.4, 1.3 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    columns = {
        "Work, % of non-local": [100 * row.work for row in rows],
        "Error of what is fetched, %": [100 * row.score.error for row in rows],
        "Houses named rightly, %": [100 * row.score.right for row in rows],
    }
    for place, (title, values) in zip(axes, columns.items(), strict=True):
        draw_dots(place, rows, values)
        place.set(title=title, xlim=(-4, max(108, 1.08 * max(values))))
    axes[2].axvline(100 * GUESSING, color=INK, linewidth=1, linestyle=":")
    axes[2].text(100 * GUESSING + 1.5, -0.75, "guessing", size=9, va="center")
    axes[0].set_yticks(range(len(rows)), [row.name for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -1.2)
    figure.supxlabel("Squares: fewer keys; crosses: fewer pairs; triangles: other order", size=9)
    said = "; ".join(
        f"{row.name}: work {row.work:.0%}, error {row.score.error:.0%}, {row.score.right:.0%} of "
        "houses right"
        for row in rows
    )
    return Picture(figure, f"Methods in place of the non-local block, untrained for it. {said}.")


def draw_dots(axes: Axes, rows: Sequence[Row], values: Sequence[float]) -> None:
    """One mark a row, shape and colour by what the method shrinks, its number beside it."""
    for y, (row, value) in enumerate(zip(rows, values, strict=True)):
        look = {"color": KIND_COLOURS[row.shrinks], "marker": KIND_MARKS[row.shrinks]}
        axes.plot([0, value], [y, y], color="#c9c9c9", linewidth=1, zorder=1)
        axes.plot([value], [y], markersize=8, linestyle="", **look)
        label = axes.annotate(
            f"{value:.0f}", (value, y), (7, 0), textcoords="offset points", size=9, va="center"
        )
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})


@styled
def where_it_looks(scene: Scene, index: int, found: Mapping[str, Attention]) -> Picture:
    """The same house asks by several methods; under each, its share on the balloon it needs.

    index: which house, from left to right. found: name of a method -> what it did.
    """
    columns = 3
    figure, axes = panels(-(-len(found) // columns), columns)
    house = scene.houses[index]
    sentences = [f"Scene {scene.seed}: where the {house.paint} house looks."]
    for place, (name, attention) in zip(axes.flat, found.items(), strict=False):
        share = match(attention, scene, house).on_its_balloon
        query = query_on(scene, house)
        heat = attention.picture(*query).numpy()
        draw_spotlight(place, scene.image, heat, query, f"{name}: {share:.0%}", None)
        sentences.append(f"{name}: {share:.0%} on its balloon.")
    for place in axes.flat[len(found) :]:
        place.set_visible(False)
    return Picture(figure, " ".join(sentences))


@styled
def method_cost_curves(channels: int, options: Mapping[str, int], side: int) -> Picture:
    """Operations over the number of positions, for maps of side x 2 side; a line at one of them.

    options: name of a family -> its size. side: of the map that the line stands for.
    """
    sides = np.unique(np.geomspace(16, 256, 17).astype(int) // 8 * 8)
    positions = 2 * sides**2
    figure = Figure((8.6, 4.2), layout="constrained")
    axes = figure.subplots()
    ends = {}
    for name, option in options.items():
        family = FAMILIES[name]
        costs = [family.operations(option, (int(s), 2 * int(s)), channels) for s in sides]
        look = {"color": KIND_COLOURS[family.shrinks], "marker": KIND_MARKS[family.shrinks]}
        axes.loglog(positions, costs, markevery=4, markersize=6, **look)
        ends[label_of(name, option)] = costs[-1]
    axes.axvline(2 * side**2, color=INK, linewidth=1, linestyle=":")
    label_ends(axes, float(positions[-1]), ends)
    title = f"Operations of one block, C = {channels}"
    axes.set(xlabel="N, positions of the map", ylabel="operations", title=title)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.set_xlim(positions[0] * 0.9, positions[-1] * 5)
    axes.minorticks_off()  # hundreds of them, each of which is drawn by itself
    return Picture(figure, f"{title}. {say_costs(channels, options, side)}")


def label_of(name: str, option: int) -> str:
    """A family at one size, in a few characters."""
    sized = len(FAMILIES[name].options) > 1
    return f"{name} {option}" if sized else name


def label_ends(axes: Axes, x: float, ends: Mapping[str, float]) -> None:
    """Names at the right ends of curves, moved apart where they would overlap."""
    low, high = (np.log10(limit) for limit in axes.get_ylim())
    gap, last = (high - low) / 18, -np.inf
    for name, value in sorted(ends.items(), key=lambda item: item[1]):
        last = max(np.log10(value), last + gap)
        axes.annotate(
            name,
            (x, value),
            (x * 1.35, 10**last),
            size=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#8a8a8a", "linewidth": 0.6},
        )


def say_costs(channels: int, options: Mapping[str, int], side: int) -> str:
    """What each costs at one map, cheapest first, in words."""
    size = (side, 2 * side)
    costs = {
        label_of(name, option): FAMILIES[name].operations(option, size, channels)
        for name, option in options.items()
    }
    whole = FAMILIES[EXACT].operations(1, size, channels)
    listed = ", ".join(
        f"{name} {cost / whole:.2%}" for name, cost in sorted(costs.items(), key=lambda i: i[1])
    )
    return (
        f"At {side} x {2 * side} (N = {2 * side**2:,}) the non-local block takes {whole / 1e9:.3g} "
        f"billion operations; of that: {listed}."
    )


ROUNDING = 1e-5  # of float32: what the order of a sum may change
BEFORE, AFTER = "#9a9a9a", BLOCK_COLOURS["apnb"]


@styled
def orders(found: Exchange, channel: int, name: str) -> Picture:
    """One channel of the first picture in both orders, and what lies between them."""
    first, second = (maps[0, channel].numpy() for maps in found)
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    figure = Figure((9.6, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for place, values, title in zip(
        axes, (first, second), ("Layer, then means", "Means, then layer"), strict=False
    ):
        drawn = place.imshow(values, vmin=low, vmax=high, aspect="auto")
        place.set(title=title, xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes[1])
    apart = np.abs(first - second)
    limit = max(float(np.abs(first).max()), 1e-12)
    drawn = axes[2].imshow(apart / limit, vmin=0, vmax=1, aspect="auto")
    axes[2].set(title="Apart, as a share", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes[2], format=lambda share, _: f"{share:.0%}")
    return Picture(figure, say_orders(found, channel, name))


def say_orders(found: Exchange, channel: int, name: str) -> str:
    """Both orders in words."""
    cells = found.layer_first.shape[2]
    apart = found.difference
    verdict = "That is rounding: they may change places." if apart < ROUNDING else "They may not."
    return (
        f"{name}, {cells} x {cells} cells, channel {channel}: the two orders differ by up to "
        f"{apart:.1e} of the largest number, over all channels. {verdict}"
    )


@styled
def before_after(before: Mapping[str, float], after: Mapping[str, float], title: str) -> Picture:
    """Two bars for each step, in GFLOPs: as the block is written (hatched), and folded.

    before, after: name of a step -> its GFLOPs; the same names in both.
    """
    figure = Figure((8.6, 1.3 + 0.5 * len(before)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(before):
        axes.barh(row - 0.2, before[name], 0.36, color=BEFORE, hatch="//", edgecolor="white")
        axes.barh(row + 0.2, after[name], 0.36, color=AFTER)
        for shift, value in ((-0.2, before[name]), (0.2, after[name])):
            axes.text(value, row + shift, f" {value:,.2f}", va="center", fontsize=9)
    axes.barh(0, 0, color=BEFORE, hatch="//", edgecolor="white", label="as written")
    axes.barh(0, 0, color=AFTER, label="folded")
    axes.set(yticks=range(len(before)), yticklabels=list(before), xlabel="GFLOPs", title=title)
    axes.set_xlim(0, 1.15 * max(*before.values(), *after.values()))
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2)
    return Picture(figure, say_before_after(before, after, title))


def say_before_after(before: Mapping[str, float], after: Mapping[str, float], title: str) -> str:
    """Both bills in words."""
    totals = sum(before.values()), sum(after.values())
    steps = "; ".join(f"{name} {before[name]:.2f}, then {after[name]:.2f}" for name in before)
    return (
        f"{title}. {totals[0]:.2f} GFLOPs as written, {totals[1]:.2f} folded: "
        f"{totals[0] / totals[1]:.2f} times fewer. {steps}."
    )
