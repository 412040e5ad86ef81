"""Captures attention weights, queries and keys of a model, maps them onto the image, measures them.

H x W pixels of the image, h x w positions of the feature map, N = h * w query positions, C
channels, S keys: the anchors of a pyramid, or all N positions without one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from math import log
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.config import IGNORE_INDEX, TestConfig
from annlib.data.balloon_town.layout import CLASS_NAMES, House, Scene, plan_scene
from annlib.data.io import normalise
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.model.ann import OUTPUT_STRIDE, map_size
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
    """Queries, keys and values of one block; softmax(queries @ keys.T) @ values is its output."""

    queries: Tensor  # float32 (N, C)
    keys: Tensor  # float32 (S, C), the scale of the scores included
    map_size: Size
    image_size: Size
    pool_scales: tuple[int, ...] | None
    values: Tensor | None = None  # float32 (S, Cv)
    scale: float = 1.0  # of the scores; keys / scale are those of the layer

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
def capture(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Within it, forward passes store what these modules put out, as they run: {name: float32}."""
    outputs: dict[str, Any] = {}

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
        said = "No attention was captured: the model did not run inside the `with` block, or it "
        said += "is compiled and skips hooks. Call model(images) inside the block, and the model "
        raise RuntimeError(f"{said}itself, not what torch.compile made of it.")


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
    """Queries, keys and values of each attention block for one image, uint8 (H, W, 3) RGB."""
    blocks, size = attention_blocks(model), image.shape[:2]
    made = {path: (to_query(one), one.to_key, one.to_value) for path, one in blocks.items()}
    layers = {f"{path} {at}": one for path, three in made.items() for at, one in enumerate(three)}
    found = capture_outputs(model, image, layers)
    return {
        p: project(block, found[f"{p} 0"], found[f"{p} 1"], found.get(f"{p} 2"), size)
        for p, block in blocks.items()
    }


def project(
    block: Block, query: Tensor, key: Tensor, value: Tensor | None, image_size: Size
) -> Projections:
    """The projections of a block from the outputs of its layers.  (1, C, h, w) each

    value: None where `fuse_for_training` has moved it behind the pooling
    """
    scales, pooled = pool_scales_of(block), isinstance(block, AsymmetricAttention)
    pool = block.pool if pooled else partial(torch.flatten, start_dim=2)
    queries = query.float().flatten(2)[0].mT.cpu()
    keys = pool(key.float())[0].mT.cpu()  # (S, C)
    values = None if value is None else pool(value.float())[0].mT.cpu()  # (S, Cv)
    size = map_size(image_size)
    return Projections(queries, block.scale * keys, size, image_size, scales, values, block.scale)


def to_query(block: Block) -> nn.Module:
    """The layer that makes the queries: it is that of the keys, except in the AFNB."""
    return getattr(block, "to_query", None) or block.to_key


def pool_scales_of(block: Block) -> tuple[int, ...] | None:
    return block.pool.pool_scales if isinstance(block, AsymmetricAttention) else None


def model_input(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) RGB -> float32 (1, 3, H, W) normalised"""
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"The image is {image.shape}, not (H, W, 3): annlib.data.io.read_image.")
    return normalise(rearrange(torch.from_numpy(image.copy()), "h w c -> 1 c h w"))


def query_index(y: float, x: float, image_size: Size, map_size: Size) -> int:
    """The position, 0 to N - 1, that holds pixel (y, x).  Raises ValueError outside the image."""
    (height, width), (rows, columns) = image_size, map_size
    if not (0 <= y < height and 0 <= x < width):
        said = f"Pixel (row {y}, column {x}) is outside the image of {height} x {width}: rows go "
        raise ValueError(f"{said}from 0 to {height - 1}, columns from 0 to {width - 1}.")
    return int(y * rows / height) * columns + int(x * columns / width)


def anchor_boxes(pool_scales: Sequence[int] | None, height: int, width: int) -> Tensor:
    """The cell that each anchor is the mean of; one for each position if there is no pyramid.

    -> int64 (S, 4) top, left, bottom, right: half-open, in positions of a (height, width) map.
    Neighbours overlap by one position where the map does not divide by the grid, because adaptive
    pooling starts a cell at the floor and ends it at the ceiling.
    """
    grids = [(height, width)] if pool_scales is None else [(n, n) for n in pool_scales]
    m, n, y, x = torch.tensor([(m, n, y, x) for m, n in grids for y, x in np.ndindex(m, n)]).T
    top, left = y * height // m, x * width // n
    bottom, right = -(-(y + 1) * height // m), -(-(x + 1) * width // n)
    return torch.stack([top, left, bottom, right], dim=1)


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


def pixel_view(position_view: int) -> int:
    """Side of the square that a pixel's prediction may depend on.  position_view: of a position

    Bilinear upsampling mixes positions up to 11 pixels away: a stride and a half, less the pixel.
    """
    return position_view + 2 * (OUTPUT_STRIDE + OUTPUT_STRIDE // 2 - 1)


def predict_labels(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """The most likely class of each pixel.  uint8 (H, W, 3) RGB -> uint8 (H, W)"""
    return make_label_predictor(model, TestConfig())(model_input(image))[0].cpu().numpy()


def sample_photo() -> np.ndarray:
    """china.jpg of scikit-learn, scaled.  -> uint8 (320, 480, 3) RGB"""
    from sklearn.datasets import load_sample_image  # takes a second, which most lessons can spare

    return np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((480, 320)))


def house_answer(labels: np.ndarray, scene: Scene, house: House) -> int:
    """The class, of all ten, of most labelled pixels of a house.  labels: predicted, (H, W)"""
    inside = scene.mask(house) & (scene.labels == house.label)  # without the ignored border
    return int(np.bincount(labels[inside]).argmax())


def house_answers(model: nn.Module, scene: Scene) -> list[int]:
    """The predicted classes of the houses of a scene, from left to right."""
    labels = predict_labels(model, scene.image)
    return [house_answer(labels, scene, house) for house in scene.houses]


def count_right(model: nn.Module, scenes: Iterable[Scene]) -> tuple[int, int]:
    """How many houses a model classifies correctly, and how many there are."""
    pairs = [p for s in scenes for p in zip(house_answers(model, s), s.houses, strict=True)]
    return sum(answer == house.label for answer, house in pairs), len(pairs)


def mass_on(attention_map: Tensor, mask: np.ndarray) -> Tensor:
    """The share of attention on a mask, by covered area.  (..., h, w), bool (H, W) -> (...)"""
    whole, height, width = torch.from_numpy(mask != 0).to(attention_map), *attention_map.shape[-2:]
    return (attention_map * adaptive_avg_pool2d(whole[None], (height, width))[0]).sum((-2, -1))


def entropy(weights: Tensor) -> Tensor:
    """In bits: 0 for all weight on one key, log2 S for equal weights.  (..., S) -> (...)"""
    return torch.special.entr(weights).sum(-1) / log(2)


def class_masses(
    attention_map: Tensor, labels: np.ndarray, names: Sequence[str] = CLASS_NAMES
) -> dict[str, float]:
    """Fractions of attention by class, largest first; they sum to 1.  (h, w), classes (H, W)"""
    named = {IGNORE_INDEX: "border"} | dict(enumerate(names))
    masses = {named[c]: mass_on(attention_map, labels == c).item() for c in np.unique(labels)}
    return dict(sorted(masses.items(), key=lambda item: -item[1]))


def query_on(scene: Scene, house: House) -> tuple[int, int]:
    """The pixel (y, x) of a house that is nearest to the middle of its visible part."""
    pixels = np.argwhere(scene.mask(house))
    return tuple(pixels[np.square(pixels - pixels.mean(0)).sum(1).argmin()].tolist())


class Match(NamedTuple):
    """The attention of the query in the middle of a house, in fractions of 1."""

    balloons: tuple[float, ...]  # mass on each balloon of the scene, from left to right
    own_house: float
    decided_by: int  # index of the balloon that decides the house's class

    @property
    def on_its_balloon(self) -> float:
        return self.balloons[self.decided_by]

    @property
    def is_matched(self) -> bool:
        """Whether the balloon that decides gets more than any other balloon."""
        others = [one for place, one in enumerate(self.balloons) if place != self.decided_by]
        return self.on_its_balloon > max(others, default=0.0)


def match(attention: Attention, scene: Scene, house: House) -> Match:
    """What the query in the middle of a house attends to."""
    found = attention.map_at(*query_on(scene, house))
    balloons = tuple(float(mass_on(found, scene.mask(balloon))) for balloon in scene.balloons)
    return Match(balloons, float(mass_on(found, scene.mask(house))), house.decided_by)


def hint_offsets(first_seed: int, num_scenes: int) -> np.ndarray:
    """From each house's middle to that of its balloon, of many scenes.  -> (n, 2) rows, columns"""
    layouts = map(plan_scene, range(first_seed, first_seed + num_scenes))
    both = [(h, layout.balloons[h.decided_by]) for layout in layouts for h in layout.houses]
    return np.array([((h.top + h.bottom) / 2 - b.y, (h.left + h.right) / 2 - b.x) for h, b in both])
