"""Where attention lands: its share on things of a scene, and whether a house finds its balloon.

H x W pixels of the image, h x w positions of the map, S what a position chooses from.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Attention
from annlib.data.scenes import CLASS_NAMES, House, Scene, plan_scene


def mass_on(picture: Tensor, mask: np.ndarray) -> Tensor:
    """The share of attention that falls on a mask.  (..., h, w), bool (H, W) -> (...)

    A position that the mask covers in part counts in part.
    """
    share = adaptive_avg_pool2d(torch.from_numpy(mask).to(picture)[None], picture.shape[-2:])[0]
    return (picture * share).sum((-2, -1))


def entropy(weights: Tensor) -> Tensor:
    """In bits: 0 for a single choice, log2 S for none.  (..., S) -> (...)"""
    return torch.special.entr(weights).sum(-1) / log(2)


def class_masses(
    picture: Tensor, labels: np.ndarray, names: Sequence[str] = CLASS_NAMES
) -> dict[str, float]:
    """Shares of attention by class, largest first, "border" for ignored pixels; they sum to 1.

    picture: (h, w). labels: class indices (H, W).
    """
    masses = {
        "border" if label == IGNORE_INDEX else names[label]: float(
            mass_on(picture, labels == label)
        )
        for label in np.unique(labels)
    }
    return dict(sorted(masses.items(), key=lambda item: -item[1]))


def query_on(scene: Scene, house: House) -> tuple[int, int]:
    """The pixel (y, x) of a house that is nearest to the middle of its visible part."""
    pixels = np.argwhere(scene.mask(house))
    nearest = np.square(pixels - pixels.mean(0)).sum(1).argmin()
    y, x = pixels[nearest]
    return int(y), int(x)


class Match(NamedTuple):
    """How the attention of one query on a house is divided: shares of 1."""

    balloons: tuple[float, ...]  # mass on each balloon of the scene, from left to right
    own_house: float
    decided_by: int  # index of the balloon that decides the house's class

    @property
    def on_its_balloon(self) -> float:
        return self.balloons[self.decided_by]

    @property
    def is_matched(self) -> bool:
        """Whether the balloon that decides gets more than any other balloon."""
        others = self.balloons[: self.decided_by] + self.balloons[self.decided_by + 1 :]
        return self.on_its_balloon > max(others, default=0.0)


def match(attention: Attention, scene: Scene, house: House) -> Match:
    """Where the query in the middle of a house looks."""
    picture = attention.picture(*query_on(scene, house))
    balloons = tuple(float(mass_on(picture, scene.mask(balloon))) for balloon in scene.balloons)
    return Match(balloons, float(mass_on(picture, scene.mask(house))), house.decided_by)


def hint_offsets(first_seed: int, num_scenes: int) -> np.ndarray:
    """How far houses are from what decides them, middle to middle: rows and columns.  -> (n, 2)

    Of scenes with consecutive seeds, which are planned but not painted.
    """
    layouts = map(plan_scene, range(first_seed, first_seed + num_scenes))
    pairs = [(h, layout.balloons[h.decided_by]) for layout in layouts for h in layout.houses]
    return np.array(
        [((h.top + h.bottom) / 2 - b.y, (h.left + h.right) / 2 - b.x) for h, b in pairs]
    )
