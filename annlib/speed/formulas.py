"""Floating point operations of attention and of the paper's blocks, as closed formulas.

Two for each multiply-add of a convolution or a matrix product, as torch's counter counts them.
B batch, N = H * W positions of the map, S anchors.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What the work depends on. AFNB's two maps are of one size, as the dilated ResNet's are."""

    channels: int  # of the map that asks, and of the output
    key_in_channels: int  # of the map that answers; the same map for APNB
    key_channels: int
    value_channels: int
    size: tuple[int, int]
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)
    shared: bool = True  # one projection for query and key, run once
    batch: int = 1

    @property
    def positions(self) -> int:
        """N"""
        return self.size[0] * self.size[1]

    @property
    def anchors(self) -> int:
        """S"""
        return sum(scale * scale for scale in self.pool_scales)


def product(rows: int, inner: int, columns: int) -> int:
    """(rows, inner) @ (inner, columns); a 1 x 1 convolution is one with a row per position."""
    return 2 * rows * inner * columns


def keys_queries(shape: Shape) -> int:
    """The projections that ReLU keeps at every position."""
    n, channels = shape.positions, shape.key_channels
    query = 0 if shape.shared else product(n, shape.channels, channels)
    return shape.batch * (product(n, shape.key_in_channels, channels) + query)


def attention_flops(shape: Shape, asked: int) -> int:
    """N positions ask `asked` others; values and output are projected at every position."""
    n, values = shape.positions, shape.value_channels
    return keys_queries(shape) + shape.batch * (
        product(n, shape.key_in_channels, values)
        + product(n, shape.key_channels, asked)
        + product(n, asked, values)
        + product(n, values, shape.channels)
    )


def nonlocal_flops(shape: Shape) -> int:
    """Of NonLocalAttention, however it is written: quadratic in N."""
    return attention_flops(shape, asked=shape.positions)


def asymmetric_flops(shape: Shape) -> int:
    """Of AsymmetricAttention: linear in N."""
    return attention_flops(shape, asked=shape.anchors)


def pooling_flops(shape: Shape, channels: int) -> int:
    """Of pyramid_means, which pools by matrix products: first along rows, then down columns."""
    height, width = shape.size
    across = product(sum(shape.pool_scales), width, height * channels)
    down = product(shape.anchors, height, channels)
    return shape.batch * (across + down)


def both_poolings_flops(shape: Shape) -> int:
    """Of the keys and of the map that answers."""
    return pooling_flops(shape, shape.key_channels) + pooling_flops(shape, shape.key_in_channels)


def folded_flops(shape: Shape) -> int:
    """Of FoldedAttention: values and output are projected at the anchors only."""
    n, anchors, values = shape.positions, shape.anchors, shape.value_channels
    attention = shape.batch * (
        product(anchors, shape.key_in_channels, values)
        + product(anchors, values, shape.channels)
        + product(n, shape.key_channels, anchors)
        + product(n, anchors, shape.channels)
    )
    return keys_queries(shape) + both_poolings_flops(shape) + attention


def block_flops(shape: Shape) -> int:
    """Of AFNB and APNB as they are written: attention, then the fusing of [context; features]."""
    fuse = shape.batch * product(shape.positions, 2 * shape.channels, shape.channels)
    return asymmetric_flops(shape) + fuse


def folded_block_flops(shape: Shape) -> int:
    """Of FoldedAFNB and FoldedAPNB: the context's half of the fusing acts on the anchors."""
    fuse = shape.batch * product(shape.positions + shape.anchors, shape.channels, shape.channels)
    return folded_flops(shape) + fuse


def training_flops(forward: int, without_weights: int = 0) -> int:
    """Forward and backward: a product has two gradients, one if the other factor is fixed."""
    return 3 * forward - without_weights


def nonlocal_bytes(shape: Shape) -> int:
    """That NonLocalAttention holds at once: float32 scores, their softmax, keys, values."""
    n = shape.positions
    return 4 * shape.batch * n * (2 * n + shape.key_channels + shape.value_channels)
