"""Figures of Balloon Town: scenes, attention, predictions, receptive fields, windows."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention, Size
from annlib.course.attention_metrics import class_masses, entropy, house_answer, match, query_on
from annlib.course.plots import style
from annlib.course.plots.style import BLOCK_COLOURS, DASHES, INK, FigureWithAlt, new_figure, styled
from annlib.course.receptive_field import View
from annlib.data.balloon_town.layout import CLASS_NAMES, PAINTS, PALETTE, PATTERNS, Scene
from annlib.engine.inference import times_covered, window_starts

ARROW = "simple,head_length=0.85,head_width=0.8,tail_width=0.22"


def say_scene(scene: Scene) -> str:
    """A scene in words, for readers who cannot see it."""
    balloons = ", ".join(f"{b.paint} with a {PATTERNS[b.pattern]}" for b in scene.balloons)
    houses = ", ".join(f"{h.paint} {CLASS_NAMES[h.label]}" for h in scene.houses)
    return f"Balloons from left to right: {balloons}. Houses from left to right: {houses}."


def say_attention(
    attention: Attention,
    labels: np.ndarray | None,
    y: int,
    x: int,
    names: Sequence[str] = CLASS_NAMES,
) -> str:
    """What pixel (y, x) attends to, in words.  labels: class indices (H, W), None where unknown

    The browser says the same: widgets/javascript/attention.js.
    """
    weights = attention.row(y, x)
    said = f"Row {y}, column {x}"
    if labels is not None:
        masses = list(class_masses(attention.map_at(y, x), labels, names).items())[:3]
        given = ", ".join(f"{mass:.0%} to {name}" for name, mass in masses if mass >= 0.005)
        label = "a border" if labels[y, x] == IGNORE_INDEX else names[labels[y, x]]
        said += f" ({label}) attends {given}"
    bits = float(entropy(weights))
    return (
        f"{said}. Entropy {bits:.1f} bits: as if it attended evenly to {2**bits:.0f} of "
        f"{len(weights)}."
    )


def name_houses(axes: Axes, scene: Scene, labels: np.ndarray | None = None) -> None:
    """Writes each house's class over it; with predicted labels the predicted class, ✓ or ✗."""
    for house in scene.houses:
        text = CLASS_NAMES[house.label]
        if labels is not None:
            answer = house_answer(labels, scene, house)
            text = f"{'✓' if answer == house.label else '✗'} {CLASS_NAMES[answer]}"
        place = (house.left + house.right) / 2, house.top - 3
        axes.text(*place, text, ha="center", va="bottom", fontsize=9, path_effects=style.HALO)


def draw_legend(figure: Figure, columns: int) -> None:
    """One swatch for each class, below the figure."""
    swatches = [
        Patch(facecolor=colour / 255, edgecolor="#8a8a8a", label=name)
        for name, colour in zip(CLASS_NAMES, PALETTE, strict=True)
    ]
    figure.legend(handles=swatches, loc="outside lower center", ncols=columns)


@styled
def scene(scene: Scene) -> FigureWithAlt:
    """A scene beside its labels, with the legend of all classes."""
    figure, axes = style.panels(1, 2, extra_height=0.6)
    style.draw_image(axes[0, 0], scene.image, f"Scene {scene.seed}")
    style.draw_image(axes[0, 1], style.colour_labels(scene.labels), "Its labels")
    name_houses(axes[0, 1], scene)
    draw_legend(figure, 5)
    alt = f"Balloon Town, scene {scene.seed}, beside its labels. {say_scene(scene)}"
    return FigureWithAlt(figure, alt)


@styled
def field_of_view(scene: Scene, y: int, x: int, side: int) -> FigureWithAlt:
    """The square of `side` pixels around a pixel; the rest of the scene is faded."""
    height, width = scene.labels.shape
    top, left = max(0, y - side // 2), max(0, x - side // 2)
    bottom, right = min(height, y + side // 2 + 1), min(width, x + side // 2 + 1)
    seen = style.faded(scene.image, 0.75)
    seen[top:bottom, left:right] = scene.image[top:bottom, left:right]
    figure, axes = style.panels(1, 1)
    style.draw_image(axes[0, 0], seen, f"Receptive field: {side} pixels")
    style.draw_box(axes[0, 0], (top, left, bottom, right), "none")
    style.draw_query(axes[0, 0], y, x)
    alt = (
        f"Scene {scene.seed}, faded except for rows {top} to {bottom - 1}, columns {left} to "
        f"{right - 1} around the pixel in row {y}, column {x}. {say_scene(scene)}"
    )
    return FigureWithAlt(figure, alt)


@styled
def attention_map(
    image: np.ndarray, attention: Attention, y: int, x: int, title: str, block: str
) -> FigureWithAlt:
    """Attention weights of pixel (y, x): on the image, and as a map.  uint8 (H, W, 3)"""
    heat = attention.map_at(y, x).numpy()
    figure, axes = style.panels(1, 2)
    style.draw_spotlight(axes[0, 0], image, heat, (y, x), title, block)
    height, width = image.shape[:2]
    bar = {"ticks": heat.max() * np.linspace(0, 1, 5) ** 2, "format": lambda w, _: f"{w:.1%}"}
    rows, columns = heat.shape
    norm = PowerNorm(0.5, vmin=0, vmax=heat.max())  # as the spotlight: small weights show, too
    title_right = f"Weights on the {rows} x {columns} map"
    style.draw_map(axes[0, 1], heat, (height, width), title_right, bar, norm=norm)
    style.draw_query(axes[0, 1], y, x)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    top = int((row + 0.5) * height / rows), int((column + 0.5) * width / columns)
    alt = (
        f"{title}. The pixel in row {y}, column {x} attends most to row {top[0]}, column {top[1]} "
        f"({heat.max():.1%} of its attention)."
    )
    return FigureWithAlt(figure, alt)


@styled
def house_attention(scene: Scene, attentions: Mapping[str, tuple[str, Attention]]) -> FigureWithAlt:
    """An arrow from each house to its strongest cell.  attentions: title -> (block, attention)"""
    num_panels = len(attentions) + 1
    columns = 2 if num_panels == 4 else num_panels
    figure, axes = style.panels(num_panels // columns, columns, extra_height=0.3)
    figure.supxlabel("Percent: attention weight of a house on the balloon of its colour", size=9)
    style.draw_image(axes.flat[0], scene.image, f"Scene {scene.seed}")
    sentences = [f"Scene {scene.seed}. {say_scene(scene)}"]
    for place, (title, (block, one)) in zip(axes.flat[1:], attentions.items(), strict=True):
        style.draw_image(place, style.faded(scene.image), title, block)
        boxes, said = one.boxes().numpy(), []
        for house in scene.houses:
            query, colour = query_on(scene, house), to_hex(np.array(PAINTS[house.paint]) / 255)
            weights = one.row(*query).numpy()
            strengths = weights / weights.max()
            for index in np.flatnonzero(strengths >= 0.25):
                style.draw_box(place, boxes[index], colour, strengths[index])
            style.draw_query(place, *query, colour=colour)
            if end := arrow_end(query, boxes[weights.argmax()]):
                look = {"arrowstyle": ARROW, "mutation_scale": 15, "shrinkA": 6, "shrinkB": 0}
                arrow = FancyArrowPatch(query[::-1], end[::-1], **look)
                arrow.set(facecolor=colour, edgecolor=INK, linewidth=1.1, zorder=3)
                place.add_patch(arrow)
            weight = f"{match(one, scene, house).on_its_balloon:.0%}"
            place.text(query[1], 125, weight, ha="center", va="bottom", path_effects=style.HALO)
            said.append(f"{house.paint} {weight}")
        sentences.append(f"{title}, attention of each house on its balloon: {', '.join(said)}.")
    return FigureWithAlt(figure, " ".join(sentences))


def arrow_end(start: Sequence[float], box: Sequence[float]) -> tuple[float, float] | None:
    """Where (y, x) a line from `start` to the middle of a box crosses its border; None inside."""
    top, left, bottom, right = map(float, box)
    middle = (top + bottom) / 2, (left + right) / 2
    away = start[0] - middle[0], start[1] - middle[1]
    reach = max(abs(away[0]) / (bottom - top), abs(away[1]) / (right - left)) * 2
    if reach <= 1:
        return None
    return middle[0] + away[0] / reach, middle[1] + away[1] / reach


@styled
def predictions(
    scenes: Sequence[Scene],
    answers: Mapping[str, Sequence[np.ndarray]],
    titles: Sequence[str] | None = None,
) -> FigureWithAlt:
    """A row for each scene: image, labels, each model's labels (H, W), ✓ or ✗ over each house."""
    titles = titles or [f"Scene {scene.seed}" for scene in scenes]
    figure, axes = style.panels(len(scenes), 2 + len(answers), extra_height=0.5)
    words = []
    for row, (title, scene) in enumerate(zip(titles, scenes, strict=True)):
        style.draw_image(axes[row, 0], scene.image, title)
        style.draw_image(axes[row, 1], style.colour_labels(scene.labels), "Labels")
        name_houses(axes[row, 1], scene)
        words.append(f"{title}. {say_scene(scene)}")
        for place, (name, labels) in zip(axes[row, 2:], answers.items(), strict=True):
            style.draw_image(place, style.colour_labels(labels[row]), name)
            name_houses(place, scene, labels[row])
            correct = [house_answer(labels[row], scene, h) == h.label for h in scene.houses]
            words.append(f"{name}: {sum(correct)} of {len(correct)} houses correct.")
    draw_legend(figure, 10 if len(answers) > 1 else 5)
    return FigureWithAlt(figure, " ".join(words))


@styled
def receptive_field(
    image: np.ndarray, view: View, pixel: tuple[int, int], depth: str
) -> FigureWithAlt:
    """Left what a position could depend on, right what its gradient shows.  pixel: its (y, x)"""
    frame, seen = view.frame, image
    if not view.unbounded:
        inside = slice(frame.top, frame.bottom), slice(frame.left, frame.right)
        seen = style.faded(image, 0.75)
        seen[inside] = image[inside]
    figure, axes = style.panels(1, 2)
    style.draw_image(axes[0, 0], seen, "Could depend on")
    style.draw_image(axes[0, 1], style.spotlight(image, view.light), "Does depend on")
    for place in axes[0]:
        style.draw_frame(place, frame, "--" if view.unbounded else "-")
        style.draw_query(place, *pixel)
    (row, column), (rows, columns) = view.position, view.map_size
    height, width = view.field.size
    said = f"row {row}, column {column} of the {rows} x {columns} map can depend on"
    if view.unbounded:
        said += (
            f" every pixel. {view.share_far:.0%} of its gradient lies outside of the dashed frame, "
            f"the {height} x {width} pixels that the convolutions alone would reach."
        )
    else:
        covered = frame.size[0] * frame.size[1] / view.light.size
        said += (
            f" {height} x {width} pixels; in the image rows {frame.top} to {frame.bottom - 1}, "
            f"columns {frame.left} to {frame.right - 1} ({covered:.1%} of it). "
        )
        if view.light.max() == 0:
            said += "No pixel changes it now, because the ReLU sets all of its channels to 0."
        else:
            said += (
                f"{view.share_in_middle:.0%} of its gradient lies in the central half of the "
                "frame, on a quarter of its pixels."
            )
    return FigureWithAlt(figure, f"After {depth}: {said}")


def coverage(size: Size, window: Size, stride: Size) -> tuple[list[int], list[int], np.ndarray]:
    """Tops and lefts of the windows, and how many cover each pixel.  -> ..., ..., (H, W)"""
    tops, lefts = (list(window_starts(*three)) for three in zip(size, window, stride, strict=True))
    rows = times_covered(tops, window[0], size[0]).numpy()
    columns = times_covered(lefts, window[1], size[1]).numpy()
    return tops, lefts, np.outer(rows, columns)


@styled
def window_map(image: np.ndarray, window: Size, stride: Size) -> FigureWithAlt:
    """The windows on the image, and how often each pixel is scored.  uint8 (H, W, 3)"""
    height, width = size = image.shape[:2]
    tops, lefts, counts = coverage(size, window, stride)
    figure, (left_axes, right_axes) = new_figure(9.6, 0.9 + 4.4 * height / width, 1, 2)
    style.draw_image(left_axes, style.faded(image, 0.65), f"{len(tops) * len(lefts)} windows")
    high, wide = min(window[0], height), min(window[1], width)
    for number, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        inset = (0.5 + number % 4) * 0.012 * height  # so that edges do not hide each other
        box = Rectangle((left + inset, top + inset), wide - 2 * inset, high - 2 * inset)
        colour = (BLOCK_COLOURS["afnb"], BLOCK_COLOURS["nonlocal"])[number % 2]
        box.set(facecolor="none", linewidth=2.4, edgecolor=colour, linestyle=DASHES[number % 4])
        left_axes.add_patch(box)
    whole = sorted({int(count) for count in counts.flat})
    bar = {"ticks": whole[:: max(1, len(whole) // 6)], "shrink": 0.7}
    style.draw_map(right_axes, counts, size, "Scores of each pixel", bar, vmin=0, vmax=counts.max())
    alt = (
        f"{len(tops)} x {len(lefts)} windows of {window[0]} x {window[1]} on an image of "
        f"{height} x {width}, stride {stride[0]} x {stride[1]}: each pixel is scored "
        f"{int(counts.min())} to {int(counts.max())} times, and the network processes "
        f"{high * wide * len(tops) * len(lefts) / (height * width):.2f} times as many pixels as "
        "without windows."
    )
    return FigureWithAlt(figure, alt)
