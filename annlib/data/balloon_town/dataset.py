"""Balloon Town: procedural scenes in which the class of a house needs long-range context.

A house is a home, a shop or a school according to the pattern (belt, stripe, disc) of the balloon
that has the house's paint, far away in the sky. The house itself looks the same for all three: a
local network can only guess (1/3); one that counts patterns but does not match paints can only vote
(11/18 = 0.61: 17/27 with three balloons, 16/27 with four).

One scene is a `Layout` (layout.py, from stream 0 of the seed), painted over a decoration from
stream 1. Patterns are the last draw of the plan, and the decoration does not depend on them:
changing them alone makes the counterfactual scene. The same seed gives the same bytes on every
machine; painting.py says why.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from annlib.data.balloon_town.layout import CLASS_NAMES, PALETTE, Scene, plan_scene, with_patterns
from annlib.data.balloon_town.painting import paint_scene
from annlib.files import all_or_nothing


def make_scene(
    seed: int, *, patterns: Sequence[int] | None = None, radius: float | None = None
) -> Scene:
    """Plan and paint a scene; patterns and radius (pixels) of its balloons are random if None."""
    return paint_scene(plan_scene(seed, patterns=patterns, radius=radius))


def repaint(scene: Scene, balloon_index: int, pattern: int) -> Scene:
    """The counterfactual: a balloon gets another pattern, and the house that it decides follows."""
    patterns = [balloon.pattern for balloon in scene.balloons]
    patterns[balloon_index] = pattern
    return paint_scene(with_patterns(scene, patterns))


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Scenes of consecutive seeds, each painted once and then kept in memory (0.12 MB each)."""

    def __init__(self, num_scenes: int, first_seed: int = 0) -> None:
        self.num_scenes, self.first_seed = num_scenes, first_seed
        self.made: dict[int, Scene] = {}

    def __len__(self) -> int:
        return self.num_scenes

    def scene(self, index: int) -> Scene:
        """With its layout and instances, which `[index]` leaves out."""
        if not 0 <= index < self.num_scenes:
            raise IndexError(f"scene {index} is not one of the {self.num_scenes} of this data set")
        if index not in self.made:
            self.made[index] = make_scene(self.first_seed + index)
        return self.made[index]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Copies: image uint8 (3, H, W), labels uint8 (H, W)."""
        scene = self.scene(index)
        image = torch.from_numpy(scene.image.transpose(2, 0, 1).copy())
        return image, torch.from_numpy(scene.labels.copy())


def write_scenes(folder: str | Path, num_scenes: int, first_seed: int = 0) -> None:
    """Write images/SEED.png, labels/SEED.png (class indices) and classes.txt; all or nothing."""
    with all_or_nothing(Path(folder)) as partial:
        for part in ("images", "labels"):
            (partial / part).mkdir()
        for seed in range(first_seed, first_seed + num_scenes):
            scene = make_scene(seed)
            Image.fromarray(scene.image).save(partial / "images" / f"{seed:06d}.png")
            Image.fromarray(scene.labels).save(partial / "labels" / f"{seed:06d}.png")
        rows = zip(CLASS_NAMES, PALETTE.tolist(), strict=True)
        lines = [f"{name} {red} {green} {blue}\n" for name, (red, green, blue) in rows]
        (partial / "classes.txt").write_text("".join([*lines, "ignore 255\n"]))
