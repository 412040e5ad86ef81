"""What is left of a network's answers when weights of an attention block are switched off."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annlib.course.attention import Attention
from annlib.course.drawing import (
    BLOCK_COLOURS,
    INK,
    colour_labels,
    draw_image,
    draw_query,
    draw_spotlight,
    name_houses,
    styled,
)
from annlib.course.intervening import WAYS, Damage
from annlib.course.plots import Picture, panels
from annlib.course.predicting import house_answer
from annlib.data.scenes import CLASS_NAMES, Scene

LOOKS = {  # of the ways, in their order; told apart in grey, too
    way: {"marker": marker, "linestyle": dashes}
    for way, marker, dashes in zip(WAYS, "os", ("-", "--"), strict=True)
}
MARKS = {1 / 3: "guessing", 0.61: "voting"}  # house accuracy of those who do not match paints

Damages = Mapping[tuple[str, str, int], Damage]  # (block, way, k) -> what was left


@styled
def damage_curves(damages: Damages, blocks: Mapping[str, str]) -> Picture:
    """House accuracy against the number of weights switched off, one panel a block.

    blocks: path of a block -> its title; the colour is found by the path's first part.
    """
    figure = Figure((4.6 * len(blocks), 3.7), layout="constrained")
    axes = figure.subplots(1, len(blocks), sharey=True, squeeze=False)[0]
    words = ["House accuracy with weights of one block switched off."]
    for place, (block, title) in zip(axes, blocks.items(), strict=True):
        colour = BLOCK_COLOURS[block.partition(".")[0]]
        words += draw_curves(place, damages, block, title, colour)
    axes[0].set_ylabel("house accuracy")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 0.02), title="switched off")
    return Picture(figure, " ".join(words))


def draw_curves(axes: Axes, damages: Damages, block: str, title: str, colour: str) -> Sequence[str]:
    """Both ways for one block; returns the curves in words."""
    words = []
    for way, look in LOOKS.items():
        points = [(k, d.houses) for (b, w, k), d in damages.items() if (b, w) == (block, way)]
        ks, houses = zip(*sorted(points), strict=True)
        axes.plot(range(len(ks)), houses, color=colour, label=way, **look)
        said = ", ".join(f"{house:.2f} without {k}" for k, house in zip(ks, houses, strict=True))
        words.append(f"{title}, {way}: {said}.")
    for height, name in MARKS.items():
        axes.axhline(height, color="#8a8a8a", linewidth=1, linestyle=":")
        axes.text(-0.2, height + 0.015, name, size=9, color=INK)
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.set(ylim=(0, 1.05), title=title, xlabel="weights switched off in each row")
    return words


@styled
def what_is_left(
    scene: Scene, left: Attention, query: tuple[int, int], labels: np.ndarray, block: str
) -> Picture:
    """What a pixel still looks at, beside what the network now says.

    left: the attention that is left. labels: predicted classes (H, W).
    """
    heat = left.picture(*query).numpy()
    figure, axes = panels(1, 2)
    draw_spotlight(axes[0, 0], scene.image, heat, query, "What is left to look at", block)
    draw_image(axes[0, 1], colour_labels(labels), "What the network says now")
    name_houses(axes[0, 1], scene, labels)
    draw_query(axes[0, 1], *query)
    return Picture(figure, f"Beside the light of what is left: {say_answers_now(scene, labels)}")


def say_answers_now(scene: Scene, labels: np.ndarray) -> str:
    """Each house, what it is and what it is taken for."""
    return " ".join(
        f"The {house.paint} {CLASS_NAMES[house.label]} is called "
        f"{CLASS_NAMES[house_answer(labels, scene, house)]}."
        for house in scene.houses
    )
