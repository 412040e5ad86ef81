"""Efficient attention: twelve methods, what each reduces, and what each costs.

B batch, C channels of queries and keys, Cv of values, H x W the map, N = H * W positions that ask,
S that answer. Each function gives what the positions fetch, (B, N, Cv), and is linear in the
values: fed with the identity as values, it gives its weights away (`weights_of`).

C channels of queries, keys and values, H x W the map, N = H * W its positions. Operations are those
of matrix products, two for each multiply-add; what is stored are the numbers of weights (or of what
stands for them) at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, elu, scaled_dot_product_attention

from annlib.model.asymmetric import PyramidPool

Size = tuple[int, int]  # (height, width) of the map
Method = Callable[
    [Tensor, Tensor, Tensor], Tensor
]  # (B, C, N), (B, C, N), (B, Cv, N) -> (B, N, Cv)


def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The non-local block: all N x S weights, written down.  -> (B, N, Cv)"""
    scores = (query.shape[1] ** -0.5 * query).mT @ key
    return scores.softmax(dim=-1) @ value.mT


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same numbers by torch's fused kernel, a tile of weights at a time.  -> (B, N, Cv)"""
    rows = [part.mT[:, None].contiguous() for part in (query, key, value)]
    return scaled_dot_product_attention(*rows)[:, 0]


def anchors(
    query: Tensor, key: Tensor, value: Tensor, size: Size, scales: tuple[int, ...] = (1, 3, 6, 8)
) -> Tensor:
    """APNB: the means over the cells of several grids answer.  -> (B, N, Cv)"""
    pool = PyramidPool(scales)
    return exact(query, pool(key.unflatten(2, size)), pool(value.unflatten(2, size)))


def reduced(query: Tensor, key: Tensor, value: Tensor, size: Size, factor: int) -> Tensor:
    """Spatial reduction, as in PVT but by means: squares of factor x factor answer. -> (B, N, Cv)

    PVT and SegFormer learn the reduction.
    """
    small = (size[0] // factor, size[1] // factor)
    key, value = (
        adaptive_avg_pool2d(part.unflatten(2, size), small).flatten(2) for part in (key, value)
    )
    return exact(query, key, value)


def projected(query: Tensor, key: Tensor, value: Tensor, num_keys: int, seed: int = 0) -> Tensor:
    """Linformer without training: S random mixtures of all positions answer.  -> (B, N, Cv)

    Linformer learns the mixtures, and so has a fixed N.
    """
    dice = torch.Generator().manual_seed(seed)
    mixing = torch.randn(key.shape[2], num_keys, generator=dice) / num_keys**0.5
    mixing = mixing.to(key)  # (N, S)
    return exact(query, key @ mixing, value @ mixing)


def nystrom(query: Tensor, key: Tensor, value: Tensor, size: Size, grid: Size) -> Tensor:
    """Nystrom: N x N weights, rebuilt from those to and from S landmarks.  -> (B, N, Cv)

    Landmarks are means over a grid of cells; the paper takes means of stretches of a text.
    """
    landmark_query, landmark_key = (
        adaptive_avg_pool2d(part.unflatten(2, size), grid).flatten(2) for part in (query, key)
    )
    identity = torch.eye(landmark_key.shape[2]).to(key)[None]  # reads out the S x S weights
    between = exact(landmark_query, landmark_key, identity)
    fetched = exact(landmark_query, key, value)  # (B, S, Cv)
    return exact(query, landmark_key, (torch.linalg.pinv(between, rtol=1e-3) @ fetched).mT)


def elu_plus_one(x: Tensor) -> Tensor:
    """The features of the linear transformers: above 0 everywhere, and nearly linear."""
    return elu(x) + 1


def linear(
    query: Tensor, key: Tensor, value: Tensor, feature: Callable[[Tensor], Tensor] = elu_plus_one
) -> Tensor:
    """Kernel attention: features of a key meet the values before any query asks. -> (B, N, Cv)

    No row of N weights is ever made; C x Cv numbers hold all that can be fetched.
    """
    query, key = feature(query), feature(key)
    memory = key @ value.mT  # (B, C, Cv)
    totals = query.mT @ key.sum(dim=2, keepdim=True)  # (B, N, 1)
    return query.mT @ memory / totals


def random_features(
    query: Tensor, key: Tensor, value: Tensor, number: int, seed: int = 0
) -> Tensor:
    """Performer's idea: random features whose products estimate exp of the scores. -> (B, N, Cv)

    The paper also makes the directions orthogonal and draws them anew; we do not.
    """
    dice = torch.Generator().manual_seed(seed)
    directions = torch.randn(number, query.shape[1], generator=dice).to(query)

    def feature(x: Tensor) -> Tensor:
        x = x * query.shape[1] ** -0.25
        exponent = directions @ x - x.square().sum(dim=1, keepdim=True) / 2
        return (exponent - exponent.amax(dim=(1, 2), keepdim=True)).exp() + 1e-12

    return linear(query, key, value, feature)


def windows(query: Tensor, key: Tensor, value: Tensor, size: Size, side: int) -> Tensor:
    """Swin's windows, not shifted: only the own square of side x side answers.  -> (B, N, Cv)"""

    def cut(part: Tensor) -> Tensor:
        part = part.unflatten(2, size)
        return rearrange(part, "b c (y h) (x w) -> (b y x) c (h w)", h=side, w=side)

    context = exact(cut(query), cut(key), cut(value))
    return rearrange(
        context,
        "(b y x) (h w) c -> b (y h x w) c",
        b=len(query),
        y=size[0] // side,
        x=size[1] // side,
        h=side,
    )


def criss_cross(query: Tensor, key: Tensor, value: Tensor, size: Size, passes: int = 2) -> Tensor:
    """CCNet: the own row and column answer; a second pass reaches all by a corner. -> (B, N, Cv)

    CCNet asks anew from what the first pass has fetched; we keep the queries and keys.
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
    """EMANet's idea: all keys are summed up by a few centres, found anew in each picture.

    -> (B, N, Cv). Centres start at keys evenly picked; EMANet starts from learned ones.
    """
    picks = torch.linspace(0, key.shape[2] - 1, number, device=key.device).long()
    middle = key[:, :, picks]  # (B, C, S)
    for _ in range(rounds):
        shares = (key.mT @ middle * key.shape[1] ** -0.5).softmax(dim=-1)  # (B, N, S)
        shares = shares / shares.sum(dim=1, keepdim=True)
        middle = key @ shares
    return exact(query, middle, value @ shares)


def weights_of(method: Method, query: Tensor, key: Tensor) -> Tensor:
    """The N x N weights that a method acts by, read out with the identity as values.

    (B, C, N), (B, C, N) -> (B, N, N). Exact, because each method is linear in the values.
    """
    num_positions = key.shape[2]
    identity = torch.eye(num_positions).to(key).expand(len(key), -1, -1)
    return method(query, key, identity)


KEYS, PAIRS, ORDER, STORAGE = "fewer keys", "fewer pairs", "other order", "never stored"
EXACT = "non-local"
SCALES = {1: (1,), 10: (1, 3), 46: (1, 3, 6), 110: (1, 3, 6, 8)}  # anchors -> grids
ROUNDS = 5  # of finding centres
Count = Callable[[int, Size, int], int]  # (option, size, channels) -> how many


@dataclass(frozen=True)
class Family:
    """One way to make attention cheap; `option` is its size, as `unit` says."""

    shrinks: str
    unit: str
    options: tuple[int, ...]  # from the cheapest to the dearest
    make: Callable[[int, Size], Method]
    operations: Count
    stored: Count


def positions(size: Size) -> int:
    """N"""
    return size[0] * size[1]


def of_keys(option: int, size: Size, channels: int) -> int:
    """N positions ask S others: 4 N S C."""
    return 4 * positions(size) * option * channels


def of_all(option: int, size: Size, channels: int) -> int:
    """4 N N C"""
    return of_keys(positions(size), size, channels)


def of_nystrom(option: int, size: Size, channels: int) -> int:
    """To and from S landmarks, and among them; the inverse itself is no product."""
    landmarks = positions(size) // option**2
    among = 4 * landmarks**2 * channels + 2 * landmarks**3
    return 2 * of_keys(landmarks, size, channels) + among


def of_linear(option: int, size: Size, channels: int) -> int:
    """4 N C C, and 2 N C for the totals."""
    return 4 * positions(size) * channels**2 + 2 * positions(size) * channels


def of_random_features(option: int, size: Size, channels: int) -> int:
    """4 N m C to make m features of queries and keys, then as kernel attention."""
    return 2 * of_keys(option, size, channels) + 2 * positions(size) * option


def of_crosses(option: int, size: Size, channels: int) -> int:
    """2 N (H + W) C for the scores, as many for each pass."""
    return 2 * positions(size) * sum(size) * channels * (1 + option)


def of_centres(option: int, size: Size, channels: int) -> int:
    """Each round assigns and averages; then values are averaged, and the centres asked."""
    return positions(size) * option * channels * (4 * ROUNDS + 6)


def weights_to(option: int, size: Size, channels: int) -> int:
    """N x S"""
    return positions(size) * option


FAMILIES: dict[str, Family] = {
    EXACT: Family(
        "nothing",
        "all weights written down",
        (1,),
        lambda option, size: exact,
        of_all,
        lambda option, size, channels: positions(size) ** 2,
    ),
    "fused": Family(
        STORAGE,
        "a tile of weights at a time",
        (1,),
        lambda option, size: fused,
        of_all,
        lambda option, size, channels: 0,
    ),
    "anchors": Family(
        KEYS,
        "anchors",
        tuple(SCALES)[1:],
        lambda option, size: partial(anchors, size=size, scales=SCALES[option]),
        of_keys,
        weights_to,
    ),
    "reduced": Family(
        KEYS,
        "positions a side become one",
        (8, 4, 2),
        lambda option, size: partial(reduced, size=size, factor=option),
        lambda option, size, channels: of_keys(positions(size) // option**2, size, channels),
        lambda option, size, channels: positions(size) ** 2 // option**2,
    ),
    "projected": Family(
        KEYS,
        "random mixtures",
        (24, 96, 384),
        lambda option, size: partial(projected, num_keys=option),
        lambda option, size, channels: 2 * of_keys(option, size, channels),
        weights_to,
    ),
    "landmarks": Family(
        KEYS,
        "positions a side share a landmark",
        (8, 4, 2),
        lambda option, size: partial(
            nystrom, size=size, grid=(size[0] // option, size[1] // option)
        ),
        of_nystrom,
        lambda option, size, channels: 2 * positions(size) ** 2 // option**2,
    ),
    "centres": Family(
        KEYS,
        "centres",
        (16, 64, 128),
        lambda option, size: partial(centres, number=option, rounds=ROUNDS),
        of_centres,
        weights_to,
    ),
    "windows": Family(
        PAIRS,
        "positions a side of a window",
        (2, 4, 8),
        lambda option, size: partial(windows, size=size, side=option),
        lambda option, size, channels: of_keys(option**2, size, channels),
        lambda option, size, channels: positions(size) * option**2,
    ),
    "criss-cross": Family(
        PAIRS,
        "passes",
        (1, 2, 3),
        lambda option, size: partial(criss_cross, size=size, passes=option),
        of_crosses,
        lambda option, size, channels: positions(size) * sum(size),
    ),
    "kernel": Family(
        ORDER,
        "a memory of C x C",
        (1,),
        lambda option, size: linear,
        of_linear,
        lambda option, size, channels: channels**2,
    ),
    "random features": Family(
        ORDER,
        "features",
        (64, 256, 1024),
        lambda option, size: partial(random_features, number=option),
        of_random_features,
        lambda option, size, channels: option * channels,
    ),
}


def method_of(name: str, option: int, size: Size) -> Method:
    """The function of a family at one of its sizes, for maps of `size`."""
    return FAMILIES[name].make(option, size)


def share_of_work(name: str, option: int, size: Size, channels: int) -> float:
    """Its operations, as a share of those of the non-local block."""
    return FAMILIES[name].operations(option, size, channels) / of_all(1, size, channels)
