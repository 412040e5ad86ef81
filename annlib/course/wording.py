"""Scenes, answers and attention in words: for alternative texts, and for state beside a slider."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention
from annlib.course.matching import class_masses, entropy
from annlib.course.predicting import house_answer
from annlib.data.scenes import CLASS_NAMES, PATTERNS, House, Scene


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
