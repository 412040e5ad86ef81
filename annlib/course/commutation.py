"""Which layers commute with average pooling: both orders, and their difference.

B batch, C channels, H x W the map, n x n cells.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.course.attention import model_input
from annlib.data.balloon_town.dataset import make_scene
from annlib.seeds import seeded

Layer = Callable[[Tensor], Tensor]


class Exchange(NamedTuple):
    """The results of both orders, (B, C, n, n) each."""

    layer_first: Tensor
    means_first: Tensor

    @property
    def difference(self) -> float:
        """The largest, relative to the largest number."""
        difference = (self.layer_first - self.means_first).abs().max()
        return float(difference / self.layer_first.abs().max())


@torch.no_grad()
def exchange(layer: Layer, features: Tensor, pool_scale: int) -> Exchange:
    """Both orders, on features (B, C, H, W)."""
    layer_first = adaptive_avg_pool2d(layer(features), pool_scale)
    return Exchange(layer_first, layer(adaptive_avg_pool2d(features, pool_scale)))


def layers(channels: int) -> dict[str, nn.Module]:
    """Six layers to try, with random weights, each (B, C, H, W) -> (B, C, H, W)."""
    with seeded("layers to exchange"):
        in_inference, in_training = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.uniform_(in_inference.running_var, 0.5, 2)
        for values in (in_inference.running_mean, in_inference.weight, in_inference.bias):
            nn.init.normal_(values)
        in_training.load_state_dict(in_inference.state_dict())
        return {
            "1 x 1 convolution": nn.Conv2d(channels, channels, 1),
            "3 x 3 convolution": nn.Conv2d(channels, channels, 3, padding=1),
            "batch norm, inference": in_inference.eval(),
            "batch norm, training": in_training.train(),
            "ReLU": nn.ReLU(),
            "softmax over channels": nn.Softmax(dim=1),
        }


@torch.no_grad()
def key_features(model: nn.Module, seeds: range) -> Tensor:
    """The output of the key projection of a network's AFNB before its ReLU.  -> (B, C, H, W)"""
    images = torch.cat([model_input(make_scene(seed).image) for seed in seeds])
    projection, norm, _ = model.afnb.attention.to_key
    low, _ = model.eval().backbone(images)
    return norm(projection(low))
