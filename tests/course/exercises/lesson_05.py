"""Right and wrong answers to the exercises of lesson 05."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from annlib.course import checks
from annlib.model.layers import conv_bn, conv_bn_relu
from exercises import Gallery, Wrong
from exercises.fusion_answers import FUSION

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def shapes(low: Shape, high: Shape, keys: int, anchors: int) -> Shapes:
    positions = high[1] * high[2]
    return {
        "query": (keys, positions),
        "key": (keys, anchors),
        "value": (keys, anchors),
        "weights": (positions, anchors),
        "output": high,
    }


def shapes_of_tensors(low: Shape, high: Shape, keys: int, anchors: int) -> Shapes:
    query, key = torch.empty(keys, *high[1:]).flatten(1), torch.empty(keys, anchors)
    made = {"query": query, "key": key, "value": key, "weights": query.T @ key}
    return {name: tensor.shape for name, tensor in made.items()} | {"output": list(high)}


def but(name: str, wrong: Callable[..., Shape]) -> Callable[..., Shapes]:
    """The right shapes with one mistake."""
    return lambda low, high, keys, anchors: (
        shapes(low, high, keys, anchors) | {name: wrong(low, high, keys, anchors)}
    )


SHAPES = Gallery(
    check=checks.afnb_shapes,
    right=[shapes, shapes_of_tensors],
    wrong={
        "not started": Wrong(lambda low, high, keys, anchors: ..., "three dots"),
        "low asks": Wrong(
            but("query", lambda lo, hi, k, s: (k, lo[1] * lo[2])), "the high-level map"
        ),
        "the query is sampled": Wrong(but("query", lambda lo, hi, k, s: (k, s)), "not pooled"),
        "the key is not sampled": Wrong(
            but("key", lambda lo, hi, k, s: (k, lo[1] * lo[2])), "key is pooled"
        ),
        "values not sampled": Wrong(
            but("value", lambda lo, hi, k, s: (k, lo[1] * lo[2])), "as the key is"
        ),
        "weights transposed": Wrong(
            but("weights", lambda lo, hi, k, s: (s, hi[1] * hi[2])), "one query position"
        ),
        "everybody answers": Wrong(
            but("weights", lambda lo, hi, k, s: (hi[1] * hi[2], lo[1] * lo[2])), "anchors"
        ),
        "output as large as low": Wrong(but("output", lambda lo, hi, k, s: lo), "of the queries"),
        "concatenation": Wrong(
            but("output", lambda lo, hi, k, s: (lo[0] + hi[0], *hi[1:])), "is fused"
        ),
        "channels of the key": Wrong(
            but("output", lambda lo, hi, k, s: (k, *hi[1:])), "channels are those of high"
        ),
    },
)


class Concat(nn.Module):
    """The exercise's rival; subclasses change one step of it."""

    def __init__(self, low: int, high: int, budget: int):
        super().__init__()
        middle = self.middle(low, high, budget)
        self.reduce = conv_bn_relu(low, middle, 1)
        self.fuse = conv_bn(middle + high, high, 1)

    def middle(self, low: int, high: int, budget: int) -> int:
        return round((budget - high * high - 2 * high) / (low + high + 2))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        low = interpolate(self.reduce(low), high.shape[2:], mode="bilinear")
        return self.fuse(torch.cat([low, high], 1))


class Searched(Concat):
    """Right, written otherwise: the width found by trying, the larger map averaged down."""

    def middle(self, low: int, high: int, budget: int) -> int:
        costs = {m: low * m + 2 * m + (m + high) * high + 2 * high for m in range(1, 400)}
        return min(costs, key=lambda m: abs(costs[m] - budget))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.fuse(
            torch.cat([adaptive_avg_pool2d(self.reduce(low), high.shape[2:]), high], 1)
        )


class ConcatNotStarted(Concat):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return ...


class NoBudget(Concat):
    def middle(self, low: int, high: int, budget: int) -> int:
        return low


class HighForgotten(Concat):
    def middle(self, low: int, high: int, budget: int) -> int:
        return budget // (low + high)


class SizeKept(Concat):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.fuse(torch.cat([self.reduce(low), interpolate(high, low.shape[2:])], 1))


class MeanOfLow(Concat):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        mean = self.reduce(low).mean((2, 3), keepdim=True).expand(-1, -1, *high.shape[2:])
        return self.fuse(torch.cat([mean, high], 1))


class OnlyHigh(Concat):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return super().forward(torch.zeros_like(low), high)


class ConcatDetached(Concat):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return super().forward(low, high.detach())


class Turned(Concat):
    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return super().forward(low.flip(2, 3), high)


CONCATENATION = Gallery(
    check=checks.concat_fusion,
    right=[Concat, Searched],
    wrong={
        "not started": Wrong(ConcatNotStarted, "three dots"),
        "no budget": Wrong(NoBudget, "the budget is"),
        "the part of fuse for high forgotten": Wrong(HighForgotten, "too many"),
        "as large as low": Wrong(SizeKept, "to the size of high"),
        "the mean of low for all": Wrong(MeanOfLow, "far away"),
        "low takes no part": Wrong(OnlyHigh, "low-level map takes no part"),
        "high detached": Wrong(ConcatDetached, "detach"),
        "places mixed up": Wrong(Turned, "place by place"),
    },
)

GALLERIES = {"shapes": SHAPES, "afnb": FUSION, "concatenation": CONCATENATION}
