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

from annlib.course import profiler
from annlib.course.attention import Size, model_input
from annlib.course.profiler import Comparison, Conditions, Implementation, Results
from annlib.data.balloon_town.dataset import make_scene
from annlib.engine.metrics import table
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.fused import FoldedAFNB, FoldedAPNB, attend
from annlib.seeds import seeded

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
    def positions(self) -> int:  # N
        return prod(self.size)

    @property
    def anchors(self) -> int:  # S
        return sum(scale * scale for scale in self.pool_scales)


def product(rows: int, inner: int, columns: int) -> int:
    """(rows, inner) @ (inner, columns); a 1 x 1 convolution is one with a row per position."""
    return 2 * rows * inner * columns


def both_poolings_flops(shape: Shape) -> int:
    """Of pyramid_means for keys and input: matrix products along rows, then down columns."""
    height, width = shape.size
    channels = shape.key_channels + shape.key_in_channels
    across = product(sum(shape.pool_scales), width, height * channels)
    return shape.batch * (across + product(shape.anchors, height, channels))


def step_flops(shape: Shape, folded: bool = False, num_keys: int | None = None) -> dict[str, int]:
    """Of each step of AFNB or APNB; folding runs some steps S times instead of N.

    num_keys: of each query position, if not S. The ReLU keeps key and query at every position.
    """
    key, value, wide = shape.key_channels, shape.value_channels, shape.channels
    n, keys = shape.batch * shape.positions, num_keys or shape.anchors
    rows, summed = (shape.batch * keys, wide) if folded else (n, value)
    projected = shape.key_in_channels + (0 if shape.shared else wide)
    return {
        "query and key": product(n, projected, key),
        "value": product(rows, shape.key_in_channels, value),
        "cell means": both_poolings_flops(shape) if folded else 0,
        "scores": product(n, key, keys),
        "output": product(rows, value, wide),
        "fuse, context": product(rows, wide, wide),
        "weights x anchors": product(n, keys, summed),
        "fuse, features": product(n, wide, wide),
    }


def asymmetric_flops(shape: Shape, folded: bool = False, num_keys: int | None = None) -> int:
    """Of AsymmetricAttention and FoldedAttention: linear in N."""
    steps = step_flops(shape, folded, num_keys).items()
    return sum(flops for name, flops in steps if not name.startswith("fuse"))


def nonlocal_flops(shape: Shape) -> int:
    """Of NonLocalAttention, however it is written: quadratic in N."""
    return asymmetric_flops(shape, num_keys=shape.positions)


def nonlocal_bytes(shape: Shape) -> int:
    """Peak memory of NonLocalAttention: float32 scores, their softmax, keys, values."""
    n = shape.positions
    return 4 * shape.batch * n * (2 * n + shape.key_channels + shape.value_channels)


class FoldedAttention(AsymmetricAttention):
    """AsymmetricAttention with the value and output projections on the anchors."""

    def forward(self, query_map: Tensor, key_map: Tensor) -> Tensor:
        """(B, Cq, H, W), (B, Ck, h, w) -> (B, Cq, H, W)"""
        weights, anchors = attend(self, query_map, key_map)
        return (weights @ anchors).mT.unflatten(2, query_map.shape[2:])


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
    inputs = tuple(profiler.smooth_noise(count, size, conditions) for count in in_channels)
    folded.load_state_dict(profiler.as_trained(plain, *inputs).state_dict())
    modules, our_names = {PLAIN_BLOCK: plain, FOLDED_BLOCK: folded}, dict
    if reference:
        make = reference.reference_afnb if name == "AFNB" else reference.reference_apnb
        modules[REFERENCE] = conditions.place(make(plain))
        our_names = partial(reference.our_names, block=name.lower())
    shape = Shape(in_channels[-1], in_channels[0], key, value, size, scales, name == "APNB")
    return Block(shape, modules, inputs, our_names)


def block_implementations(block: Block, step: bool, conditions: Conditions) -> list[Implementation]:
    """Forward passes in inference, or training steps: forward and backward."""
    shape, found = block.shape, []
    upstream = profiler.smooth_noise(shape.channels, shape.size, conditions) if step else None
    twice = replace(shape, shared=False)  # the reference computes a shared projection twice
    for name, module in block.modules.items():
        done = step_flops(twice if name == REFERENCE else shape, name == FOLDED_BLOCK)
        flops, compute = sum(done.values()), profiler.inference(module, block.inputs)
        if step:
            # Backward: two gradients of each product, but the pooling weights are not learned.
            flops = 3 * flops - (name == FOLDED_BLOCK) * both_poolings_flops(shape)
            names = block.our_names if name == REFERENCE else dict
            compute = profiler.training(module, block.inputs, upstream, names)
        same_as = None if name == PLAIN_BLOCK else PLAIN_BLOCK
        found.append(Implementation(name, compute, flops, same_as))
    return found


def compare_blocks(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions, reference: Any = None
) -> Iterator[Comparison]:
    """Both blocks, in inference and in training, on feature maps of each size."""
    for size, name in pairs(sizes, ("AFNB", "APNB")):
        block = make_block(name, channels, size, conditions, reference)
        for step, what in ((False, "forward"), (True, "training step")):
            title = f"{name} {size[0]} x {size[1]}, {what}"
            both = block_implementations(block, step, conditions)
            yield profiler.compare(title, size, both, conditions)


def attention_of_itself(module: nn.Module, features: Tensor) -> Callable[[], Results]:
    """A call in which features (B, C, H, W) attend to themselves."""
    return profiler.inference(module, [features] * (1 + isinstance(module, AsymmetricAttention)))


def attention_implementations(
    channels: Channels, size: Size, conditions: Conditions, reference: Any = None
) -> list[Implementation]:
    """Inference with the same weights, as wide as the backbone's last stage, as in the paper."""
    wide, key, value, scales = channels.high, channels.key, channels.value, channels.pool_scales
    features = profiler.smooth_noise(wide, size, conditions)
    plain = AsymmetricAttention(wide, wide, key, value, scales, True)
    profiler.as_trained(plain.to(conditions.device), features, features)
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
        PLAIN_APNB: (plain, asymmetric_flops(shape), None, 0),
        FOLDED_APNB: (folded, asymmetric_flops(shape, True), PLAIN_APNB, 0),
    }
    if reference:
        theirs, ours = (reference.reference_attention(plain, pooled) for pooled in (False, True))
        found[THEIR_NONLOCAL] = (theirs, nonlocal_flops(twice), NONLOCAL, needed)
        found[THEIR_APNB] = (ours, asymmetric_flops(twice), PLAIN_APNB, 0)
    return [
        Implementation(name, attention_of_itself(conditions.place(module), features), *facts)
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
            less = f"{first.peak_bytes / own.peak_bytes:.2f}" if first else "-"
            row += [f"{own.mebibytes:.1f}", less, f"{own.peak_bytes / own.output_bytes:.2f}"]
            row += [f"{own.flops / 1e9:.2f}", f"{own.formula / 1e9:.2f}"]
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
