"""The two maps that an ANN brings together: caught, changed, and with their roles exchanged.

B batch, C channels, H x W pixels of the image, h x w positions of a map, S anchors.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from annlib.config import IGNORE_INDEX
from annlib.course.attention import model_input
from annlib.course.predicting import house_answer, predict_labels
from annlib.course.projections import Projections, projections
from annlib.data.scenes import Scene
from annlib.engine.inference import inference_of
from annlib.model.ann import ANN

Change = Callable[[Tensor], Tensor]  # a map (B, C, h, w) -> the map that is used instead


class Score(NamedTuple):
    """What became of scenes: shares between 0 and 1."""

    edges: float  # right pixels among those near another class
    inside: float  # right pixels among all others
    houses: float  # houses named rightly


def unchanged(maps: Tensor) -> Tensor:
    return maps


@contextmanager
def changed_levels(model: ANN, low: Change = unchanged, high: Change = unchanged) -> Iterator[None]:
    """Within it, the AFNB gets low(c4) and high(c5); the rest of the network is as it was."""
    hook = model.afnb.register_forward_pre_hook(
        lambda block, maps: (low(maps[0]), high(maps[1])),
    )
    try:
        yield
    finally:
        hook.remove()


def coarse(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """A map whose cells, `size` of them, each hold their mean.  (B, C, h, w) -> same"""
    return interpolate(adaptive_avg_pool2d(maps, size), maps.shape[2:], mode="nearest")


def low_and_high(model: ANN, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """c4 and c5 of a picture.  uint8 (H, W, 3) -> (1, Cl, h, w), (1, Ch, h, w)"""
    with inference_of(model):
        return model.backbone(model_input(image).to(next(model.parameters()).device))


def projections_across(model: ANN, image: np.ndarray, swapped: bool) -> Projections:
    """What the AFNB compares, uint8 (H, W, 3); swapped: with c4 asking and c5 answering.

    Raises ValueError where the projections of one map do not fit the other.
    """
    low, high = low_and_high(model, image)
    asks, answers = (low, high) if swapped else (high, low)
    if asks.shape[1] != high.shape[1]:
        raise ValueError(f"c4 has {low.shape[1]} channels, c5 {high.shape[1]}: no role to swap.")
    block = model.afnb.attention
    with inference_of(model):
        return projections(block, block.to_query(asks), block.to_key(answers), image.shape[:2])


def near_edges(labels: np.ndarray, reach: int = 3) -> np.ndarray:
    """Which labelled pixels have another class at most `reach` away.  (H, W) -> bool (H, W)"""
    height, width = labels.shape
    around = np.pad(labels, reach, mode="edge")
    steps = range(2 * reach + 1)
    near = np.zeros(labels.shape, bool)
    for down in steps:
        for right in steps:
            other = around[down : down + height, right : right + width]
            near |= (other != labels) & (other != IGNORE_INDEX)
    return near & (labels != IGNORE_INDEX)


def score(model: ANN, scenes: Sequence[Scene]) -> Score:
    """At edges, elsewhere and on houses: means over scenes."""
    edges, inside, houses = [], [], []
    for scene in scenes:
        labels = predict_labels(model, scene.image)
        right, near = labels == scene.labels, near_edges(scene.labels)
        edges.append(right[near].mean())
        inside.append(right[~near & (scene.labels != IGNORE_INDEX)].mean())
        houses += [house_answer(labels, scene, house) == house.label for house in scene.houses]
    return Score(float(mean(edges)), float(mean(inside)), mean(map(float, houses)))


def strength(maps: Tensor) -> np.ndarray:
    """How strongly each position of a map responds.  (1, C, h, w) -> (h, w)"""
    return torch.linalg.vector_norm(maps[0], dim=0).cpu().numpy()
