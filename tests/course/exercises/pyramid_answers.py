"""Right and wrong pyramid blocks, for lesson 04, and two ways to sample anchors."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate

from annlib.course import checks
from annlib.course.attention import anchor_boxes
from annlib.model.layers import conv_bn_relu
from exercises import Gallery, Wrong


def pooled(x: Tensor, levels: tuple[int, ...], pool=adaptive_avg_pool2d) -> Tensor:
    return torch.cat([pool(x, level).flatten(2) for level in levels], dim=-1)


def by_loops(x: Tensor, levels: tuple[int, ...]) -> Tensor:
    boxes = anchor_boxes(levels, *x.shape[2:]).tolist()
    means = [x[:, :, t:b, left:right].mean((2, 3)) for t, left, b, right in boxes]
    return torch.stack(means, dim=-1)


class Right(nn.Module):
    """The exercise's block; subclasses change one step of it."""

    def __init__(self, channels: int, key_channels: int, pool_scales: tuple[int, ...]):
        super().__init__()
        self.pool_scales = pool_scales
        self.to_key = conv_bn_relu(channels, key_channels, 1)
        self.to_value = nn.Conv2d(channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels, channels, 1)
        self.fuse = conv_bn_relu(2 * channels, channels, 1)

    def query(self, x: Tensor) -> Tensor:
        return self.to_key(x).flatten(2)

    def key(self, x: Tensor) -> Tensor:
        return pooled(self.to_key(x), self.pool_scales)

    def value(self, x: Tensor) -> Tensor:
        return pooled(self.to_value(x), self.pool_scales)

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key * key.shape[1] ** -0.5).softmax(-1)

    def end(self, context: Tensor, x: Tensor) -> Tensor:
        return self.fuse(torch.cat([context, x], 1))

    def forward(self, x: Tensor) -> Tensor:
        context = self.weights(self.query(x), self.key(x)) @ self.value(x).mT
        return self.end(self.to_output(context.mT.unflatten(2, x.shape[2:])), x)


class ByLoops(Right):
    """Right, written otherwise: scaled queries, anchors cell by cell, values sampled first."""

    def key(self, x: Tensor) -> Tensor:
        return by_loops(self.to_key(x), self.pool_scales)

    def value(self, x: Tensor) -> Tensor:  # a projection without ReLU is linear: either order
        return self.to_value(by_loops(x, self.pool_scales)[..., None])[..., 0]

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.einsum("bcn,bcs->bns", query / key.shape[1] ** 0.5, key).softmax(2)


class NotStarted(Right):
    def forward(self, x: Tensor) -> Tensor:
        return ...


class PooledQuery(Right):
    def query(self, x: Tensor) -> Tensor:
        return pooled(self.to_key(x), self.pool_scales)


class CoarseQuery(Right):
    def query(self, x: Tensor) -> Tensor:
        few = adaptive_avg_pool2d(self.to_key(x), self.pool_scales[-1])
        return interpolate(few, x.shape[2:], mode="nearest").flatten(2)


class SoftmaxOverN(Right):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key * key.shape[1] ** -0.5).softmax(1)


class NoScale(Right):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key).softmax(-1)


class ScaleOfS(Right):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key * key.shape[2] ** -0.5).softmax(-1)


class PooledFirst(Right):
    def key(self, x: Tensor) -> Tensor:
        return self.to_key(pooled(x, self.pool_scales)[..., None])[..., 0]


class Largest(Right):
    def key(self, x: Tensor) -> Tensor:
        return pooled(self.to_key(x), self.pool_scales, adaptive_max_pool2d)

    def value(self, x: Tensor) -> Tensor:
        return pooled(self.to_value(x), self.pool_scales, adaptive_max_pool2d)


class ValuesNotSampled(Right):
    def value(self, x: Tensor) -> Tensor:
        return self.to_value(x).flatten(2)


class MapFirst(Right):
    def end(self, context: Tensor, x: Tensor) -> Tensor:
        return self.fuse(torch.cat([x, context], 1))


class Added(Right):
    def end(self, context: Tensor, x: Tensor) -> Tensor:
        return context + x


class FixedLevels(Right):
    def key(self, x: Tensor) -> Tensor:
        return pooled(self.to_key(x), (1, 3, 6, 8))

    def value(self, x: Tensor) -> Tensor:
        return pooled(self.to_value(x), (1, 3, 6, 8))


class KeysFetched(Right):
    def value(self, x: Tensor) -> Tensor:
        return self.key(x)


class Scrambled(Right):
    def forward(self, x: Tensor) -> Tensor:
        context = self.weights(self.query(x), self.key(x)) @ self.value(x).mT
        return self.end(self.to_output(context.reshape(len(x), -1, *x.shape[2:])), x)


APNB = Gallery(
    check=checks.pyramid_block,
    right=[Right, ByLoops],
    wrong={
        "not started": Wrong(NotStarted, "three dots"),
        "the query is sampled": Wrong(PooledQuery, "the query keeps all n"),
        "the query is sampled, then upsampled": Wrong(CoarseQuery, "the same query"),
        "softmax over those who ask": Wrong(SoftmaxOverN, "runs over N"),
        "no scale": Wrong(NoScale, "scale is missing"),
        "scale by the anchors": Wrong(ScaleOfS, "√S"),
        "sampled before projected": Wrong(PooledFirst, "project, then pool"),
        "largest instead of mean": Wrong(Largest, "is its mean"),
        "values not sampled": Wrong(ValuesNotSampled, "keys and values, both"),
        "map before context": Wrong(MapFirst, "context first"),
        "added, not fused": Wrong(Added, "concatenated"),
        "always 1, 3, 6, 8": Wrong(FixedLevels, "use pool_scales"),
        "keys fetched": Wrong(KeysFetched, "not of the keys"),
        "positions scrambled": Wrong(Scrambled, "line by line"),
    },
)
