"""Figures of scenes and predictions, and the Picture class with its text alternative.

Figures are made without pyplot, so none is shown twice and no state is left behind.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from IPython.display import display
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention
from annlib.course.attention_metrics import class_masses, entropy, house_answer
from annlib.course.plots.style import (
    brightest,
    colour_labels,
    draw_box,
    draw_choices,
    draw_image,
    draw_query,
    draw_spotlight,
    faded,
    legend_patches,
    name_houses,
    styled,
)
from annlib.data.balloon_town.layout import CLASS_NAMES, PATTERNS, House, Scene


def say_house(house: House) -> str:
    return f"{house.paint} {CLASS_NAMES[house.label]}"


def say_scene(scene: Scene) -> str:
    """A scene in words, for those who cannot see it."""
    balloons = ", ".join(f"{b.paint} with a {PATTERNS[b.pattern]}" for b in scene.balloons)
    houses = ", ".join(say_house(house) for house in scene.houses)
    return f"Balloons from left to right: {balloons}. Houses from left to right: {houses}."


def say_answers(
    scenes: Sequence[Scene], answers: Mapping[str, Sequence[np.ndarray]]
) -> Iterator[str]:
    """Each scene in words, and how many of its houses each model names rightly."""
    for row, scene in enumerate(scenes):
        yield f"Scene {scene.seed}. {say_scene(scene)}"
        for name, labels in answers.items():
            right = [house_answer(labels[row], scene, h) == h.label for h in scene.houses]
            yield f"{name}: {sum(right)} of {len(right)} houses right."


def say_choice(
    attention: Attention,
    labels: np.ndarray | None,
    y: int,
    x: int,
    names: Sequence[str] = CLASS_NAMES,
) -> str:
    """What pixel (y, x) looks at, in words.  labels: class indices (H, W), None where unknown

    The browser says the same: controls/javascript/attention.js.
    """
    weights = attention.row(y, x)
    asks = f"Row {y}, column {x}"
    if labels is not None:
        masses = list(class_masses(attention.picture(y, x), labels, names).items())[:3]
        given = ", ".join(f"{mass:.0%} to {name}" for name, mass in masses if mass >= 0.005)
        asks += f" ({'a border' if labels[y, x] == IGNORE_INDEX else names[labels[y, x]]})"
        asks += f" gives {given}"
    bits = float(entropy(weights))
    evenly = f"as if it looked evenly at {2**bits:.0f} of {len(weights)}."
    return f"{asks}. Entropy {bits:.1f} bits: {evenly}"


PANEL = (3.3, 2.2)  # inches, width and height of one scene: 3 to 2
SMALL_PANEL = (2.4, 1.6)
DPI = 110


@dataclass(frozen=True)
class Picture:
    """A figure and its text alternative; the last line of a cell shows both."""

    figure: Figure
    alt: str

    def png(self) -> bytes:
        self.figure.savefig(buffer := io.BytesIO(), format="png", dpi=DPI)
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple:
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}


def show(figure: Figure, alt: str) -> None:
    """Shows a figure of your own with its text alternative."""
    display(Picture(figure, alt))


def panels(rows: int, columns: int, extra_height: float = 0.0) -> tuple[Figure, np.ndarray]:
    """A figure with room for rows x columns scenes.  -> axes (rows, columns)"""
    width, height = PANEL if columns <= 4 else SMALL_PANEL
    figure = Figure((columns * width, rows * (height + 0.3) + extra_height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


@styled
def scene(scene: Scene) -> Picture:
    """A scene beside its labels, with the legend of all classes."""
    figure, axes = panels(1, 2, extra_height=0.6)
    draw_image(axes[0, 0], scene.image, f"Scene {scene.seed}")
    draw_image(axes[0, 1], colour_labels(scene.labels), "Its labels")
    name_houses(axes[0, 1], scene)
    figure.legend(handles=legend_patches(), loc="outside lower center", ncols=5)
    alt = f"Balloon Town, scene {scene.seed}, beside its labels. {say_scene(scene)}"
    return Picture(figure, alt)


@styled
def field_of_view(scene: Scene, y: int, x: int, side: int) -> Picture:
    """All that a pixel can see through a square of `side` pixels; the rest is faded."""
    height, width = scene.labels.shape
    top, left = max(0, y - side // 2), max(0, x - side // 2)
    bottom, right = min(height, y + side // 2 + 1), min(width, x + side // 2 + 1)
    seen = faded(scene.image, 0.75)
    seen[top:bottom, left:right] = scene.image[top:bottom, left:right]
    figure, axes = panels(1, 1)
    draw_image(axes[0, 0], seen, f"What it sees: {side} pixels")
    draw_box(axes[0, 0], (top, left, bottom, right), "none")
    draw_query(axes[0, 0], y, x)
    alt = (
        f"Scene {scene.seed}, faded but for rows {top} to {bottom - 1}, columns {left} to "
        f"{right - 1} around the pixel in row {y}, column {x}. {say_scene(scene)}"
    )
    return Picture(figure, alt)


@styled
def attention(
    image: np.ndarray, attention: Attention, y: int, x: int, title: str, block: str
) -> Picture:
    """What pixel (y, x) chooses: on the picture, and as shares on the map. uint8 (H, W, 3)"""
    heat = attention.picture(y, x).numpy()
    figure, axes = panels(1, 2)
    draw_spotlight(axes[0, 0], image, heat, (y, x), title, block)
    height, width = image.shape[:2]
    norm = PowerNorm(0.5, vmin=0, vmax=heat.max())  # as the spotlight: weak shares show, too
    drawn = axes[0, 1].imshow(heat, norm=norm, extent=(0, width, height, 0))
    axes[0, 1].set(
        xticks=[], yticks=[], title=f"Shares on the {heat.shape[0]} x {heat.shape[1]} map"
    )
    draw_query(axes[0, 1], y, x)
    ticks = heat.max() * np.linspace(0, 1, 5) ** 2
    figure.colorbar(drawn, ax=axes[0, 1], ticks=ticks, format=lambda share, _: f"{share:.1%}")
    top = brightest(heat, image.shape[:2])
    alt = (
        f"{title}. The pixel in row {y}, column {x} looks most at row {top[0]}, column {top[1]} "
        f"({heat.max():.1%} of its attention)."
    )
    return Picture(figure, alt)


@styled
def hero(scene: Scene, attentions: Mapping[str, tuple[str, Attention]]) -> Picture:
    """An arrow from each house to what it attends to most.

    attentions: title of a panel -> (block, one of BLOCK_COLOURS, and what it did).
    """
    num_panels = len(attentions) + 1
    columns = 2 if num_panels == 4 else num_panels
    figure, axes = panels(num_panels // columns, columns, extra_height=0.3)
    figure.supxlabel("Percent: share of a house's attention on the balloon of its paint", size=9)
    draw_image(axes.flat[0], scene.image, f"Scene {scene.seed}")
    sentences = [f"Scene {scene.seed}. {say_scene(scene)}"]
    for place, (title, (block, one)) in zip(axes.flat[1:], attentions.items(), strict=True):
        draw_image(place, faded(scene.image), title, block)
        sentences.append(draw_choices(place, scene, one, title))
    return Picture(figure, " ".join(sentences))


@styled
def predictions(scenes: Sequence[Scene], answers: Mapping[str, Sequence[np.ndarray]]) -> Picture:
    """One row a scene: the picture, its labels, what each model says, ✓ or ✗ over each house.

    answers: name of a model -> its predicted labels (H, W), one for each scene.
    """
    titles = [f"Scene {scene.seed}" for scene in scenes]
    figure = rows_of_answers(titles, scenes, answers)
    return Picture(figure, " ".join(say_answers(scenes, answers)))


@styled
def counterfactual(
    before: Scene, after: Scene, answers: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Picture:
    """The same place twice, with other patterns on its balloons: whose answer follows?

    answers: name of a model -> its predicted labels (H, W) before and after.
    """
    scenes = [before, after]
    figure = rows_of_answers(["Before", "A balloon repainted"], scenes, answers)
    said = " ".join(say_answers(scenes, answers))
    return Picture(figure, f"The same place before and after balloons were repainted. {said}")


def rows_of_answers(
    titles: Sequence[str], scenes: Sequence[Scene], answers: Mapping[str, Sequence[np.ndarray]]
) -> Figure:
    figure, axes = panels(len(scenes), 2 + len(answers), extra_height=0.5)
    for row, scene in enumerate(scenes):
        draw_image(axes[row, 0], scene.image, titles[row])
        draw_image(axes[row, 1], colour_labels(scene.labels), "Truth")
        name_houses(axes[row, 1], scene)
        for place, (name, labels) in zip(axes[row, 2:], answers.items(), strict=True):
            draw_image(place, colour_labels(labels[row]), name)
            name_houses(place, scene, labels[row])
    figure.legend(
        handles=legend_patches(), loc="outside lower center", ncols=10 if len(answers) > 1 else 5
    )
    return figure
