"""Efficient attention: eleven methods, what each reduces, and what each costs.

B batch, C channels of queries and keys, Cv of values, H x W the map, N = H * W query positions, S
keys. Each function gives the weighted sums of the values, (B, N, Cv), and is linear in the values,
so with the identity as values it returns its weights (`weights_of`). A multiply-add counts twice.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, elu, scaled_dot_product_attention

from annlib.model.asymmetric import PyramidPool

Size = tuple[int, int]  # (height, width) of the map
Method = Callable[[Tensor, Tensor, Tensor], Tensor]  # (B, C, N) twice, (B, Cv, N) -> (B, N, Cv)


def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The non-local block: all N x S weights are stored.  -> (B, N, Cv)"""
    if not key.shape[2]:  # the softmax over nothing would be 0
        raise ValueError("There are no keys: a grid or a number of keys is 0. Give 1 or more.")
    scores = (query.shape[1] ** -0.5 * query).mT @ key
    return scores.softmax(dim=-1) @ value.mT


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same numbers by torch's fused kernel, one tile of weights at a time.  -> (B, N, Cv)"""
    rows = [part.mT[:, None].contiguous() for part in (query, key, value)]
    return scaled_dot_product_attention(*rows)[:, 0]


def anchors(
    query: Tensor, key: Tensor, value: Tensor, size: Size, scales: tuple[int, ...] = (1, 3, 6, 8)
) -> Tensor:
    """APNB: the keys are the means over the cells of several grids.  -> (B, N, Cv)"""
    pool = PyramidPool(scales)
    return exact(query, pool(key.unflatten(2, size)), pool(value.unflatten(2, size)))


def reduced(query: Tensor, key: Tensor, value: Tensor, size: Size, factor: int) -> Tensor:
    """Spatial reduction, which PVT learns: keys are means of factor x factor.  -> (B, N, Cv)"""
    small = (size[0] // factor, size[1] // factor)
    key, value = (adaptive_avg_pool2d(x.unflatten(2, size), small).flatten(2) for x in (key, value))
    return exact(query, key, value)


def projected(query: Tensor, key: Tensor, value: Tensor, num_keys: int) -> Tensor:
    """Linformer without training: S random mixtures of all positions as keys.  -> (B, N, Cv)"""
    dice = torch.Generator().manual_seed(0)
    mixing = (torch.randn(key.shape[2], num_keys, generator=dice) / num_keys**0.5).to(key)  # N, S
    return exact(query, key @ mixing, value @ mixing)


def nystrom(query: Tensor, key: Tensor, value: Tensor, size: Size, grid: Size) -> Tensor:
    """Nystrom: N x N weights, approximated by those to and from S landmarks.  -> (B, N, Cv)

    Landmarks are means over a grid of cells; the paper takes means of stretches of a text.
    """
    landmark_query, landmark_key = (
        adaptive_avg_pool2d(part.unflatten(2, size), grid).flatten(2) for part in (query, key)
    )
    between = weights_of(exact, landmark_query, landmark_key)  # (B, S, S)
    summed = exact(landmark_query, key, value)  # (B, S, Cv)
    return exact(query, landmark_key, (torch.linalg.pinv(between, rtol=1e-3) @ summed).mT)


def elu_plus_one(x: Tensor) -> Tensor:
    """The features of the linear transformers: above 0 everywhere, and nearly linear."""
    return elu(x) + 1


def linear(
    query: Tensor, key: Tensor, value: Tensor, feature: Callable[[Tensor], Tensor] = elu_plus_one
) -> Tensor:
    """Kernel attention: keys times values come first, C x Cv instead of N x N.  -> (B, N, Cv)"""
    query, key = feature(query).mT, feature(key)
    totals = query @ key.sum(dim=2, keepdim=True)  # (B, N, 1)
    return query @ (key @ value.mT) / totals  # the inner product is the memory, (B, C, Cv)


def random_features(query: Tensor, key: Tensor, value: Tensor, number: int) -> Tensor:
    """Performer's idea: random features whose products estimate exp of the scores. -> (B, N, Cv)

    The paper also makes the directions orthogonal and redraws them; we do not.
    """
    dice = torch.Generator().manual_seed(0)
    directions = torch.randn(number, query.shape[1], generator=dice).to(query)

    def feature(x: Tensor) -> Tensor:
        x = x * query.shape[1] ** -0.25
        exponent = directions @ x - x.square().sum(dim=1, keepdim=True) / 2
        return (exponent - exponent.amax(dim=(1, 2), keepdim=True)).exp() + 1e-12

    return linear(query, key, value, feature)


def windows(query: Tensor, key: Tensor, value: Tensor, size: Size, side: int) -> Tensor:
    """Swin's windows, not shifted: a position attends to its own square only.  -> (B, N, Cv)"""

    def cut(part: Tensor) -> Tensor:
        part = part.unflatten(2, size)
        return rearrange(part, "b c (y h) (x w) -> (b y x) c (h w)", h=side, w=side)

    context, rows = exact(cut(query), cut(key), cut(value)), size[0] // side
    return rearrange(context, "(b y x) (h w) c -> b (y h x w) c", b=len(query), y=rows, h=side)


def criss_cross(query: Tensor, key: Tensor, value: Tensor, size: Size, passes: int = 2) -> Tensor:
    """CCNet: a position attends to its row and column; a second pass reaches all.  -> (B, N, Cv)

    CCNet computes new queries and keys from the first pass; we keep them.
    """
    query, key = (part.unflatten(2, size) for part in (query * query.shape[1] ** -0.5, key))
    along_row = torch.einsum("b c y x, b c y k -> b y x k", query, key)
    along_column = torch.einsum("b c y x, b c k x -> b y x k", query, key)
    self_again = torch.eye(size[0], dtype=torch.bool, device=key.device)[:, None]  # (H, 1, H)
    along_column = along_column.masked_fill(self_again, -torch.inf)
    weights = torch.cat([along_row, along_column], dim=-1).softmax(dim=-1)  # W + H of them
    along_row, along_column = weights.split((size[1], size[0]), dim=-1)
    for _ in range(passes):
        maps = value.unflatten(2, size)
        from_row = torch.einsum("b y x k, b c y k -> b c y x", along_row, maps)
        from_column = torch.einsum("b y x k, b c k x -> b c y x", along_column, maps)
        value = (from_row + from_column).flatten(2)
    return value.mT


def centres(query: Tensor, key: Tensor, value: Tensor, number: int, rounds: int = 5) -> Tensor:
    """EMANet's idea: cluster centres as keys, begun at evenly spaced ones.  -> (B, N, Cv)"""
    picks = torch.linspace(0, key.shape[2] - 1, number, device=key.device).long()
    middle = key[:, :, picks]  # (B, C, S)
    for _ in range(rounds):
        shares = (key.mT @ middle * key.shape[1] ** -0.5).softmax(dim=-1)  # (B, N, S)
        shares = shares / shares.sum(dim=1, keepdim=True)
        middle = key @ shares
    return exact(query, middle, value @ shares)


def weights_of(method: Method, query: Tensor, key: Tensor) -> Tensor:
    """The N x N weights of a method, which is linear in values.  (B, C, N) twice -> (B, N, N)"""
    return method(query, key, torch.eye(key.shape[2]).to(key).expand(len(key), -1, -1))


KINDS = KEYS, PAIRS, ORDER, STORAGE = "fewer keys", "fewer pairs", "other order", "never stored"
EXACT = "non-local"
SCALES = {1: (1,), 10: (1, 3), 46: (1, 3, 6), 110: (1, 3, 6, 8)}  # anchors -> grids


class Family(NamedTuple):
    """One way to make attention cheap; `option` is its size, as `unit` says."""

    shrinks: str
    unit: str
    options: tuple[int, ...]  # from the cheapest to the most expensive
    make: Callable[[int, Size], Method]
    operations: Callable[[int, Size, int], int]  # (option, size, channels) -> how many


def attend(keys: int, size: Size, channels: int) -> int:
    """Operations of N positions that attend to S keys: 4 N S C."""
    return 4 * prod(size) * keys * channels


def all_pairs(option: int, size: Size, channels: int) -> int:
    return attend(prod(size), size, channels)


# Lambdas take m (the option), s (the size of the map) and c (the channels).
# fmt: off
FAMILIES: dict[str, Family] = {
    EXACT: Family("nothing", "all weights written down", (1,), lambda m, s: exact, all_pairs),
    "fused": Family(STORAGE, "a tile of weights at a time", (1,), lambda m, s: fused, all_pairs),
    "anchors": Family(
        KEYS, "anchors", tuple(SCALES)[1:],
        lambda m, s: partial(anchors, size=s, scales=SCALES[m]), attend),
    "reduced": Family(
        KEYS, "positions a side become one", (8, 4, 2),
        lambda m, s: partial(reduced, size=s, factor=m),
        lambda m, s, c: attend(prod(s) // m**2, s, c)),
    "projected": Family(
        KEYS, "random mixtures", (24, 96, 384), lambda m, s: partial(projected, num_keys=m),
        lambda m, s, c: 2 * attend(m, s, c)),
    "landmarks": Family(
        KEYS, "positions a side share a landmark", (8, 4, 2),
        lambda m, s: partial(nystrom, size=s, grid=(s[0] // m, s[1] // m)),
        # To and from S landmarks, and among them; the inverse itself is not a product.
        lambda m, s, c: 2 * attend(n := prod(s) // m**2, s, c) + 4 * n**2 * c + 2 * n**3),
    "centres": Family(
        KEYS, "centres", (16, 64, 128), lambda m, s: partial(centres, number=m, rounds=5),
        # Each round assigns and averages; then values are averaged, and N attend to the centres.
        lambda m, s, c: prod(s) * m * c * (4 * 5 + 6)),
    "windows": Family(
        PAIRS, "positions a side of a window", (2, 4, 8),
        lambda m, s: partial(windows, size=s, side=m), lambda m, s, c: attend(m**2, s, c)),
    "criss-cross": Family(
        PAIRS, "passes", (1, 2, 3), lambda m, s: partial(criss_cross, size=s, passes=m),
        # 2 N (H + W) C for the scores, and the same for each pass.
        lambda m, s, c: 2 * prod(s) * sum(s) * c * (1 + m)),
    "kernel": Family(
        ORDER, "a memory of C x C", (1,), lambda m, s: linear,
        lambda m, s, c: 4 * prod(s) * c**2 + 2 * prod(s) * c),
    "random features": Family(
        ORDER, "features", (64, 256, 1024), lambda m, s: partial(random_features, number=m),
        # 4 N m C to make m features of queries and keys, then the same as kernel attention.
        lambda m, s, c: 2 * attend(m, s, c) + 2 * prod(s) * m),
}
# fmt: on


def method_of(name: str, option: int, size: Size) -> Method:
    """The function of a family at one of its sizes, for maps of `size`."""
    return FAMILIES[name].make(option, size)


def share_of_work(name: str, option: int, size: Size, channels: int) -> float:
    """Its operations relative to those of the non-local block."""
    return FAMILIES[name].operations(option, size, channels) / all_pairs(option, size, channels)
