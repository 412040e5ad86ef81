"""Right and wrong answers to the exercises of lesson 02: the weights, and the block."""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn

from annlib.course import checks
from exercises import Gallery, Wrong

# Attention weights


def by_matmul(query: Tensor, key: Tensor) -> Tensor:
    return (query.mT @ key / sqrt(query.shape[1])).softmax(-1)


def by_einsum(query: Tensor, key: Tensor) -> Tensor:
    scores = torch.einsum("bcn,bcs->bns", query * query.shape[1] ** -0.5, key)
    shares = (scores - scores.amax(-1, keepdim=True)).exp()
    return shares / shares.sum(-1, keepdim=True)


def unnormalised_exp(query: Tensor, key: Tensor) -> Tensor:
    shares = (query.mT @ key / sqrt(query.shape[1])).exp()
    return shares / shares.sum(-1, keepdim=True)


def of_another_picture(query: Tensor, key: Tensor) -> Tensor:
    return by_matmul(query, key.flip(0))


def distances(query: Tensor, key: Tensor) -> Tensor:
    return (-torch.cdist(query.mT.contiguous(), key.mT.contiguous())).softmax(-1)


def counts_as_root(query: Tensor, key: Tensor) -> Tensor:
    return (query.mT @ key / sqrt(query.shape[2])).softmax(-1)


WRONG_WEIGHTS = {
    misconception: Wrong(answer, advice)
    for misconception, (answer, advice) in {
        "not started": (lambda q, k: ..., "three dots"),
        "forgot to return": (lambda q, k: None, "return"),
        "a list": (lambda q, k: [q], "not a tensor"),
        "softmax over the queries": (
            lambda q, k: (q.mT @ k / sqrt(q.shape[1])).softmax(1),
            "over N",
        ),
        "softmax over the batch": (lambda q, k: (q.mT @ k).softmax(0), "batch"),
        "softmax over everything": (
            lambda q, k: (q.mT @ k).flatten(1).softmax(1).unflatten(1, (q.shape[2], -1)),
            "whole matrix",
        ),
        "no softmax": (lambda q, k: q.mT @ k, "negative"),
        "weights not normalised": (lambda q, k: (q.mT @ k).sigmoid(), "sum to"),
        "no scale": (lambda q, k: (q.mT @ k).softmax(-1), "scale is missing"),
        "scale C": (lambda q, k: (q.mT @ k / q.shape[1]).softmax(-1), "square root"),
        "scale root of N": (counts_as_root, "√N"),
        "scale root of S": (lambda q, k: (q.mT @ k / sqrt(k.shape[2])).softmax(-1), "√S"),
        "times the root": (lambda q, k: (q.mT @ k * sqrt(q.shape[1])).softmax(-1), "divide"),
        "keys as queries": (lambda q, k: by_matmul(k, q), "transposed"),
        "channels attend": (lambda q, k: (q @ q.mT).softmax(-1), "(B, N, S)"),
        "only square": (lambda q, k: by_matmul(q, q), "(B, N, S)"),
        "product of wrong axes": (lambda q, k: q @ k, "stopped with"),
        "another image's keys": (of_another_picture, "same image"),
        "distance for product": (distances, "dot products"),
        "exp overflows": (unnormalised_exp, "overflows"),
        "always float32": (lambda q, k: by_matmul(q.float(), k.float()), "dtype"),
    }.items()
}


# The non-local block


class Right(nn.Module):
    """Every slip below changes one of its steps."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.to_query = nn.Conv2d(channels, key_channels, 1)
        self.to_key = nn.Conv2d(channels, key_channels, 1)
        self.to_value = nn.Conv2d(channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels, channels, 1)
        nn.init.zeros_(self.to_output.weight)
        nn.init.zeros_(self.to_output.bias)

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return by_matmul(query, key)

    def project(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.to_query(features), self.to_key(features), self.to_value(features)
        return tuple(part.flatten(2) for part in parts)

    def to_map(self, context: Tensor, features: Tensor) -> Tensor:
        return context.mT.unflatten(2, features.shape[2:])

    def add(self, features: Tensor, change: Tensor) -> Tensor:
        return features + change

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = self.project(features)
        context = self.weights(query, key) @ value.mT
        return self.add(features, self.to_output(self.to_map(context, features)))


class RightByEinsum(Right):
    def forward(self, features: Tensor) -> Tensor:
        query, key, value = self.project(features)
        context = torch.einsum("bns,bcs->bcn", by_einsum(query, key), value)
        return self.to_output(context.reshape(*context.shape[:2], *features.shape[2:])) + features


class RightWithoutBiases(Right):
    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__(channels, key_channels)
        for name in ("query", "key", "value"):
            setattr(self, f"to_{name}", nn.Conv2d(channels, key_channels, 1, bias=False))
        self.to_output = nn.Conv2d(key_channels, channels, 1, bias=False)
        nn.init.zeros_(self.to_output.weight)


class RightWithOtherValues(Right):
    """The values have as many channels as the input."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__(channels, key_channels)
        self.to_value = nn.Conv2d(channels, channels, 1)
        self.to_output = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.to_output.weight)
        nn.init.zeros_(self.to_output.bias)


def slip(**steps: Callable) -> type[Right]:
    """Right with some of its steps done otherwise."""
    return type("Block", (Right,), steps)


def random_start(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    nn.init.normal_(self.to_output.weight)


def bias_forgotten(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    nn.init.normal_(self.to_output.bias)


def scrambled(self, context: Tensor, features: Tensor) -> Tensor:
    return context.reshape(context.shape[0], -1, *features.shape[2:])


def super_forgotten(self, channels: int, key_channels: int) -> None:
    self.to_query = nn.Conv2d(channels, key_channels, 1)


def renamed(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    self.last = self.to_output
    del self.to_output
    self.to_output = lambda context: self.last(context)


def wide_output(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    self.to_output = nn.Conv2d(key_channels, channels, 3, padding=1)
    nn.init.zeros_(self.to_output.weight)
    nn.init.zeros_(self.to_output.bias)


def without_gradient(self, features: Tensor) -> Tensor:
    with torch.no_grad():
        return Right.forward(self, features)


class ValuesWithoutScale(RightWithOtherValues):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return 0.3 * query.mT @ key


def overwritten(self, features: Tensor, change: Tensor) -> Tensor:
    features += change
    return features


def detached(self, features: Tensor) -> tuple[Tensor, ...]:
    query, key, value = Right.project(self, features)
    return query.detach(), key, value


WRONG_BLOCKS = {
    misconception: Wrong(answer, advice)
    for misconception, (answer, advice) in {
        "not started": (slip(forward=lambda self, x: ...), "three dots"),
        "input not added": (slip(add=lambda self, x, change: change), "Add the input"),
        "random start": (slip(__init__=random_start), "start at zero"),
        "bias not zero": (slip(__init__=bias_forgotten), "bias"),
        "input added twice": (slip(add=lambda self, x, change: 2 * x + change), "unchanged"),
        "flat result": (slip(add=lambda self, x, change: (x + change).flatten(2)), "fit between"),
        "height and width exchanged": (slip(add=lambda self, x, c: (x + c).mT), "came out"),
        "reshaped without transposing": (slip(to_map=scrambled), "wrong positions"),
        "softmax over the queries": (
            slip(weights=lambda s, q, k: (q.mT @ k / sqrt(q.shape[1])).softmax(1)),
            "last axis",
        ),
        "no scale": (slip(weights=lambda s, q, k: (q.mT @ k).softmax(-1)), "scale is missing"),
        "scale root of N": (slip(weights=lambda s, q, k: counts_as_root(q, k)), "√N"),
        "no softmax": (
            slip(weights=lambda s, q, k: q.mT @ k / sqrt(q.shape[1])),
            "softmax is missing",
        ),
        "query and key exchanged": (slip(weights=lambda s, q, k: by_matmul(k, q)), "swapped"),
        "symmetric": (slip(weights=lambda s, q, k: by_matmul(q, q)), "keys, too"),
        "keys for values": (
            slip(project=lambda s, x: (*Right.project(s, x)[:2], Right.project(s, x)[1])),
            "not of the keys",
        ),
        "detached query": (slip(project=detached), "to_query"),
        "not a class": (..., "three dots"),
        "a function": (lambda channels, key_channels: None, "nn.Module"),
        "super forgotten": (slip(__init__=super_forgotten), "stopped with AttributeError"),
        "renamed part": (slip(__init__=renamed), "called to_output"),
        "3 x 3": (slip(__init__=wide_output), "called to_output"),
        "no gradient at all": (slip(forward=without_gradient), "No gradient flows"),
        "input overwritten": (slip(add=overwritten), "a = a"),
        "other values, other weights": (ValuesWithoutScale, "something else"),
    }.items()
}


GALLERIES = {
    "weights": Gallery(checks.attention_weights, [by_matmul, by_einsum], WRONG_WEIGHTS),
    "block": Gallery(
        checks.nonlocal_block,
        [Right, RightByEinsum, RightWithoutBiases, RightWithOtherValues],
        WRONG_BLOCKS,
    ),
}
