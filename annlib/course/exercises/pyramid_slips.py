"""Mistakes in the pyramid block of lesson 04, each with its advice.  H x W map, S anchors"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, interpolate

from annlib.model.asymmetric import APNB, AsymmetricAttention, PyramidPool


class PooledFirst(nn.Module):
    """The slip: sampling before the projection, whose ReLU then acts on means."""

    def __init__(self, attention: AsymmetricAttention):
        super().__init__()
        self.attention = attention

    def forward(self, query_map: Tensor, key_map: Tensor) -> Tensor:
        part = self.attention
        pooled = part.pool(key_map)[..., None]  # (B, C, S, 1)
        key, value = part.to_key(pooled)[..., 0], part.to_value(pooled)[..., 0]
        query = part.to_key(query_map).flatten(2)
        context = (part.scale * query.mT @ key).softmax(-1) @ value.mT
        return part.to_output(context.mT.unflatten(2, query_map.shape[2:]))


class Coarse(nn.Module):
    """The slip: a query that was sampled, and enlarged again."""

    def __init__(self, project: nn.Module, level: int):
        super().__init__()
        self.project, self.level = project, level

    def forward(self, features: Tensor) -> Tensor:
        few = nn.functional.adaptive_avg_pool2d(self.project(features), self.level)
        return interpolate(few, features.shape[2:], mode="nearest")


class MaxPool(PyramidPool):
    """The slip: the largest number of each cell."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([adaptive_max_pool2d(x, n).flatten(2) for n in self.pool_scales], -1)


def library_with(block: nn.Module, levels: tuple[int, ...], changes: dict[str, object]) -> APNB:
    """annlib's block with the student's parts, some of its steps done otherwise."""
    channels, keys = block.to_value.in_channels, block.to_value.out_channels
    library = APNB(channels, keys, keys, levels).eval()
    for name in ("to_key", "to_value", "to_output"):
        setattr(library.attention, name, block.get_submodule(name))
    library.fuse = block.fuse
    for name, part in changes.items():
        setattr(library.attention, name, part)
    return library


def slips(block: nn.Module, levels: tuple[int, ...], size: int) -> dict[str, dict[str, object]]:
    """Advice -> what to change in annlib's attention to make the same mistake."""
    num_anchors = sum(level * level for level in levels)
    return {
        "The scale is missing: divide the scores by √C of the keys.": {"scale": 1.0},
        "The scale is √S instead of √C of the keys.": {"scale": num_anchors**-0.5},
        "The scale is √N instead of √C of the keys.": {"scale": size**-0.5},
        "The softmax runs over N, those who ask. A row belongs to one position and must sum to 1 "
        "over the S anchors: the last axis.": {"softmax": nn.Softmax(dim=1)},
        "The softmax is missing.": {"softmax": nn.Identity()},
        "You take the largest number of each cell; an anchor is its mean.": {
            "pool": MaxPool(levels)
        },
        "You sample with 1, 3, 6, 8 whatever is asked for: use pool_scales.": {
            "pool": PyramidPool((1, 3, 6, 8))
        },
        "What is fetched must be the values, not the keys.": {"to_value": block.to_key},
    }
