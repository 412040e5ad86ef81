"""Right and wrong fusion blocks, for lesson 05."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, relu

from annlib.course import checks
from annlib.model.layers import conv_bn, conv_bn_relu
from exercises import Gallery, Wrong

Shape = tuple[int, ...]


class Right(nn.Module):
    """The exercise's block; subclasses change one step of it."""

    def __init__(self, low: int, high: int, keys: int, pool_scales: Shape):
        super().__init__()
        self.pool_scales = pool_scales
        self.to_query = conv_bn_relu(high, keys, 1)
        self.to_key = conv_bn_relu(low, keys, 1)
        self.to_value = nn.Conv2d(low, keys, 1)
        self.to_output = nn.Conv2d(keys, high, 1)
        self.fuse = conv_bn(2 * high, high, 1)

    def sample(self, x: Tensor) -> Tensor:
        return torch.cat([adaptive_avg_pool2d(x, n).flatten(2) for n in self.pool_scales], -1)

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key * key.shape[1] ** -0.5).softmax(-1)

    def end(self, context: Tensor, high: Tensor) -> Tensor:
        return self.fuse(torch.cat([context, high], 1))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        query = self.to_query(high).flatten(2)
        key, value = self.sample(self.to_key(low)), self.sample(self.to_value(low))
        context = (self.weights(query, key) @ value.mT).mT.unflatten(2, high.shape[2:])
        return self.end(self.to_output(context), high)


class OutputFirst(Right):
    """Right, written otherwise: the output projection on the anchors, the fusing in two parts."""

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        key, value = self.sample(self.to_key(low)), self.to_value(self.sample(low)[..., None])
        answers = self.to_output(value)[..., 0]
        query = self.to_query(high).flatten(2) / key.shape[1] ** 0.5
        shares = torch.einsum("bcn,bcs->bns", query, key).softmax(2)
        context = torch.einsum("bns,bcs->bcn", shares, answers).unflatten(2, high.shape[2:])
        for_context, for_high = self.fuse[0].weight.chunk(2, dim=1)
        fused = nn.functional.conv2d(context, for_context) + nn.functional.conv2d(high, for_high)
        return self.fuse[1](fused)


class NotStarted(Right):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return ...


class WithReLU(Right):
    def end(self, context: Tensor, high: Tensor) -> Tensor:
        return relu(super().end(context, high))


class LowAsks(Right):
    def __init__(self, low: int, high: int, keys: int, pool_scales: Shape):
        super().__init__(low, high, keys, pool_scales)
        self.to_query = conv_bn_relu(low, keys, 1)
        self.to_key, self.to_value = conv_bn_relu(high, keys, 1), nn.Conv2d(high, keys, 1)


class SizeOfLow(Right):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return super().forward(low, interpolate(high, low.shape[2:]))


class LowUnused(Right):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return super().forward(torch.ones_like(low), high)


class EverybodyAnswers(Right):
    def sample(self, x: Tensor) -> Tensor:
        return x.flatten(2)


class HighFirst(Right):
    def end(self, context: Tensor, high: Tensor) -> Tensor:
        return self.fuse(torch.cat([high, context], 1))


class AddedTwice(Right):
    def end(self, context: Tensor, high: Tensor) -> Tensor:
        return high + super().end(context, high)


class NoScale(Right):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key).softmax(-1)


class SoftmaxOverN(Right):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return (query.mT @ key * key.shape[1] ** -0.5).softmax(1)


class LowDetached(Right):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return super().forward(low.detach(), high)


FUSION = Gallery(
    check=checks.fusion_block,
    right=[Right, OutputFirst],
    wrong={
        "not started": Wrong(NotStarted, "three dots"),
        "low asks high": Wrong(LowAsks, "queries come from high"),
        "a ReLU at the end": Wrong(WithReLU, "without one"),
        "the output is as large as low": Wrong(SizeOfLow, "the queries decide"),
        "low takes no part": Wrong(LowUnused, "takes no part"),
        "nothing is sampled": Wrong(EverybodyAnswers, "pool keys and values"),
        "high before context": Wrong(HighFirst, "context first"),
        "added after fusing": Wrong(AddedTwice, "nothing is added"),
        "no scale": Wrong(NoScale, "scale is missing"),
        "softmax over those who ask": Wrong(SoftmaxOverN, "over N"),
        "low detached": Wrong(LowDetached, "low-level map"),
    },
)
