"""Implementations of attention, AFNB and APNB to compare, with their FLOPs as closed formulas.

FLOPs: two for each multiply-add of a convolution or a matrix product, as torch's counter counts
them. B batch, N = H * W positions of the feature map, S anchors. `exchange` tells whether a layer
commutes with average pooling, on which the folded forms rest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product as pairs
from math import prod
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import adaptive_avg_pool2d, scaled_dot_product_attention

from annlib.course import timing
from annlib.course.attention import model_input
from annlib.course.timing import Comparison, Conditions, Implementation, Results
from annlib.data.balloon_town.dataset import make_scene
from annlib.engine.metrics import table
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.fused import FoldedAFNB, FoldedAPNB, attend
from annlib.seeds import seeded

Size = tuple[int, int]  # height, width
PLAIN_BLOCK, FOLDED_BLOCK, REFERENCE = "plain", "folded", "reference"
NONLOCAL, FUSED = "non-local", "non-local, fused"
PLAIN_APNB, FOLDED_APNB = "APNB", "APNB, folded"
THEIR_NONLOCAL, THEIR_APNB = "reference, non-local", "reference, APNB"


@dataclass(frozen=True)
class Shape:
    """What the cost depends on. AFNB's two maps are of one size, as in the dilated ResNet."""

    channels: int  # of the map of query positions, and of the output
    key_in_channels: int  # of the map of key positions; for APNB the same map
    key_channels: int
    value_channels: int
    size: Size
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)
    shared: bool = True  # one projection for query and key, computed once
    batch: int = 1

    @property
    def positions(self) -> int:
        """N"""
        return prod(self.size)

    @property
    def anchors(self) -> int:
        """S"""
        return sum(scale * scale for scale in self.pool_scales)


def product(rows: int, inner: int, columns: int) -> int:
    """(rows, inner) @ (inner, columns); a 1 x 1 convolution is one with a row per position."""
    return 2 * rows * inner * columns


def keys_queries(shape: Shape) -> int:
    """The projections to key and query, which the ReLU keeps at every position."""
    wide = shape.key_in_channels + (0 if shape.shared else shape.channels)
    return shape.batch * product(shape.positions, wide, shape.key_channels)


def attention_flops(shape: Shape, num_keys: int) -> int:
    """N queries attend to `num_keys` keys; value and output are projected at every position."""
    n, values = shape.positions, shape.value_channels
    return keys_queries(shape) + shape.batch * (
        product(n, shape.key_in_channels, values)
        + product(n, shape.key_channels, num_keys)
        + product(n, num_keys, values)
        + product(n, values, shape.channels)
    )


def nonlocal_flops(shape: Shape) -> int:
    """Of NonLocalAttention, however it is written: quadratic in N."""
    return attention_flops(shape, shape.positions)


def asymmetric_flops(shape: Shape) -> int:
    """Of AsymmetricAttention: linear in N."""
    return attention_flops(shape, shape.anchors)


def both_poolings_flops(shape: Shape) -> int:
    """Of pyramid_means for keys and input: matrix products along rows, then down columns."""
    height, width = shape.size
    channels = shape.key_channels + shape.key_in_channels
    across = product(sum(shape.pool_scales), width, height * channels)
    return shape.batch * (across + product(shape.anchors, height, channels))


class FoldedAttention(AsymmetricAttention):
    """AsymmetricAttention with the value and output projections on the anchors."""

    def forward(self, query_map: Tensor, key_map: Tensor) -> Tensor:
        """(B, Cq, H, W), (B, Ck, h, w) -> (B, Cq, H, W)"""
        weights, anchors = attend(self, query_map, key_map)
        return (weights @ anchors).mT.unflatten(2, query_map.shape[2:])


def folded_flops(shape: Shape) -> int:
    """Of FoldedAttention: value and output are projected only at the anchors."""
    n, anchors, values = shape.positions, shape.anchors, shape.value_channels
    attention = shape.batch * (
        product(anchors, shape.key_in_channels, values)
        + product(anchors, values, shape.channels)
        + product(n, shape.key_channels, anchors)
        + product(n, anchors, shape.channels)
    )
    return keys_queries(shape) + both_poolings_flops(shape) + attention


def block_flops(shape: Shape) -> int:
    """Of AFNB and APNB: attention, then a 1 x 1 convolution of [context; features]."""
    fuse = shape.batch * product(shape.positions, 2 * shape.channels, shape.channels)
    return asymmetric_flops(shape) + fuse


def folded_block_flops(shape: Shape) -> int:
    """Of FoldedAFNB and FoldedAPNB: the context is convolved at the anchors."""
    fuse = shape.batch * product(shape.positions + shape.anchors, shape.channels, shape.channels)
    return folded_flops(shape) + fuse


def nonlocal_bytes(shape: Shape) -> int:
    """Peak memory of NonLocalAttention: float32 scores, their softmax, keys, values."""
    n = shape.positions
    return 4 * shape.batch * n * (2 * n + shape.key_channels + shape.value_channels)


class FusedNonLocalAttention(NonLocalAttention):
    """NonLocalAttention in tiles that fit into the cache: memory grows with N, not with N * N.

    Raises ValueError for key and value channels that differ.
    """

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__(channels, key_channels, value_channels)
        if key_channels != value_channels:
            raise ValueError(
                f"{key_channels} key and {value_channels} value channels: torch's fused attention "
                "on a CPU needs equal numbers. Compare at equal numbers, as in the paper."
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        key, value = (
            rearrange(project(features), "b c h w -> b 1 (h w) c").contiguous()
            for project in (self.to_key, self.to_value)
        )  # (B, 1, N, C): one head; the kernels read the channels of a position in a row
        # All except the one that writes the N x N weights into memory.
        every = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION)
        with sdpa_kernel([*every, SDPBackend.EFFICIENT_ATTENTION]):
            context = scaled_dot_product_attention(key, key, value, scale=self.scale)
        context = rearrange(context, "b 1 (h w) c -> b c h w", h=features.shape[2])
        return self.to_output(context)


@dataclass(frozen=True)
class Channels:
    """Of the feature maps around the blocks. Defaults are the paper's."""

    low: int = 1024
    high: int = 2048
    hidden: int = 512
    key: int = 256
    value: int = 256
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)

    def divided(self, by: int) -> "Channels":
        """Fewer of all, for a first test. Raises ValueError where fewer than two would be left."""
        counts = (self.low, self.high, self.hidden, self.key, self.value)
        if by < 1 or min(counts) < 2 * by:
            raise ValueError(
                f"{min(counts)} channels cannot be divided by {by}: the kernels of fused attention "
                f"need two or more. Divide by 1 to {min(counts) // 2}."
            )
        return Channels(*(count // by for count in counts), self.pool_scales)


class Block(NamedTuple):
    """AFNB or APNB in all implementations, with the same weights, and its inputs."""

    shape: Shape
    modules: dict[str, nn.Module]
    inputs: tuple[Tensor, ...]  # the last one has the query positions
    our_names: Callable[[Results], Results]  # from the reference's


def make_block(
    name: str, channels: Channels, size: Size, conditions: Conditions, reference: Any = None
) -> Block:
    """reference: optional, with functions like those of benchmarks.mmseg_reference."""
    key, value, scales = channels.key, channels.value, channels.pool_scales
    if name == "AFNB":
        kinds, in_channels = (AFNB, FoldedAFNB), (channels.low, channels.high)  # last two stages
    else:
        kinds, in_channels = (APNB, FoldedAPNB), (channels.hidden,)  # after the reduction
    plain, folded = (conditions.place(kind(*in_channels, key, value, scales)) for kind in kinds)
    inputs = tuple(timing.smooth_noise(count, size, conditions) for count in in_channels)
    folded.load_state_dict(timing.as_trained(plain, *inputs).state_dict())
    modules, our_names = {PLAIN_BLOCK: plain, FOLDED_BLOCK: folded}, dict
    if reference:
        make = reference.reference_afnb if name == "AFNB" else reference.reference_apnb
        modules[REFERENCE] = conditions.place(make(plain))
        our_names = partial(reference.our_names, block=name.lower())
    shape = Shape(in_channels[-1], in_channels[0], key, value, size, scales, name == "APNB")
    return Block(shape, modules, inputs, our_names)


def block_implementations(
    block: Block, steps: bool, conditions: Conditions
) -> list[Implementation]:
    """Forward passes in inference, or training steps: forward and backward."""
    shape, found = block.shape, []
    upstream = timing.smooth_noise(shape.channels, shape.size, conditions) if steps else None
    twice = replace(shape, shared=False)  # the reference computes a shared projection twice
    for name, module in block.modules.items():
        flops = folded_block_flops(shape) if name == FOLDED_BLOCK else block_flops(shape)
        flops = block_flops(twice) if name == REFERENCE else flops
        compute = timing.inference(module, block.inputs)
        if steps:
            # Backward: two gradients of each product, but the pooling weights are not learned.
            flops = 3 * flops - (name == FOLDED_BLOCK) * both_poolings_flops(shape)
            names = block.our_names if name == REFERENCE else dict
            compute = timing.training(module, block.inputs, upstream, names)
        same_as = None if name == PLAIN_BLOCK else PLAIN_BLOCK
        found.append(Implementation(name, compute, flops, same_as))
    return found


def compare_blocks(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions, reference: Any = None
) -> Iterator[Comparison]:
    """Both blocks, in inference and in training, on feature maps of each size."""
    for size, name in pairs(sizes, ("AFNB", "APNB")):
        block = make_block(name, channels, size, conditions, reference)
        for steps, what in ((False, "forward"), (True, "training step")):
            title = f"{name} {size[0]} x {size[1]}, {what}"
            both = block_implementations(block, steps, conditions)
            yield timing.compare(title, size, both, conditions)


class SelfAttention(nn.Module):
    """Asymmetric attention of a feature map to itself."""

    def __init__(self, attention: AsymmetricAttention):
        super().__init__()
        self.attention = attention

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return self.attention(features, features)


def attention_implementations(
    channels: Channels, size: Size, conditions: Conditions, reference: Any = None
) -> list[Implementation]:
    """Inference with the same weights, as wide as the backbone's last stage, as in the paper."""
    wide, key, value, scales = channels.high, channels.key, channels.value, channels.pool_scales
    features = timing.smooth_noise(wide, size, conditions)
    plain = AsymmetricAttention(wide, wide, key, value, scales, True)
    timing.as_trained(plain.to(conditions.device), features, features)
    folded = FoldedAttention(wide, wide, key, value, scales, True)
    written = NonLocalAttention(wide, key, value)
    fused = FusedNonLocalAttention(wide, key, value)
    for module in (folded, written, fused):
        module.load_state_dict(plain.state_dict())
    shape = Shape(wide, wide, key, value, size, scales)
    twice = replace(shape, shared=False)  # the reference computes the shared projection twice
    needed = nonlocal_bytes(shape)
    found = {  # module, FLOPs, the one that computes the same function, bytes
        NONLOCAL: (written, nonlocal_flops(shape), None, needed),
        FUSED: (fused, nonlocal_flops(shape), NONLOCAL, 0),
        PLAIN_APNB: (SelfAttention(plain), asymmetric_flops(shape), None, 0),
        FOLDED_APNB: (SelfAttention(folded), folded_flops(shape), PLAIN_APNB, 0),
    }
    if reference:
        theirs, ours = (reference.reference_attention(plain, pooled) for pooled in (False, True))
        found[THEIR_NONLOCAL] = (theirs, nonlocal_flops(twice), NONLOCAL, needed)
        found[THEIR_APNB] = (ours, asymmetric_flops(twice), PLAIN_APNB, 0)
    return [
        Implementation(name, timing.inference(conditions.place(module), (features,)), *facts)
        for name, (module, *facts) in found.items()
    ]


def comparison_table(what: str, comparisons: Sequence[Comparison], baselines: Sequence[str]) -> str:
    """A row for each implementation, compared with the baselines; then notes on the others."""
    faster = [f"times faster than {name}" for name in baselines]
    header = [what, "ms", *faster, "MiB", f"times less than {baselines[0]}", "times its output"]
    header += ["GFLOPs", "by formula", "difference"]
    rows = []
    for each in comparisons:
        others = [each.measured.get(name) for name in baselines]
        for name, own in each.measured.items():
            first, median = others[0], own.timing.median
            row = [f"{each.title}: {name}", str(own.timing)]
            row += [f"{one.timing.median / median:.2f}" if one else "-" for one in others]
            row += [f"{own.mebibytes:.1f}"]
            row += [f"{first.peak_bytes / own.peak_bytes:.2f}" if first else "-"]
            row += [f"{own.peak_bytes / own.output_bytes:.2f}", f"{own.flops / 1e9:.2f}"]
            row += [f"{own.formula / 1e9:.2f}"]
            rows.append([*row, "-" if own.difference is None else f"{own.difference:.0e}"])
    notes = [note for each in comparisons for note in each.notes]
    return "\n\n".join([table(header, rows), *notes])


class Exchange(NamedTuple):
    """A layer before and after average pooling, (B, C, n, n) each."""

    layer_first: Tensor
    means_first: Tensor
    difference: float  # the largest, relative to the largest number


@torch.no_grad()
def exchange(layer: Callable[[Tensor], Tensor], features: Tensor, pool_scale: int) -> Exchange:
    """A layer and the means of n x n cells in both orders, on features (B, C, H, W)."""
    layer_first = adaptive_avg_pool2d(layer(features), pool_scale)
    means_first = layer(adaptive_avg_pool2d(features, pool_scale))
    difference = (layer_first - means_first).abs().max() / layer_first.abs().max()
    return Exchange(layer_first, means_first, float(difference))


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
