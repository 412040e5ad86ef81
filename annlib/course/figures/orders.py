"""Figures of lesson 11: two orders side by side, and a bill before and after folding."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, styled
from annlib.course.plots import Picture
from annlib.course.swapping import Exchange

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
