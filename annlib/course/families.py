"""The families of cheap attention: what each shrinks, in which sizes, and what it costs.

C channels of queries, keys and values, H x W the map, N = H * W its positions. Operations are those
of matrix products, two for each multiply-add; what is stored are the numbers of weights (or of what
stands for them) at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from annlib.course import efficient
from annlib.course.efficient import Method, Size

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
        lambda option, size: efficient.exact,
        of_all,
        lambda option, size, channels: positions(size) ** 2,
    ),
    "fused": Family(
        STORAGE,
        "a tile of weights at a time",
        (1,),
        lambda option, size: efficient.fused,
        of_all,
        lambda option, size, channels: 0,
    ),
    "anchors": Family(
        KEYS,
        "anchors",
        tuple(SCALES)[1:],
        lambda option, size: partial(efficient.anchors, size=size, scales=SCALES[option]),
        of_keys,
        weights_to,
    ),
    "reduced": Family(
        KEYS,
        "positions a side become one",
        (8, 4, 2),
        lambda option, size: partial(efficient.reduced, size=size, factor=option),
        lambda option, size, channels: of_keys(positions(size) // option**2, size, channels),
        lambda option, size, channels: positions(size) ** 2 // option**2,
    ),
    "projected": Family(
        KEYS,
        "random mixtures",
        (24, 96, 384),
        lambda option, size: partial(efficient.projected, num_keys=option),
        lambda option, size, channels: 2 * of_keys(option, size, channels),
        weights_to,
    ),
    "landmarks": Family(
        KEYS,
        "positions a side share a landmark",
        (8, 4, 2),
        lambda option, size: partial(
            efficient.nystrom, size=size, grid=(size[0] // option, size[1] // option)
        ),
        of_nystrom,
        lambda option, size, channels: 2 * positions(size) ** 2 // option**2,
    ),
    "centres": Family(
        KEYS,
        "centres",
        (16, 64, 128),
        lambda option, size: partial(efficient.centres, number=option, rounds=ROUNDS),
        of_centres,
        weights_to,
    ),
    "windows": Family(
        PAIRS,
        "positions a side of a window",
        (2, 4, 8),
        lambda option, size: partial(efficient.windows, size=size, side=option),
        lambda option, size, channels: of_keys(option**2, size, channels),
        lambda option, size, channels: positions(size) * option**2,
    ),
    "criss-cross": Family(
        PAIRS,
        "passes",
        (1, 2, 3),
        lambda option, size: partial(efficient.criss_cross, size=size, passes=option),
        of_crosses,
        lambda option, size, channels: positions(size) * sum(size),
    ),
    "kernel": Family(
        ORDER,
        "a memory of C x C",
        (1,),
        lambda option, size: efficient.linear,
        of_linear,
        lambda option, size, channels: channels**2,
    ),
    "random features": Family(
        ORDER,
        "features",
        (64, 256, 1024),
        lambda option, size: partial(efficient.random_features, number=option),
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
