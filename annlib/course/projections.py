"""Queries and keys: all that attention weights are made of, and far less to send than they are.

H x W pixels of the image, h x w positions of the map, N = h * w, C channels, S what a position
chooses from: S anchors with a pyramid, all N positions without one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from annlib.course.attention import (
    Attention,
    Size,
    anchor_boxes,
    attention_blocks,
    model_input,
    position_boxes,
    to_pixels,
)
from annlib.engine.inference import inference_of
from annlib.model.ann import map_size
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.pooling import pyramid_means


class Projections(NamedTuple):
    """What one block compares for an image; softmax(queries @ keys.T) are its weights (N, S)."""

    queries: Tensor  # float32 (N, C)
    keys: Tensor  # float32 (S, C), the scale of the scores included
    map_size: Size
    image_size: Size
    pool_scales: tuple[int, ...] | None  # None: an ordinary non-local block, S = N

    def attention(self, levels: Sequence[int] | None = None, factor: float = 1.0) -> Attention:
        """The weights; with the anchors of some of its pyramid levels only, and scores x factor.

        Raises ValueError for a level that the block does not have.
        """
        keys, scales = self.keys, self.pool_scales
        if levels is not None and scales is not None:
            scales = tuple(levels)
            keys = torch.cat([self.keys_of(level) for level in scales])
        weights = (factor * self.queries @ keys.T).softmax(dim=-1)
        return Attention(weights, self.map_size, self.image_size, scales)

    def keys_of(self, level: int) -> Tensor:
        """Those of one pyramid level.  -> (level * level, C)"""
        if level not in (self.pool_scales or ()):
            raise ValueError(
                f"There is no pyramid level {level} here; there are {self.pool_scales or 'none'}."
            )
        before = self.pool_scales[: self.pool_scales.index(level)]
        start = sum(scale * scale for scale in before)
        return self.keys[start : start + level * level]

    def boxes(self) -> Tensor:
        """The pixels that each of the S stands for.  -> (S, 4) top, left, bottom, right"""
        scales = self.pool_scales
        boxes = anchor_boxes(scales, *self.map_size) if scales else position_boxes(*self.map_size)
        return to_pixels(boxes, self.map_size, self.image_size)


@contextmanager
def caught(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Within it, every forward leaves what these modules gave back."""
    found: dict[str, Tensor] = {}

    def keep_as(name: str):
        return lambda module, inputs, output: found.__setitem__(name, output.detach())

    handles = [module.register_forward_hook(keep_as(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def projections_of(model: nn.Module, image: np.ndarray) -> dict[str, Projections]:
    """Queries and keys of each attention block for a picture, uint8 (H, W, 3) RGB.

    Raises ValueError for a model without attention.
    """
    blocks = attention_blocks(model)
    watched = {}
    for path, block in blocks.items():
        watched[f"{path} key"] = block.to_key
        if getattr(block, "to_query", None) is not None:
            watched[f"{path} query"] = block.to_query
    with inference_of(model), caught(watched) as found:
        model(model_input(image).to(next(model.parameters()).device))
    return {
        path: projections(
            block,
            found.get(f"{path} query", found[f"{path} key"]),
            found[f"{path} key"],
            image.shape[:2],
        )
        for path, block in blocks.items()
    }


def projections(block: nn.Module, query: Tensor, key: Tensor, image_size: Size) -> Projections:
    """One block's, from what its layers gave: query (1, C, h, w), key (1, C, h, w)."""
    scales = block.pool.pool_scales if isinstance(block, AsymmetricAttention) else None
    query, key = query.float().cpu(), key.float().cpu()
    keys = key.flatten(2).mT if scales is None else pyramid_means(key, scales)
    size = map_size(image_size)
    return Projections(
        query.flatten(2).mT[0].clone(), block.scale * keys[0], size, image_size, scales
    )
