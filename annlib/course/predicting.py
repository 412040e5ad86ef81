"""What a model says about one scene, pixel by pixel and house by house."""

from collections.abc import Iterable

import numpy as np
from torch import nn

from annlib.config import TestConfig
from annlib.course.attention import model_input
from annlib.data.scenes import HOUSES, House, Scene
from annlib.engine.inference import predictor


def predict_labels(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """The most likely class of each pixel.  uint8 (H, W, 3) RGB -> uint8 (H, W)"""
    logits = predictor(model, TestConfig())(model_input(image))
    return logits[0].argmax(0).cpu().numpy().astype(np.uint8)


def house_answer(labels: np.ndarray, scene: Scene, house: House) -> int | None:
    """The kind of house that most pixels of a house were taken for; None if no pixel was.

    labels: predicted classes (H, W).
    """
    votes = [int((labels[scene.mask(house)] == kind).sum()) for kind in HOUSES]
    return HOUSES[int(np.argmax(votes))] if any(votes) else None


def count_right(model: nn.Module, scenes: Iterable[Scene]) -> tuple[int, int]:
    """How many houses a model names rightly, and how many there are."""
    verdicts = [
        house_answer(labels, scene, house) == house.label
        for scene in scenes
        for labels in [predict_labels(model, scene.image)]
        for house in scene.houses
    ]
    return sum(verdicts), len(verdicts)
