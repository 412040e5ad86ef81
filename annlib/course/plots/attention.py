"""Figures of attention on an image, and of what ablating it changes.

H x W pixels of the image, h x w positions of the map.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from annlib.course.attention import Attention, Projections, projections_of
from annlib.course.attention_metrics import entropy, house_answer, predict_labels
from annlib.course.interventions import WAYS, Damage
from annlib.course.plots import scenes
from annlib.course.plots.anchors import anchor_map, two_maps
from annlib.course.plots.scenes import Picture, panels, say_choice
from annlib.course.plots.style import (
    BLOCK_COLOURS,
    INK,
    colour_labels,
    draw_image,
    draw_query,
    draw_spotlight,
    name_houses,
    styled,
)
from annlib.course.plots.training import weight_matrix
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene

Look = Callable[
    [np.ndarray], Mapping[str, Projections]
]  # picture -> path of a block -> what it has
Model = nn.Module | Look


class Subject(NamedTuple):
    """A picture, and what is to be seen where."""

    image: np.ndarray  # uint8 (H, W, 3)
    labels: np.ndarray | None = None  # class indices (H, W); None: shares are not summed by class
    class_names: Sequence[str] = CLASS_NAMES


class Asking(NamedTuple):
    """A map that is drawn instead of the picture, for a block that asks with another map."""

    strength: np.ndarray  # (h, w)
    asks: str  # "High-level map asks"
    answers: str


class View(NamedTuple):
    """One block of one network on one picture."""

    projections: Projections
    block: str  # whose colour it has: a key of drawing.BLOCK_COLOURS
    asking: Asking | None = None


Views = Mapping[str, Mapping[str, View]]  # network -> block -> view, by their names in the menus


def views_of(models: Mapping[str, Model], image: np.ndarray) -> Views:
    """All attention blocks of all networks on a picture, uint8 (H, W, 3).

    A network is a model with attention, or a function that finds projections. Raises ValueError for
    a model without attention.
    """
    return {name: blocks_of(model, image) for name, model in models.items()}


def blocks_of(model: Model, image: np.ndarray) -> Mapping[str, View]:
    """Name of each block -> view."""
    found = projections_of(model, image) if isinstance(model, nn.Module) else model(image)
    views = {}
    for path, one in found.items():
        part = path.partition(".")[0]
        block = part if part in ("afnb", "apnb") else "apnb" if one.pool_scales else "nonlocal"
        views["non-local" if block == "nonlocal" else block.upper()] = View(one, block)
    return views


def subject_of(picture: np.ndarray | Scene, model: Model | None = None) -> Subject:
    """A picture with its classes: a scene's own, else those that the model takes it for.

    picture: uint8 (H, W, 3) or a scene. Raises ValueError for an array of another kind.
    """
    if isinstance(picture, Scene):
        return Subject(picture.image, picture.labels)
    image = np.asarray(picture)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"This picture has shape {image.shape} and type {image.dtype}, but pictures are uint8 "
            "(H, W, 3) in RGB, 0 to 255. A PIL image becomes one by np.asarray(it.convert('RGB'))."
        )
    if not isinstance(model, nn.Module) or model.config.num_classes != len(CLASS_NAMES):
        return Subject(image)
    return Subject(image, predict_labels(model, image))


def weights_among(query: Tensor, key: Tensor, factor: float = 1.0) -> Tensor:
    """(C, N), (C, S) -> (N, S): row n is how position n divides its attention.

    factor: what all scores are multiplied by, on top of the block's 1/√C.
    """
    return (factor * query.shape[0] ** -0.5 * query.mT @ key).softmax(dim=-1)


def six_positions(query: Tensor, key: Tensor, names: Sequence[str], factor: float) -> Picture:
    """The matrix of weights with its numbers, one row for each that asks.  (C, N), (C, N)"""
    weights = weights_among(query, key, factor)
    title = "Six positions" if factor == 1 else f"Six positions, scores x {factor:g}"
    return weight_matrix(weights.numpy(), title, names, names)


def say_position(query: Tensor, key: Tensor, names: Sequence[str], factor: float, at: int) -> str:
    """What one of the positions gives, how widely, and what it gets, in words."""
    weights = weights_among(query, key, factor)
    bits, row = float(entropy(weights[at])), weights[at]
    return (
        f"{names[at]} looks most at {names[int(row.argmax())]} ({row.max():.2f}); entropy "
        f"{bits:.2f} bits, as if it looked evenly at {2**bits:.1f} of {len(row)}. "
        f"All six together give it {weights[:, at].sum():.2f}."
    )


def laid_over(image: np.ndarray, overlay: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), RGBA uint8 (H, W, 4) -> uint8 (H, W, 3)"""
    share = overlay[..., 3:] / 255
    return (image * (1 - share) + overlay[..., :3] * share + 0.5).astype(np.uint8)


@styled
def picked(
    image: np.ndarray,
    overlays: Sequence[np.ndarray],
    y: int,
    x: int,
    title: str,
    name: str | None = None,
) -> Picture:
    """uint8 (H, W, 3) under its overlays (H, W, 4), in their order, with pixel (y, x) ringed.

    name: the pixel's class, if it is known.
    """
    for overlay in overlays:
        image = laid_over(image, overlay)
    figure, axes = panels(1, 1)
    draw_image(axes[0, 0], image, title)
    draw_query(axes[0, 0], y, x)
    of = f", {name}," if name else ""
    height, width = image.shape[:2]
    alt = f"{title}: the pixel in row {y}, column {x}{of} of a picture of {height} x {width}."
    return Picture(figure, alt)


def view_picture(
    subject: Subject,
    view: View,
    y: int,
    x: int,
    levels: Sequence[int],
    factor: float,
    title: str,
) -> tuple[Picture | None, str]:
    """What pixel (y, x) chooses, and the same in words; no picture where no level is on.

    levels: those that are on, of all that there are; factor: of all scores.
    """
    scales = view.projections.pool_scales
    chosen = None if scales is None else [scale for scale in scales if scale in levels]
    if chosen == []:
        return None, "S = 0: nobody answers. Tick at least one level."
    found = view.projections.attention(chosen, factor)
    words = say_choice(found, subject.labels, y, x, subject.class_names)
    if view.asking:
        strength, *names = view.asking
        return two_maps(subject.image, strength, found, names, y, x), words
    draw = anchor_map if scales else scenes.attention
    return draw(subject.image, found, y, x, title, view.block), words


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
