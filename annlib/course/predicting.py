"""What a model says about one scene, pixel by pixel and house by house."""

from collections.abc import Iterable

import numpy as np
from torch import nn

from annlib.config import TestConfig
from annlib.course.attention import model_input
from annlib.data.scenes import House, Scene
from annlib.engine.inference import labeller
from annlib.model.ann import OUTPUT_STRIDE


def pixel_view(position_view: int) -> int:
    """Side of the square that the answer for a pixel may depend on, around that pixel.

    position_view: side of what one position of the map sees. Bilinear enlargement mixes positions
    whose middles are up to 11 pixels away: one stride and a half, less the pixel itself.
    """
    return position_view + 2 * (OUTPUT_STRIDE + OUTPUT_STRIDE // 2 - 1)


def predict_labels(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """The most likely class of each pixel.  uint8 (H, W, 3) RGB -> uint8 (H, W)"""
    return labeller(model, TestConfig())(model_input(image))[0].cpu().numpy()


def house_answer(labels: np.ndarray, scene: Scene, house: House) -> int:
    """What a house was taken for: the class, of all ten, of most of its labelled pixels.

    labels: predicted classes (H, W).
    """
    inside = scene.mask(house) & (scene.labels == house.label)  # without the ignored border
    return int(np.bincount(labels[inside]).argmax())


def house_answers(model: nn.Module, scene: Scene) -> list[int]:
    """What a model takes each house of a scene for, from left to right."""
    labels = predict_labels(model, scene.image)
    return [house_answer(labels, scene, house) for house in scene.houses]


def count_right(model: nn.Module, scenes: Iterable[Scene]) -> tuple[int, int]:
    """How many houses a model names rightly, and how many there are."""
    verdicts = [
        answer == house.label
        for scene in scenes
        for answer, house in zip(house_answers(model, scene), scene.houses, strict=True)
    ]
    return sum(verdicts), len(verdicts)
