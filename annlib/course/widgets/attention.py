"""Widgets about attention: positions, cells, ablation, context, methods, order of layers.

No maths: changes are made by annlib.course.intervening, pictures by figures.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan

import numpy as np
from torch import Tensor, nn, tensor

from annlib.course.attention import attention_of
from annlib.course.attention_metrics import house_answer, predict_labels, query_on
from annlib.course.commutation import Layer, exchange
from annlib.course.efficient import FAMILIES, method_of
from annlib.course.interventions import WAYS, changed_attention, near_edges
from annlib.course.plots import scenes
from annlib.course.plots.anchors import cell_map as draw_cell_map
from annlib.course.plots.attention import (
    Damages,
    say_answers_now,
    say_position,
    six_positions,
    what_is_left,
)
from annlib.course.plots.efficient import label_of, orders, say_orders
from annlib.course.plots.scenes import Picture
from annlib.course.replace_attention import attention_by, capture_qkv, say_method
from annlib.course.widgets.base import Explorer, Piece, choice, measure, menu, slider
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene
from annlib.model.ann import ANN, map_size


def cell_map(scene: Scene, levels: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24)) -> Explorer:
    """Choose a pyramid level and one of its cells."""
    size = map_size(scene.labels.shape)

    def draw(level: int, row: int, column: int) -> tuple[Picture, str]:
        index = min(row, level - 1) * level + min(column, level - 1)  # beyond: the last cell
        picture = draw_cell_map(scene.image, size, level, index)
        return picture, picture.alt

    controls = {
        "level": choice("level", levels, 6),
        "row": slider("cell row", 0, max(levels) - 1),
        "column": slider("cell column", 0, max(levels) - 1),
    }
    return Explorer(controls, draw)


BOTH, ASKS, ANSWERS = "asks and answers", "asks only", "answers only"


class SixPositions(Explorer):
    """Three sliders are the features of the last position; two more controls say how they count.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, features: Tensor, channels: Sequence[str], names: Sequence[str]) -> None:
        """features: (C, N), those of all positions. channels: C names. names: N names."""
        self.features, self.names = features, list(names)
        own = features[:, -1].tolist()
        sliders = [
            measure(name, start, last=8.0, step=0.5)
            for name, start in zip(channels, own, strict=True)
        ]
        controls = {f"feature_{at}": one for at, one in enumerate(sliders)} | {
            "role": menu("sliders", (BOTH, ASKS, ANSWERS)),
            "factor": choice("scores x", (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), 1.0),
        }
        super().__init__(controls, self.draw)

    def draw(
        self, feature_0: float, feature_1: float, feature_2: float, role: str, factor: float
    ) -> tuple[Picture, str]:
        """The matrix and the sentence for one state of the controls."""
        query, key = self.features.clone(), self.features.clone()
        chosen = tensor([feature_0, feature_1, feature_2])
        if role != ANSWERS:
            query[:, -1] = chosen
        if role != ASKS:
            key[:, -1] = chosen
        said = say_position(query, key, self.names, factor, at=len(self.names) - 1)
        return six_positions(query, key, self.names, factor), said


"""Switch off what a block looks at, and read what the network then says.

No maths: changes are made by annlib.course.interventions, pictures by figures.
"""


class SwitchOff(Explorer):
    """A slider switches off k weights of each row; menus choose the block, the way, the house.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as sentences.
    """

    def __init__(
        self, model: nn.Module, scene: Scene, blocks: Mapping[str, str], damages: Damages
    ) -> None:
        """blocks: name in the menu -> path. damages: what was measured over many scenes."""
        self.model, self.scene, self.blocks, self.damages = model, scene, blocks, damages
        houses = {f"{house.paint} house": house for house in scene.houses}
        self.houses = houses
        measured = sorted({k for _, _, k in damages})
        controls = {
            "block": menu("block", blocks),
            "way": menu("switch off", WAYS),
            "k": choice("k", measured, measured[0]),
            "house": menu("asks", houses),
        }
        super().__init__(controls, self.draw)

    def draw(self, block: str, way: str, k: int, house: str) -> list[Piece]:
        """The picture and the sentences for one state of the controls."""
        path, query = self.blocks[block], query_on(self.scene, self.houses[house])
        with changed_attention(self.model, partial(WAYS[way], k=k), path):
            left = attention_of(self.model, self.scene.image)[path]
            labels = predict_labels(self.model, self.scene.image)
        shown = [
            what_is_left(self.scene, left, query, labels, path.partition(".")[0]),
            f"{block} without {k}, {way}: {say_answers_now(self.scene, labels)}",
        ]
        if (found := self.damages.get((path, way, k))) is not None:
            told = f"house accuracy {found.houses:.3f}, mIoU {found.miou:.3f}"
            shown.append(f"Over many scenes: {told}.")
        return shown


BLOCKS = {
    "AFNB: what the low level answers": "afnb.attention",
    "APNB: what the map answers itself": "apnb.attention",
}


def context_volume(model: ANN, scene: Scene) -> Explorer:
    """Multiply what one block fetches, and see what the network then says."""
    near = near_edges(scene.labels)
    before = predict_labels(model, scene.image)

    def draw(block: str, factor: float) -> tuple[scenes.Picture, str]:
        with changed_attention(model, lambda weights: factor * weights, BLOCKS[block]):
            labels = predict_labels(model, scene.image)
        said = {"as trained": [before], f"context x {factor:g}": [labels]}
        answers = [CLASS_NAMES[house_answer(labels, scene, house)] for house in scene.houses]
        right = labels == scene.labels
        return scenes.predictions([scene], said), (
            f"Context of {block.partition(':')[0]} x {factor:g}: houses are named "
            f"{', '.join(answers)}; {mean_of(right, near):.1%} of the pixels at edges are right."
        )

    controls = {
        "block": menu("block", BLOCKS),
        "factor": measure("context x", 1.0, last=2.0, step=0.25),
    }
    return Explorer(controls, draw)


def mean_of(right: np.ndarray, mask: np.ndarray) -> float:
    """The share of right pixels in a mask; nan for an empty one.  bool (H, W) each"""
    return float(right[mask].mean()) if mask.any() else nan


STEPS = ("cheapest", "middle", "dearest")


class MethodChooser(Explorer):
    """A menu of methods, their size in three steps, and a house that asks.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, model: nn.Module, scene: Scene) -> None:
        """model: a network with one non-local block."""
        self.model, self.scene, self.asked = model, scene, capture_qkv(model, scene.image)
        houses = [(f"{house.paint} house", at) for at, house in enumerate(scene.houses)]
        controls = {
            "name": menu("method", FAMILIES),
            "step": choice("size", {step: at for at, step in enumerate(STEPS)}, len(STEPS) - 1),
            "index": menu("asks", houses),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, step: int, index: int) -> tuple[scenes.Picture, str]:
        """The picture and the sentence for one state of the controls."""
        options = FAMILIES[name].options
        option = options[min(step, len(options) - 1)]  # some methods have one size only
        attention = attention_by(method_of(name, option, self.asked.size), self.asked)
        query = query_on(self.scene, self.scene.houses[index])
        picture = scenes.attention(self.scene.image, attention, *query, label_of(name, option), "")
        return picture, say_method(self.model, name, option, self.scene, index)


SCALES = (1, 2, 3, 6, 8, 16)


class OrderSwap(Explorer):
    """Layer, cells and channel; both orders as pictures, and how far apart they are.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, layers: Mapping[str, Layer], features: Tensor) -> None:
        """layers: name in the menu -> what is done to features (B, C, H, W)"""
        self.layers, self.features = layers, features
        controls = {
            "name": menu("layer", layers),
            "cells": choice("n x n", SCALES, 8),
            "channel": slider("channel", 0, features.shape[1] - 1),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, cells: int, channel: int) -> tuple[Picture, str]:
        """The maps and the sentence for one state of the controls."""
        found = exchange(self.layers[name], self.features, cells)
        return orders(found, channel, name), say_orders(found, channel, name)
