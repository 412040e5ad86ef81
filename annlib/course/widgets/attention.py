"""Widgets about attention: positions, cells, ablation, context, methods, order of layers."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan

from torch import Tensor, nn, tensor

from annlib.course import attention, interventions
from annlib.course.attention import attention_of, house_answer, predict_labels, query_on
from annlib.course.efficient import FAMILIES, method_of, share_of_work
from annlib.course.implementations import exchange
from annlib.course.interventions import WAYS, changed_attention, near_edges
from annlib.course.plots import attention as plots
from annlib.course.plots.costs import label_of, orders
from annlib.course.plots.scenes import attention_map, predictions
from annlib.course.plots.style import FigureWithAlt
from annlib.course.plots.training import weight_matrix
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
        (*own, role, factor), changed = chosen, features.clone()
        changed[:, -1] = tensor(own)
        query, key = features if role == KEY else changed, features if role == QUERY else changed
        weights = (factor * query.shape[0] ** -0.5 * query.mT @ key).softmax(dim=-1)  # (N, N)
        title = "Six positions" if factor == 1 else f"Six positions, scores x {factor:g}"
        bits, row = float(attention.entropy(weights[-1])), weights[-1]
        return weight_matrix(weights.numpy(), title, names, names), (
            f"{names[-1]} attends most to {names[int(row.argmax())]} ({row.max():.2f}); entropy "
            f"{bits:.2f} bits, as if it attended evenly to {2**bits:.1f} of {len(row)}. The "
            f"weights that the {len(row)} queries give it sum to {weights[:, -1].sum():.2f}."
        )

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
        if (one := damages.get((path, way, k))) is not None:
            shown += [f"Over many scenes: house accuracy {one.houses:.3f}, mIoU {one.miou:.3f}."]
        return shown

    k = choice("k", measured := sorted({k for _, _, k in damages}), measured[0])
    block, way = menu("block", blocks), menu("set to zero", WAYS)
    return Explorer(draw, block, way, k, menu("query", houses))


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
    asked = interventions.capture_qkv(model, scene.image)

    def draw(name: str, step: int, index: int) -> tuple[FigureWithAlt, str]:
        family, house = FAMILIES[name], scene.houses[index]
        option = family.options[min(step, len(family.options) - 1)]  # some have one size only
        method, label = method_of(name, option, asked.size), label_of(name, option)
        found = interventions.attention_by(method, asked)
        with interventions.replaced_attention(model, method):
            right = attention.house_answers(model, scene)[index] == house.label
        sized = f"{option} {family.unit}" if len(family.options) > 1 else family.unit
        work = share_of_work(name, option, asked.size, asked.key.shape[1])
        error = interventions.relative_error(method, asked)
        own = attention.match(found, scene, house).on_its_balloon
        return attention_map(scene.image, found, *query_on(scene, house), label, ""), (
            f"{name} ({sized}; what is shrunk: {family.shrinks}). Output: {error:.0%} away from "
            f"the non-local block. Products: {work:.0%} of its work. The {house.paint} house has "
            f"{own:.0%} of its attention on its balloon and is classified "
            f"{'correctly' if right else 'INCORRECTLY'}."
        )

    houses = [(f"{house.paint} house", at) for at, house in enumerate(scene.houses)]
    size = choice("size", {"cheapest": 0, "middle": 1, "most expensive": 2}, 2)
    return Explorer(draw, menu("method", FAMILIES), size, menu("query", houses))


def layer_order(layers: Mapping[str, nn.Module], features: Tensor) -> Explorer:
    """Choose layer, grid and channel; see both orders and their difference.  (B, C, H, W)"""

    def draw(name: str, cells: int, channel: int) -> FigureWithAlt:
        return orders(exchange(layers[name], features, cells), channel, name)

    cells = choice("n x n", (1, 2, 3, 6, 8, 16), 8)
    channel = slider("channel", 0, features.shape[1] - 1)
    return Explorer(draw, menu("layer", layers), cells, channel)
