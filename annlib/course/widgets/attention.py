"""Widgets about attention: positions, cells, ablation, context, methods, order of layers."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan

from torch import Tensor, nn, tensor

from annlib.course.attention import attention_of
from annlib.course.attention_metrics import house_answer, predict_labels, query_on
from annlib.course.commutation import Layer, exchange
from annlib.course.efficient import FAMILIES, method_of
from annlib.course.interventions import WAYS, changed_attention, near_edges
from annlib.course.plots import attention as plots
from annlib.course.plots.costs import label_of, orders
from annlib.course.plots.scenes import attention_map, predictions
from annlib.course.plots.style import FigureWithAlt
from annlib.course.replace_attention import attention_by, capture_qkv, say_method
from annlib.course.widgets.base import Explorer, Piece, choice, menu, slider
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene
from annlib.model.ann import ANN, map_size


def cell_map(scene: Scene) -> Explorer:
    """Choose a pyramid level and one of its cells."""
    size = map_size(scene.labels.shape)

    def draw(level: int, row: int, column: int) -> FigureWithAlt:
        index = min(row, level - 1) * level + min(column, level - 1)  # beyond: the last cell
        return plots.cell_map(scene.image, size, level, index)

    cell = slider("cell row", 0, 23), slider("cell column", 0, 23)
    return Explorer(draw, choice("level", (1, 2, 3, 4, 6, 8, 12, 16, 24), 6), *cell)


BOTH, QUERY, KEY = "query and key", "query only", "key only"


def six_positions(features: Tensor, channels: Sequence[str], names: Sequence[str]) -> Explorer:
    """Sliders set the last position's features, of (C, N); C names of channels, N of positions."""

    def draw(*chosen: object) -> tuple[FigureWithAlt, str]:
        *own, role, factor = chosen
        changed = features.clone()
        changed[:, -1] = tensor(own)
        query, key = features if role == KEY else changed, features if role == QUERY else changed
        return plots.six_positions(query, key, names, factor)

    starts = zip(channels, features[:, -1].tolist(), strict=True)
    sliders = [slider(name, start, last=8.0, step=0.5) for name, start in starts]
    factor = choice("scores x", (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), 1.0)
    return Explorer(draw, *sliders, menu("sliders", (BOTH, QUERY, KEY)), factor)


def ablation(
    model: nn.Module, scene: Scene, blocks: Mapping[str, str], damages: plots.Damages
) -> Explorer:
    """Set k attention weights of each row to zero, and see the prediction.  blocks: name -> path"""
    houses = {f"{house.paint} house": house for house in scene.houses}

    def draw(block: str, way: str, k: int, house: str) -> list[Piece]:
        path, query = blocks[block], query_on(scene, houses[house])
        with changed_attention(model, partial(WAYS[way], k=k), path):
            left = attention_of(model, scene.image)[path]
            labels = predict_labels(model, scene.image)
        figure = plots.ablated(scene, left, query, labels, path.partition(".")[0])
        said = figure.alt.partition(": ")[2]
        shown = [figure, f"{block} without {k}, {way}; query: {house}. {said}"]
        if (found := damages.get((path, way, k))) is not None:
            scores = f"house accuracy {found.houses:.3f}, mIoU {found.miou:.3f}"
            shown.append(f"Over many scenes: {scores}.")
        return shown

    k = choice("k", measured := sorted({k for _, _, k in damages}), measured[0])
    return Explorer(
        draw, menu("block", blocks), menu("set to zero", WAYS), k, menu("query", houses)
    )


BLOCKS = {
    "AFNB: context from the low-level map": "afnb.attention",
    "APNB: context from the same map": "apnb.attention",
}


def context_scale(model: ANN, scene: Scene) -> Explorer:
    """Multiply the output of one block's attention, and see what the network predicts."""
    near, before = near_edges(scene.labels), predict_labels(model, scene.image)

    def draw(block: str, factor: float) -> tuple[FigureWithAlt, str]:
        with changed_attention(model, lambda weights: factor * weights, BLOCKS[block]):
            labels = predict_labels(model, scene.image)
        shown = {"as trained": [before], f"context x {factor:g}": [labels]}
        answers = [CLASS_NAMES[house_answer(labels, scene, house)] for house in scene.houses]
        edges = float((labels == scene.labels)[near].mean()) if near.any() else nan
        return predictions([scene], shown), (
            f"Context of {block.partition(':')[0]} x {factor:g}: houses are classified as "
            f"{', '.join(answers)}; {edges:.1%} of the pixels at edges are correct."
        )

    factor = slider("context x", 1.0, last=2.0, step=0.25)
    return Explorer(draw, menu("block", BLOCKS), factor)


def method_chooser(model: nn.Module, scene: Scene) -> Explorer:
    """Choose a method in place of the only non-local block, its size, and the query's house."""
    asked = capture_qkv(model, scene.image)

    def draw(name: str, step: int, index: int) -> tuple[FigureWithAlt, str]:
        options = FAMILIES[name].options
        option = options[min(step, len(options) - 1)]  # some methods have one size only
        attention = attention_by(method_of(name, option, asked.size), asked)
        query = query_on(scene, scene.houses[index])
        figure = attention_map(scene.image, attention, *query, label_of(name, option), "")
        return figure, say_method(model, name, option, scene, index)

    houses = [(f"{house.paint} house", at) for at, house in enumerate(scene.houses)]
    size = choice("size", {"cheapest": 0, "middle": 1, "most expensive": 2}, 2)
    return Explorer(draw, menu("method", FAMILIES), size, menu("query", houses))


SCALES = (1, 2, 3, 6, 8, 16)


def layer_order(layers: Mapping[str, Layer], features: Tensor) -> Explorer:
    """Choose layer, grid and channel; see both orders and their difference.  (B, C, H, W)"""

    def draw(name: str, cells: int, channel: int) -> FigureWithAlt:
        return orders(exchange(layers[name], features, cells), channel, name)

    channel = slider("channel", 0, features.shape[1] - 1)
    return Explorer(draw, menu("layer", layers), choice("n x n", SCALES, 8), channel)
