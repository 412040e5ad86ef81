"""Figures of scenes: attention, predictions, scores, receptive fields, windows.

K classes. Counts are [label, prediction], as in annlib.engine.metrics.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention, class_masses, entropy, house_answer, match, query_on
from annlib.course.plots import style
from annlib.course.plots.style import BLOCK_COLOURS, DASHES, INK, Drawn, new_figure, styled
from annlib.course.receptive_field import Field, Size, View
from annlib.data.balloon_town.layout import CLASS_NAMES, PAINTS, PALETTE, PATTERNS, Scene
from annlib.data.classes import DatasetSpec
from annlib.engine.inference import times_covered, window_starts
from annlib.engine.metrics import ConfusionMatrix


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
    row, said = attention.row(y, x), f"Row {y}, column {x}"
    if labels is not None:
        masses = list(class_masses(attention.map_at(y, x), labels, names).items())[:3]
        given = ", ".join(f"{mass:.0%} to {name}" for name, mass in masses if mass >= 0.005)
        label = "a border" if labels[y, x] == IGNORE_INDEX else names[labels[y, x]]
        said += f" ({label}) attends {given}"
    bits = float(entropy(row))
    evenly = f"as if it attended evenly to {2**bits:.0f} of {len(row)}"
    return f"{said}. Entropy {bits:.1f} bits: {evenly}."


def draw_labels(
    axes: Axes, scene: Scene, title: str, labels: np.ndarray | None = None, block: str = ""
) -> None:
    """The scene's labels, or predicted ones; over each house its class, if predicted with ✓ or ✗"""
    shown = style.colour_labels(scene.labels if labels is None else labels)
    style.draw_image(axes, shown, title, block)
    for house in scene.houses:
        text = CLASS_NAMES[house.label]
        if labels is not None:
            answer = house_answer(labels, scene, house)
            text = f"{'✓' if answer == house.label else '✗'} {CLASS_NAMES[answer]}"
        place = (house.left + house.right) / 2, house.top - 3
        axes.text(*place, text, ha="center", va="bottom", fontsize=9, path_effects=style.HALO)


def draw_legend(figure: Figure, columns: int) -> None:
    classes = zip(CLASS_NAMES, PALETTE / 255, strict=True)
    swatches = [Patch(facecolor=c, edgecolor=style.GREY, label=name) for name, c in classes]
    figure.legend(handles=swatches, loc="outside lower center", ncols=columns)


@styled
def scene(scene: Scene) -> Drawn:
    """A scene beside its labels, with the legend of all classes."""
    figure, axes = style.panels(1, 2, extra_height=0.6)
    style.draw_image(axes[0], scene.image, f"Scene {scene.seed}")
    draw_labels(axes[1], scene, "Its labels")
    draw_legend(figure, 5)
    return figure, f"Balloon Town, scene {scene.seed}, beside its labels. {say_scene(scene)}"


@styled
def segmentation(image: np.ndarray, labels: np.ndarray, spec: DatasetSpec, title: str) -> Drawn:
    """An image beside its predicted classes (H, W), with a legend of those that occur."""
    figure, (left, right) = new_figure(9.6, 0.9 + 4.6 * image.shape[0] / image.shape[1], 1, 2)
    colours, counts = spec.colour_table().numpy(), np.bincount(labels.ravel()) / labels.size
    style.draw_image(left, image, "Image")
    style.draw_image(right, colours[labels], title)
    found = [int(index) for index in counts.argsort()[::-1] if counts[index]]
    patches = [Patch(fc=colours[i] / 255, ec=style.GREY, label=spec.class_names[i]) for i in found]
    figure.legend(handles=patches, loc="outside lower center", ncols=6)
    shares = [f"{spec.class_names[i]} {counts[i]:.0%}" for i in found]
    return figure, f"{title}. Predicted classes by area: {', '.join(shares)}."


@styled
def field_of_view(scene: Scene, y: int, x: int, side: int) -> Drawn:
    """The square of `side` pixels around a pixel; the rest of the scene is faded."""
    (figure, axes), reach = style.panels(1, 1), side // 2
    field = Field(y - reach, x - reach, y + reach + 1, x + reach + 1).inside(scene.labels.shape)
    style.draw_image(axes, outside_faded(scene.image, field), f"Receptive field: {side} pixels")
    style.draw_box(axes, field, "none")
    style.draw_query(axes, y, x)
    return figure, (
        f"Scene {scene.seed}, faded except for rows {field.top} to {field.bottom - 1}, columns "
        f"{field.left} to {field.right - 1} around the pixel in row {y}, column {x}. "
        f"{say_scene(scene)}"
    )


def outside_faded(image: np.ndarray, field: Field) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (H, W, 3)"""
    seen = style.faded(image, 0.75)
    seen[field.pixels] = image[field.pixels]
    return seen


@styled
def attention_map(
    image: np.ndarray, attention: Attention, y: int, x: int, title: str, block: str
) -> Drawn:
    """Attention weights of pixel (y, x): on the image, and as a map.  uint8 (H, W, 3)"""
    (figure, axes), heat = style.panels(1, 2), attention.map_at(y, x).numpy()
    style.draw_spotlight(axes[0], image, heat, (y, x), title, block)
    bar = {"ticks": heat.max() * np.linspace(0, 1, 5) ** 2, "format": lambda w, _: f"{w:.1%}"}
    norm = PowerNorm(0.5, vmin=0, vmax=heat.max())  # as the spotlight: small weights show, too
    size, (rows, columns) = image.shape[:2], heat.shape
    style.draw_map(axes[1], heat, size, f"Weights on the {rows} x {columns} map", bar, norm=norm)
    style.draw_query(axes[1], y, x)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return figure, (
        f"{title}. The pixel in row {y}, column {x} attends most to row "
        f"{int((row + 0.5) * size[0] / rows)}, column {int((column + 0.5) * size[1] / columns)} "
        f"({heat.max():.1%} of its attention)."
    )


@styled
def house_attention(scene: Scene, attentions: Mapping[str, tuple[str, Attention]]) -> Drawn:
    """An arrow from each house to its strongest cell.  attentions: title -> (block, attention)"""
    rows, columns = (2, 2) if len(attentions) == 3 else (1, len(attentions) + 1)
    figure, axes = style.panels(rows, columns, extra_height=0.3)
    figure.supxlabel("Percent: attention weight of a house on the balloon of its colour", size=9)
    style.draw_image(axes.flat[0], scene.image, f"Scene {scene.seed}")
    sentences = [f"Scene {scene.seed}. {say_scene(scene)}"]
    for place, (title, (block, one)) in zip(axes.flat[1:], attentions.items(), strict=True):
        style.draw_image(place, style.faded(scene.image), title, block)
        boxes, said = one.boxes().numpy(), []
        for house in scene.houses:
            query, colour = query_on(scene, house), to_hex(np.array(PAINTS[house.paint]) / 255)
            strengths = (weights := one.row(*query).numpy()) / weights.max()
            for index in np.flatnonzero(strengths >= 0.25):
                style.draw_box(place, boxes[index], colour, strengths[index])
            style.draw_query(place, *query, colour=colour)
            if end := arrow_end(query, boxes[weights.argmax()]):
                form = "simple,head_length=0.85,head_width=0.8,tail_width=0.22"
                look = {"arrowstyle": form, "mutation_scale": 15, "shrinkA": 6, "shrinkB": 0}
                look |= {"facecolor": colour, "edgecolor": INK, "linewidth": 1.1, "zorder": 3}
                place.add_patch(FancyArrowPatch(query[::-1], end[::-1], **look))
            weight = f"{match(one, scene, house).on_its_balloon:.0%}"
            place.text(query[1], 125, weight, ha="center", va="bottom", path_effects=style.HALO)
            said.append(f"{house.paint} {weight}")
        sentences.append(f"{title}, attention of each house on its balloon: {', '.join(said)}.")
    return figure, " ".join(sentences)


def arrow_end(start: Sequence[float], box: Sequence[float]) -> tuple[float, float] | None:
    """Where (y, x) a line from `start` to the middle of a box crosses its border; None inside."""
    corner, opposite = np.array(box, float).reshape(2, 2)
    middle = (corner + opposite) / 2
    away = start - middle
    reach = (2 * abs(away) / (opposite - corner)).max()
    return tuple((middle + away / reach).tolist()) if reach > 1 else None


@styled
def predictions(
    scenes: Sequence[Scene], answers: Mapping[str, Sequence[np.ndarray]], titles: Sequence = ()
) -> Drawn:
    """A row for each scene: image, labels, each model's labels (H, W), ✓ or ✗ over each house."""
    titles = titles or [f"Scene {scene.seed}" for scene in scenes]
    figure, axes = style.panels(len(scenes), 2 + len(answers), extra_height=0.5)
    rows, words = np.atleast_2d(axes), []
    for row, (title, scene) in enumerate(zip(titles, scenes, strict=True)):
        style.draw_image(rows[row, 0], scene.image, title)
        draw_labels(rows[row, 1], scene, "Labels")
        words.append(f"{title}. {say_scene(scene)}")
        for place, (name, labels) in zip(rows[row, 2:], answers.items(), strict=True):
            draw_labels(place, scene, name, labels[row])
            correct = [house_answer(labels[row], scene, h) == h.label for h in scene.houses]
            words.append(f"{name}: {sum(correct)} of {len(correct)} houses correct.")
    draw_legend(figure, 10 if len(answers) > 1 else 5)
    return figure, " ".join(words)


@styled
def receptive_field(image: np.ndarray, view: View, pixel: Size, depth: str) -> Drawn:
    """Left what a position could depend on, right what its gradient shows.  pixel: its (y, x)"""
    frame, (figure, axes) = view.frame, style.panels(1, 2)
    seen = image if view.unbounded else outside_faded(image, frame)
    style.draw_image(axes[0], seen, "Could depend on")
    style.draw_image(axes[1], style.spotlight(image, view.light), "Does depend on")
    for place in axes:
        style.draw_frame(place, frame, "--" if view.unbounded else "-")
        style.draw_query(place, *pixel)
    (row, column), (rows, columns) = view.position, view.map_size
    height, width = view.field.size
    said = f"After {depth}: row {row}, column {column} of the {rows} x {columns} map can depend on"
    if view.unbounded:
        return figure, (
            f"{said} every pixel. {view.share_far:.0%} of its gradient lies outside of the dashed "
            f"frame, the {height} x {width} pixels that the convolutions alone would reach."
        )
    moved = "No pixel changes it now, because the ReLU sets all of its channels to 0."
    if view.light.any():
        moved = f"{view.share_in_middle:.0%} of its gradient lies in the central half of the frame"
        moved += ", on a quarter of its pixels."
    return figure, (
        f"{said} {height} x {width} pixels; in the image rows {frame.top} to {frame.bottom - 1}, "
        f"columns {frame.left} to {frame.right - 1} "
        f"({frame.size[0] * frame.size[1] / view.light.size:.1%} of it). {moved}"
    )


def coverage(size: Size, window: Size, stride: Size) -> tuple[list[int], list[int], np.ndarray]:
    """Tops and lefts of the windows, and how many cover each pixel.  -> ..., ..., (H, W)"""
    starts = [list(window_starts(*three)) for three in zip(size, window, stride, strict=True)]
    covered = [times_covered(*three).numpy() for three in zip(starts, window, size, strict=True)]
    return *starts, np.outer(*covered)


@styled
def window_map(image: np.ndarray, window: Size, stride: Size) -> Drawn:
    """The windows on the image, and how often each pixel is scored.  uint8 (H, W, 3)"""
    height, width = size = image.shape[:2]
    tops, lefts, counts = coverage(size, window, stride)
    figure, axes = new_figure(9.6, 0.9 + 4.4 * height / width, 1, 2)
    style.draw_image(axes[0], style.faded(image, 0.65), f"{len(tops) * len(lefts)} windows")
    high, wide = min(window[0], height), min(window[1], width)
    for number, (top, left) in enumerate(product(tops, lefts)):
        inset = (0.5 + number % 4) * 0.012 * height  # so that edges do not hide each other
        box = top + inset, left + inset, top + high - inset, left + wide - inset
        colour = (BLOCK_COLOURS["afnb"], BLOCK_COLOURS["nonlocal"])[number % 2]
        look = {"linewidth": 2.4, "ec": colour, "linestyle": DASHES[number % 4]}
        style.draw_rectangle(axes[0], box, fill=False, **look)
    whole = sorted({int(count) for count in counts.flat})
    bar = {"ticks": whole[:: max(1, len(whole) // 6)], "shrink": 0.7}
    style.draw_map(axes[1], counts, size, "Scores of each pixel", bar, vmin=0, vmax=counts.max())
    return figure, (
        f"{len(tops)} x {len(lefts)} windows of {window[0]} x {window[1]} on an image of "
        f"{height} x {width}, stride {stride[0]} x {stride[1]}: each pixel is scored "
        f"{int(counts.min())} to {int(counts.max())} times, and the network processes "
        f"{high * wide * len(tops) * len(lefts) / (height * width):.2f} times as many pixels as "
        "without windows."
    )


INSIDE = {"ha": "center", "va": "center", "in_layout": False}  # the layout need not measure it
PAINTED = "sky", "house", "road", "car"  # classes of `painted`
COLOURS = PALETTE[[0, 7, 1, 3]] / 255  # of these classes, and below what can be read on them
TEXT_COLOURS = np.where(COLOURS @ (0.3, 0.59, 0.11) > 0.5, INK, "white").tolist()


def name_classes(axes: Axes, names: Sequence[str], title: str) -> None:
    axes.set(xlabel="predicted", ylabel="labelled", title=title)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")


@styled
def painted(labels: np.ndarray, prediction: np.ndarray) -> Drawn:
    """A few pixels: labels, prediction, and their confusion matrix.  (h, w) twice"""
    figure, axes = new_figure(9.4, 2.9, 1, 3, width_ratios=(1.5, 1.5, 1.4))
    (height, width), ground = labels.shape, np.ones((256, 3))
    ground[: len(COLOURS)] = COLOURS
    titles = "Labels", "Prediction (x: incorrect)"
    for place, classes, title in zip(axes, (labels, prediction), titles, strict=False):
        place.imshow(ground[classes])
        for (row, column), value in np.ndenumerate(classes):
            text, look = "255", {"color": INK, "size": 9}
            if value != IGNORE_INDEX:
                text, look = PAINTED[value][0].upper(), {"color": TEXT_COLOURS[value]}
            place.text(column, row, text, **look, **INSIDE)
        place.set_title(title)
        place.set_xticks(range(width), range(1, width + 1), size=9)
        place.set_yticks(range(height), range(1, height + 1), size=9)
    for row, column in np.argwhere((labels != prediction) & (labels != IGNORE_INDEX)):
        cross = {"color": TEXT_COLOURS[prediction[row, column]], "weight": "bold"}
        axes[1].text(column + 0.36, row - 0.2, "x", size=12, **cross, **INSIDE)
    matrix = ConfusionMatrix(len(PAINTED))
    matrix.update(torch.from_numpy(prediction), torch.from_numpy(labels))
    counts = matrix.counts.numpy()
    axes[2].imshow(np.sqrt(counts), vmin=0, vmax=max(1.0, 1.35 * np.sqrt(counts.max())))
    for (label, predicted), count in np.ndenumerate(counts):
        weight = "bold" if label == predicted else "normal"
        shade = "white" if count < 0.4 * counts.max() else INK
        axes[2].text(predicted, label, str(count), weight=weight, color=shade, **INSIDE)
    name_classes(axes[2], PAINTED, "Confusion matrix")
    scores, total = matrix.scores(), int(counts.sum())
    told = ["-" if iou != iou else f"{iou:.2f}" for iou in scores.iou.tolist()]
    parts = ", ".join(map(" ".join, zip(PAINTED, told, strict=True)))
    return figure, (
        f"Pixel accuracy {int(counts.trace())} / {total} = {scores.pixel_accuracy:.3f}. IoU: "
        f"{parts}. mIoU, the mean of {len(told) - told.count('-')} classes: {scores.miou:.3f}."
    )


@styled
def confusion_matrix(matrix: ConfusionMatrix, names: Sequence[str], title: str) -> Drawn:
    """The confusion matrix in per cent of the pixels of each class, so rows sum to 100 %."""
    counts = matrix.counts.double()
    percent = 100 * (counts / counts.sum(1, keepdim=True)).nan_to_num(0).numpy()
    figure, axes = new_figure(6.8, 4.8)
    axes.imshow(percent, vmin=0, vmax=100, aspect="auto")
    for (label, prediction), value in np.ndenumerate(percent):
        if value >= 0.5:
            shade = "white" if value < 55 else INK
            axes.text(prediction, label, f"{value:.0f}", ha="center", va="center", color=shade)
    name_classes(axes, names, title)
    diagonal = ", ".join(f"{n} {s:.0f} %" for n, s in zip(names, percent.diagonal(), strict=True))
    return figure, f"{title}: correct pixels of each class: {diagonal}."


@styled
def chosen_scenes(
    counts: Tensor, first: int, number: int, names: Sequence[str], block: str, title: str
) -> Drawn:
    """Bars: IoU of each class by one matrix. Points: mIoU of each scene alone.  (T, K, K)"""
    total, each = ConfusionMatrix(counts.shape[1]), []
    for one in counts[first : first + number]:
        alone = ConfusionMatrix(counts.shape[1])
        alone.counts = one
        total, each = total + alone, [*each, alone.scores().miou]
    scores, colour = total.scores(), BLOCK_COLOURS[block]
    figure, (left, right) = new_figure(9, 3.3, 1, 2, width_ratios=(3, 2), sharey=True)
    values, mean = scores.iou.tolist(), float(np.mean(each))
    left.bar(range(len(names)), np.nan_to_num(values), color=colour, alpha=0.55)
    for place, value in enumerate(values):
        text = "-" if value != value else f"{value:.2f}"  # a class that does not occur
        left.text(place, 0.03, text, ha="center", size=9)
    left.set(ylim=(0, 1.02), ylabel="IoU", title=f"{title}: IoU of each class, one matrix")
    look = {"size": 9, "rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    left.set_xticks(range(len(names)), names, **look)
    right.plot(range(first, first + number), each, "o", color=INK, markersize=5, label="one scene")
    right.axhline(mean, color=INK, linestyle=":", label="mean of the scenes")
    right.axhline(scores.miou, color=colour, linestyle="-", label="one matrix")
    right.set(xlabel="scene", title="mIoU", xlim=(first - 1, first + number), ylim=(0, 1.02))
    right.legend(loc="lower right", fontsize=9, frameon=True)
    gap = mean - scores.miou
    compared = "as high as" if abs(gap) < 5e-4 else "higher than" if gap > 0 else "lower than"
    return figure, (
        f"{title}. Scenes {first} to {first + len(each) - 1}: pixel accuracy "
        f"{scores.pixel_accuracy:.3f}, mIoU by one matrix {scores.miou:.3f}; the mean over scenes "
        f"is {mean:.3f}, {compared} it."
    )
