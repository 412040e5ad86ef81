"""Captures attention weights from a model and lays them out over the image.

H x W pixels of the image, h x w positions of the map, N = h * w, S what a position chooses from:
S anchors with a pyramid, all N positions without one.

H x W pixels of the image, h x w positions of the map, N = h * w, C channels, S what a position
chooses from: S anchors with a pyramid, all N positions without one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from annlib.data.transforms import normalise
from annlib.engine.inference import inference_of
from annlib.model.ann import map_size
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.fused import cell_edges, pyramid_means

Size = tuple[int, int]  # (height, width)


class Attention(NamedTuple):
    """What one block did with an image: row n is the choice of position n, n = row * w + x."""

    weights: Tensor  # (N, S), rows sum to 1
    map_size: Size
    image_size: Size
    pool_scales: tuple[int, ...] | None  # None: an ordinary non-local block, S = N

    def row(self, y: float, x: float) -> Tensor:
        """The choice made for pixel (y, x) of the image.  -> (S,)"""
        return self.weights[query_index(y, x, self.image_size, self.map_size)]

    def picture(self, y: float, x: float) -> Tensor:
        """The same choice as a map.  -> (h, w), sums to 1"""
        return attention_picture(self.row(y, x), self.pool_scales, *self.map_size)

    def rescaled(self, factor: float) -> "Attention":
        """What it would have done with all scores times `factor`: the softmax of factor * log w."""
        scores = self.weights.clamp(min=torch.finfo(self.weights.dtype).tiny).log()
        return self._replace(weights=(factor * scores).softmax(dim=-1))

    def boxes(self) -> Tensor:
        """The pixels that each of the S stands for.  -> (S, 4) top, left, bottom, right"""
        scales = self.pool_scales
        boxes = anchor_boxes(scales, *self.map_size) if scales else position_boxes(*self.map_size)
        return to_pixels(boxes, self.map_size, self.image_size)


def attention_blocks(model: nn.Module) -> dict[str, NonLocalAttention | AsymmetricAttention]:
    """The blocks of a model that attend, by their path in it.

    Raises ValueError for a model that has none.
    """
    blocks = {
        name.removeprefix("_orig_mod.") or "attention": module  # torch.compile adds the prefix
        for name, module in model.named_modules()
        if isinstance(module, NonLocalAttention | AsymmetricAttention)
    }
    if not blocks:
        raise ValueError(
            f"This {type(model).__name__} has no attention block, so there are no weights to look "
            "at. The heads that attend are 'nonlocal', 'apnb' and 'ann'; 'fcn' and 'ppm' do not."
        )
    return blocks


@contextmanager
def capture_attention(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within it, every forward leaves its weights: {"afnb.attention": (B, N, S) float32, ...}.

    Raises ValueError for a model without attention, RuntimeError if nothing came by until the end.
    """
    maps: dict[str, Tensor] = {}

    def keep_as(name: str):
        def keep(softmax: nn.Module, inputs: tuple[Tensor], weights: Tensor) -> None:
            maps[name] = weights.detach().float()

        return keep

    handles = [
        block.softmax.register_forward_hook(keep_as(name))
        for name, block in attention_blocks(model).items()
    ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
    if not maps:
        raise RuntimeError(
            "No attention was captured: the model did not run inside the `with` block, or it is "
            "compiled and skips hooks. Call model(images) inside the block, and the model itself, "
            "not what torch.compile made of it."
        )


def attention_of(model: nn.Module, image: np.ndarray) -> dict[str, Attention]:
    """What each attention block of a model does with a picture, uint8 (H, W, 3) RGB."""
    image_size = image.shape[:2]
    with inference_of(model), capture_attention(model) as maps:
        model(model_input(image).to(next(model.parameters()).device))
    blocks = attention_blocks(model)
    return {
        name: Attention(
            weights[0].to("cpu", copy=True),
            map_size(image_size),
            image_size,
            blocks[name].pool.pool_scales
            if isinstance(blocks[name], AsymmetricAttention)
            else None,
        )
        for name, weights in maps.items()
    }


def model_input(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) RGB -> float32 (1, 3, H, W) normalised"""
    return normalise(rearrange(torch.from_numpy(image.copy()), "h w c -> 1 c h w"))


def query_index(y: float, x: float, image_size: Size, map_size: Size) -> int:
    """Which position, 0 to N - 1, stands for pixel (y, x).  Raises ValueError outside the image."""
    (height, width), (rows, columns) = image_size, map_size
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(
            f"Pixel (row {y}, column {x}) is outside the image of {height} x {width}: rows go from "
            f"0 to {height - 1}, columns from 0 to {width - 1}."
        )
    return int(y * rows / height) * columns + int(x * columns / width)


def anchor_boxes(pool_scales: Sequence[int], height: int, width: int) -> Tensor:
    """The cell that each anchor is the mean of.  -> int64 (S, 4) top, left, bottom, right

    Half-open, in positions of a (height, width) map. Neighbours overlap by one position where the
    map does not divide by the grid: a cell starts at the floor and ends at the ceiling.
    """
    boxes = []
    for scale in pool_scales:
        tops, bottoms = cell_edges(height, scale)
        lefts, rights = cell_edges(width, scale)
        boxes += [
            (top, left, bottom, right)
            for top, bottom in zip(tops, bottoms, strict=True)
            for left, right in zip(lefts, rights, strict=True)
        ]
    return torch.tensor(boxes)


def position_boxes(height: int, width: int) -> Tensor:
    """A box of one position for each of N.  -> int64 (N, 4)"""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([y, x, y + 1, x + 1], dim=-1).flatten(0, 1)


def to_pixels(boxes: Tensor, map_size: Size, image_size: Size) -> Tensor:
    """Boxes in positions of the map -> float32 boxes in pixels of the image.  (S, 4) -> (S, 4)"""
    scale_y, scale_x = image_size[0] / map_size[0], image_size[1] / map_size[1]
    return boxes * torch.tensor([scale_y, scale_x, scale_y, scale_x])


def spread(weights: Tensor, pool_scales: Sequence[int], height: int, width: int) -> Tensor:
    """Each anchor's weight, spread evenly over its cell.  (..., S) -> (..., height, width)

    The sum stays what it was, so a position reads: how much of the choice ends up here.
    """
    top, left, bottom, right = anchor_boxes(pool_scales, height, width).T[..., None]  # each (S, 1)
    y, x = torch.arange(height), torch.arange(width)
    inside_y = ((top <= y) & (y < bottom)).to(weights)  # (S, height)
    inside_x = ((left <= x) & (x < right)).to(weights)  # (S, width)
    area = inside_y.sum(1) * inside_x.sum(1)
    return einsum(weights / area, inside_y, inside_x, "... s, s y, s x -> ... y x")


def attention_picture(
    weights: Tensor, pool_scales: Sequence[int] | None, height: int, width: int
) -> Tensor:
    """Weights as a map, for either kind of block.  (..., S) -> (..., height, width)"""
    if pool_scales is None:
        return weights.unflatten(-1, (height, width))
    return spread(weights, pool_scales, height, width)


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
