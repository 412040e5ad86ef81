"""The synthetic task of assignment A3: small maps, a small network, a score. Needs only torch.

All numbers have double precision. Training makes rounding errors grow, and those of machines
differ; from 1e-16 they do not grow far enough to be seen, so a run gives the same score anywhere.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLOURS, PATTERNS, THINGS = 6, 3, 4
CHANNELS = COLOURS + PATTERNS + 1  # of a map: colour, pattern of a balloon, "this is a house"
ROWS, COLUMNS, SIDE = 6, 8, 2  # things stand on a grid of squares, each SIDE x SIDE positions
NOISE = 0.2
WIDTH = 24  # channels inside the network
BATCH, LEARNING_RATE = 8, 0.01
TEST_SEED, TEST_COUNT = 2**31, 128
PART = 16  # maps are scored so many at a time, which is twice as fast as all together
IGNORE = 255


class Maps(NamedTuple):
    """features: float64 (B, CHANNELS, 12, 16). labels: int64 (B, 12, 16), IGNORE outside houses."""

    features: Tensor
    labels: Tensor


def maps(seed: int, count: int) -> Maps:
    """Four balloons above, four houses below. A house is what its balloon's pattern says.
    Its balloon is that of the same colour, wherever it hangs. The same seed gives the same maps."""
    chance = torch.Generator().manual_seed(seed)

    def some_of(number: int) -> Tensor:  # THINGS different ones
        return torch.rand(count, number, generator=chance).argsort(1)[:, :THINGS]

    def any_of(number: int) -> Tensor:
        return torch.randint(number, (count, THINGS), generator=chance)

    colours, patterns, each = some_of(COLOURS), any_of(PATTERNS), torch.arange(count)[:, None]
    above, below = (any_of(ROWS // 2), some_of(COLUMNS)), (any_of(ROWS // 2), some_of(COLUMNS))
    squares = torch.zeros(count, CHANNELS, ROWS, COLUMNS, dtype=torch.float64)
    squares[each, colours, *above] = 1
    squares[each, COLOURS + patterns, *above] = 1
    squares[each, colours, ROWS // 2 + below[0], below[1]] = 1
    squares[each, -1, ROWS // 2 + below[0], below[1]] = 1
    labels = torch.full((count, ROWS, COLUMNS), IGNORE)
    labels[each, ROWS // 2 + below[0], below[1]] = patterns
    features = larger(squares)
    noise = torch.randn(features.shape, generator=chance, dtype=torch.float64)
    return Maps(features + NOISE * noise, larger(labels))


def larger(squares: Tensor) -> Tensor:
    """(..., ROWS, COLUMNS) -> (..., 12, 16)"""
    return squares.repeat_interleave(SIDE, -2).repeat_interleave(SIDE, -1)


scored_maps = cache(lambda: maps(TEST_SEED, TEST_COUNT))  # never trained on


def training_maps(seed: int, step: int) -> Maps:
    """The batch of one step: all variants with this seed see the same."""
    return maps(1_000 * seed + step, BATCH)


class PyramidBlock(nn.Module):
    """APNB in small: every position asks the anchors of a pyramid, and adds what they answer.
    pool: (B, C, H, W), side n -> (B, C, n, n)"""

    def __init__(
        self,
        levels: Sequence[int] = (1, 3, 6, 8),
        key_channels: int = 16,
        pool: Callable[[Tensor, int], Tensor] = F.adaptive_avg_pool2d,
    ):
        super().__init__()
        self.levels, self.pool = tuple(levels), pool
        self.to_query = nn.Conv2d(WIDTH, key_channels, 1, dtype=torch.float64)
        self.to_key = nn.Conv2d(WIDTH, key_channels, 1, dtype=torch.float64)
        self.to_value = nn.Conv2d(WIDTH, WIDTH, 1, dtype=torch.float64)

    def sample(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, S)"""
        return torch.cat([self.pool(features, level).flatten(2) for level in self.levels], 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, WIDTH, H, W) -> (B, WIDTH, H, W)"""
        query = self.to_query(features).flatten(2)
        key, value = self.sample(self.to_key(features)), self.sample(self.to_value(features))
        weights = (query.mT / math.sqrt(query.shape[1]) @ key).softmax(-1)
        return features + (weights @ value.mT).mT.unflatten(2, features.shape[2:])


class Network(nn.Module):
    """Sees one position at a time, but for the block in its middle: build(variant).
    The block is built last, so all variants with one seed start from the same other weights."""

    def __init__(self, build: Callable[[int], nn.Module], variant: int):
        super().__init__()
        self.embed = nn.Conv2d(CHANNELS, WIDTH, 1, dtype=torch.float64)
        self.hidden = nn.Conv2d(WIDTH, WIDTH, 1, dtype=torch.float64)
        self.classifier = nn.Conv2d(WIDTH, PATTERNS, 1, dtype=torch.float64)
        self.block = build(variant)

    def forward(self, features: Tensor) -> Tensor:
        """(B, CHANNELS, H, W) -> logits (B, PATTERNS, H, W)"""
        features = self.block(self.embed(features).relu())
        return self.classifier(self.hidden(features).relu())


@torch.no_grad()
def probability(network: nn.Module, features: Tensor, labels: Tensor) -> float:
    """What the network gives to the right pattern, the mean over all positions of houses."""
    parts = [network(part) for part in features.split(PART)]
    found = torch.cat(parts).softmax(1).permute(0, 2, 3, 1)[labels != IGNORE]
    return found.gather(1, labels[labels != IGNORE][:, None]).mean().item()


def score(network: nn.Module) -> float:
    """Mean probability of the right pattern on maps that are never trained on; 1/3 is a guess."""
    return probability(network, *scored_maps())


def t_quantile(share: float, df: int) -> float:
    """The number below which a share (0 to 1) of Student's t lies.  df: degrees of freedom, n - 1
    With t = sqrt(df) tan(angle), the density becomes a power of a cosine."""
    if share < 0.5:
        return -t_quantile(1 - share, df)
    angles = torch.linspace(0, math.pi / 2, 40_001, dtype=torch.float64)
    areas = F.pad(torch.cumulative_trapezoid(angles.cos() ** (df - 1), angles), (1, 0))
    areas, wanted = areas / areas[-1], 2 * share - 1
    after = max(1, int(torch.searchsorted(areas, wanted)))
    part = (wanted - areas[after - 1]) / (areas[after] - areas[after - 1])
    return math.sqrt(df) * math.tan(torch.lerp(angles[after - 1], angles[after], part).item())


warmed_up = cache(lambda run, variant: run(variant, 0, 1))  # the first call loads libraries


def seconds_of(run: Callable[[int, int, int], float], variant: int, steps: int) -> float:
    """How long a run of so many steps will take here, from a short one and a longer one."""
    short, longer = 2, 2 + max(4, steps // 15)
    warmed_up(run, variant)

    def measured(few: int) -> float:
        began = time.perf_counter()
        run(variant, 0, few)
        return time.perf_counter() - began

    first, second = measured(short), measured(longer)
    a_step = max(0.0, second - first) / (longer - short)
    return second + a_step * max(0, steps - longer)
