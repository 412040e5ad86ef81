"""Captures attention weights, queries and keys of a model and maps them onto the image.

H x W pixels of the image, h x w positions of the feature map, N = h * w query positions, C
channels, S keys: the anchors of a pyramid, or all N positions without one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from annlib.data.io import normalise
from annlib.engine.inference import inference_of
from annlib.model.ann import map_size
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention

Size = tuple[int, int]  # (height, width)
Block = NonLocalAttention | AsymmetricAttention
Output = Tensor | tuple[Tensor, ...]


class Attention(NamedTuple):
    """Attention weights of one block for one image; row n belongs to position n = row * w + x."""

    weights: Tensor  # (N, S), rows sum to 1
    map_size: Size
    image_size: Size
    pool_scales: tuple[int, ...] | None  # None: an ordinary non-local block, S = N

    def row(self, y: float, x: float) -> Tensor:
        """The weights of the query position that holds pixel (y, x).  -> (S,)"""
        return self.weights[query_index(y, x, self.image_size, self.map_size)]

    def map_at(self, y: float, x: float) -> Tensor:
        """The same weights as a map.  -> (h, w), sums to 1"""
        return attention_map(self.row(y, x), self.pool_scales, *self.map_size)

    def boxes(self) -> Tensor:
        """The pixels that each key stands for.  -> float32 (S, 4) top, left, bottom, right"""
        boxes = anchor_boxes(self.pool_scales, *self.map_size)
        return to_pixels(boxes, self.map_size, self.image_size)


class Projections(NamedTuple):
    """Queries and keys of one block for one image; softmax(queries @ keys.T) are its weights."""

    queries: Tensor  # float32 (N, C)
    keys: Tensor  # float32 (S, C), the scale of the scores included
    map_size: Size
    image_size: Size
    pool_scales: tuple[int, ...] | None

    boxes = Attention.boxes

    def attention(self, levels: Sequence[int] | None = None, factor: float = 1.0) -> Attention:
        """The weights of some pyramid levels, all scores x factor.  Raises ValueError for others"""
        keys, scales = self.keys, self.pool_scales
        if levels is not None and scales is not None:
            by_level = dict(zip(scales, keys.split([n * n for n in scales]), strict=True))
            if absent := [level for level in levels if level not in by_level]:
                raise ValueError(f"There is no pyramid level {absent[0]} here; there are {scales}.")
            scales, keys = tuple(levels), torch.cat([by_level[level] for level in levels])
        weights = (factor * self.queries @ keys.T).softmax(dim=-1)
        return Attention(weights, self.map_size, self.image_size, scales)


def attention_blocks(model: nn.Module) -> dict[str, Block]:
    """The attention blocks of a model by their path in it.  Raises ValueError for none."""
    blocks = {
        name.removeprefix("_orig_mod.") or "attention": module  # torch.compile adds the prefix
        for name, module in model.named_modules()
        if isinstance(module, Block)
    }
    if not blocks:
        raise ValueError(
            f"This {type(model).__name__} has no attention block, so there are no weights to look "
            "at. The heads that attend are 'nonlocal', 'apnb' and 'ann'; 'fcn' and 'ppm' do not."
        )
    return blocks


@contextmanager
def capture(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Output]]:
    """Within it, forward passes store what these modules put out, as they run: {name: float32}."""
    outputs: dict[str, Output] = {}

    def store(name: str, module: nn.Module, inputs: tuple, output: Output) -> None:
        several = isinstance(output, tuple)
        detached = tuple(one.detach().float() for one in (output if several else (output,)))
        outputs[name] = detached if several else detached[0]

    with ExitStack() as hooks:  # removes them after an error, too
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(store, name)))
        yield outputs


@contextmanager
def capture_attention(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within it, every forward pass stores its weights: {"afnb.attention": (B, N, S) float32, ...}.

    Raises ValueError for a model without attention, RuntimeError if no forward pass was made.
    """
    with capture({name: block.softmax for name, block in attention_blocks(model).items()}) as maps:
        yield maps
    if not maps:
        raise RuntimeError(
            "No attention was captured: the model did not run inside the `with` block, or it is "
            "compiled and skips hooks. Call model(images) inside the block, and the model itself, "
            "not what torch.compile made of it."
        )


def capture_outputs(
    model: nn.Module, image: np.ndarray, modules: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """The outputs of some modules for one image, uint8 (H, W, 3) RGB.  -> on the CPU, batch of 1"""
    with inference_of(model), capture(modules) as outputs:
        model(model_input(image).to(next(model.parameters()).device))
    return {name: output.to("cpu", copy=True) for name, output in outputs.items()}


def attention_of(model: nn.Module, image: np.ndarray) -> dict[str, Attention]:
    """The attention of each block for one image, uint8 (H, W, 3) RGB."""
    blocks, size = attention_blocks(model), image.shape[:2]
    maps = capture_outputs(model, image, {name: block.softmax for name, block in blocks.items()})
    return {
        name: Attention(weights[0], map_size(size), size, pool_scales_of(blocks[name]))
        for name, weights in maps.items()
    }


def projections_of(model: nn.Module, image: np.ndarray) -> dict[str, Projections]:
    """Queries and keys of each attention block for one image, uint8 (H, W, 3) RGB."""
    blocks = attention_blocks(model)
    layers = {f"{path} key": block.to_key for path, block in blocks.items()}
    layers |= {f"{path} query": to_query(block) for path, block in blocks.items()}
    found = capture_outputs(model, image, layers)
    return {
        path: project(block, found[f"{path} query"], found[f"{path} key"], image.shape[:2])
        for path, block in blocks.items()
    }


def project(block: Block, query: Tensor, key: Tensor, image_size: Size) -> Projections:
    """The projections of a block from the outputs of its layers.  (1, C, h, w), (1, C, h, w)"""
    scales, key = pool_scales_of(block), key.float()
    keys = key.flatten(2) if scales is None else block.pool(key)  # (1, C, S)
    queries, keys = query.float().flatten(2)[0].mT.cpu(), block.scale * keys[0].mT.cpu()
    return Projections(queries, keys, map_size(image_size), image_size, scales)


def to_query(block: Block) -> nn.Module:
    """The layer that makes the queries: it is that of the keys, except in the AFNB."""
    return getattr(block, "to_query", None) or block.to_key


def pool_scales_of(block: Block) -> tuple[int, ...] | None:
    return block.pool.pool_scales if isinstance(block, AsymmetricAttention) else None


def model_input(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) RGB -> float32 (1, 3, H, W) normalised"""
    return normalise(rearrange(torch.from_numpy(image.copy()), "h w c -> 1 c h w"))


def query_index(y: float, x: float, image_size: Size, map_size: Size) -> int:
    """The position, 0 to N - 1, that holds pixel (y, x).  Raises ValueError outside the image."""
    (height, width), (rows, columns) = image_size, map_size
    if not (0 <= y < height and 0 <= x < width):
        raise ValueError(
            f"Pixel (row {y}, column {x}) is outside the image of {height} x {width}: rows go from "
            f"0 to {height - 1}, columns from 0 to {width - 1}."
        )
    return int(y * rows / height) * columns + int(x * columns / width)


def anchor_boxes(pool_scales: Sequence[int] | None, height: int, width: int) -> Tensor:
    """The cell that each anchor is the mean of; one for each position if there is no pyramid.

    -> int64 (S, 4) top, left, bottom, right: half-open, in positions of a (height, width) map.
    Neighbours overlap by one position where the map does not divide by the grid, because adaptive
    pooling starts a cell at the floor and ends it at the ceiling.
    """
    grids = [(height, width)] if pool_scales is None else [(n, n) for n in pool_scales]
    return torch.tensor(
        [
            (y * height // m, x * width // n, -(-(y + 1) * height // m), -(-(x + 1) * width // n))
            for m, n in grids
            for y, x in np.ndindex(m, n)
        ]
    )


def to_pixels(boxes: Tensor, map_size: Size, image_size: Size) -> Tensor:
    """Boxes in positions of the map -> float32 boxes in pixels of the image.  (S, 4) -> (S, 4)"""
    return boxes * torch.tensor([image_size[side] / map_size[side] for side in (0, 1, 0, 1)])


def attention_map(weights: Tensor, scales: Sequence[int] | None, height: int, width: int) -> Tensor:
    """Each anchor's weight, spread evenly over its cell; sums stay.  (..., S) -> (..., h, w)"""
    if scales is None:
        return weights.unflatten(-1, (height, width))
    top, left, bottom, right = anchor_boxes(scales, height, width).T[..., None]  # each (S, 1)
    y, x = torch.arange(height), torch.arange(width)
    inside_y = ((top <= y) & (y < bottom)).to(weights)  # (S, height)
    inside_x = ((left <= x) & (x < right)).to(weights)  # (S, width)
    area = inside_y.sum(1) * inside_x.sum(1)
    return einsum(weights / area, inside_y, inside_x, "... s, s y, s x -> ... y x")
