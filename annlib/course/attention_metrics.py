"""Measures of attention: mass on classes, entropy, and whether a house attends to its balloon."""

from collections.abc import Iterable, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.config import IGNORE_INDEX, TestConfig
from annlib.course.attention import Attention, model_input
from annlib.data.balloon_town.layout import CLASS_NAMES, House, Scene, plan_scene
from annlib.engine.inference import make_label_predictor
from annlib.model.ann import OUTPUT_STRIDE


def pixel_view(position_view: int) -> int:
    """Side of the square that a pixel's prediction may depend on.  position_view: of a position

    Bilinear upsampling mixes positions whose middles are up to 11 pixels away: one stride and a
    half, less the pixel itself.
    """
    return position_view + 2 * (OUTPUT_STRIDE + OUTPUT_STRIDE // 2 - 1)


def predict_labels(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """The most likely class of each pixel.  uint8 (H, W, 3) RGB -> uint8 (H, W)"""
    return make_label_predictor(model, TestConfig())(model_input(image))[0].cpu().numpy()


def house_answer(labels: np.ndarray, scene: Scene, house: House) -> int:
    """The class, of all ten, of most labelled pixels of a house.  labels: predicted, (H, W)"""
    inside = scene.mask(house) & (scene.labels == house.label)  # without the ignored border
    return int(np.bincount(labels[inside]).argmax())


def house_answers(model: nn.Module, scene: Scene) -> list[int]:
    """The predicted classes of the houses of a scene, from left to right."""
    labels = predict_labels(model, scene.image)
    return [house_answer(labels, scene, house) for house in scene.houses]


def count_right(model: nn.Module, scenes: Iterable[Scene]) -> tuple[int, int]:
    """How many houses a model classifies correctly, and how many there are."""
    pairs = [p for s in scenes for p in zip(house_answers(model, s), s.houses, strict=True)]
    return sum(answer == house.label for answer, house in pairs), len(pairs)


def mass_on(attention_map: Tensor, mask: np.ndarray) -> Tensor:
    """The share of attention on a mask, by covered area.  (..., h, w), bool (H, W) -> (...)"""
    mask = torch.from_numpy(mask).to(attention_map)[None]
    return (attention_map * adaptive_avg_pool2d(mask, attention_map.shape[-2:])[0]).sum((-2, -1))


def entropy(weights: Tensor) -> Tensor:
    """In bits: 0 for all weight on one key, log2 S for equal weights.  (..., S) -> (...)"""
    return torch.special.entr(weights).sum(-1) / log(2)


def class_masses(
    attention_map: Tensor, labels: np.ndarray, names: Sequence[str] = CLASS_NAMES
) -> dict[str, float]:
    """Fractions of attention by class, largest first; they sum to 1.  (h, w), classes (H, W)"""
    masses = {
        "border" if c == IGNORE_INDEX else names[c]: float(mass_on(attention_map, labels == c))
        for c in np.unique(labels)
    }
    return dict(sorted(masses.items(), key=lambda item: -item[1]))


def query_on(scene: Scene, house: House) -> tuple[int, int]:
    """The pixel (y, x) of a house that is nearest to the middle of its visible part."""
    pixels = np.argwhere(scene.mask(house))
    y, x = pixels[np.square(pixels - pixels.mean(0)).sum(1).argmin()]
    return int(y), int(x)


class Match(NamedTuple):
    """The attention of the query in the middle of a house, in fractions of 1."""

    balloons: tuple[float, ...]  # mass on each balloon of the scene, from left to right
    own_house: float
    decided_by: int  # index of the balloon that decides the house's class

    @property
    def on_its_balloon(self) -> float:
        return self.balloons[self.decided_by]

    @property
    def is_matched(self) -> bool:
        """Whether the balloon that decides gets more than any other balloon."""
        others = [one for place, one in enumerate(self.balloons) if place != self.decided_by]
        return self.on_its_balloon > max(others, default=0.0)


def match(attention: Attention, scene: Scene, house: House) -> Match:
    """What the query in the middle of a house attends to."""
    found = attention.map_at(*query_on(scene, house))
    balloons = tuple(float(mass_on(found, scene.mask(balloon))) for balloon in scene.balloons)
    return Match(balloons, float(mass_on(found, scene.mask(house))), house.decided_by)


def hint_offsets(first_seed: int, num_scenes: int) -> np.ndarray:
    """From each house's middle to that of its balloon, of many scenes.  -> (n, 2) rows, columns"""
    layouts = map(plan_scene, range(first_seed, first_seed + num_scenes))
    both = [(h, layout.balloons[h.decided_by]) for layout in layouts for h in layout.houses]
    return np.array([((h.top + h.bottom) / 2 - b.y, (h.left + h.right) / 2 - b.x) for h, b in both])
