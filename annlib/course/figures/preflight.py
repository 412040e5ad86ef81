"""Estimated memory of a training step against what a GPU has."""

from matplotlib.figure import Figure

from annlib.course.drawing import BLOCK_COLOURS, INK, styled
from annlib.course.plots import Picture
from annlib.course.preflight import Estimate


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
