"""What attention costs, by formula: operations and memory of its forms, and of a network's parts.

N = H * W positions, S anchors, C channels of query, key and value; the map has 8 C, as in the
blocks that were measured for the paper (2048 and 256).
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

from annlib.config import ModelConfig
from annlib.engine.parts import REST, gflops_by_part
from annlib.experiments import find_experiment
from annlib.speed.attentions import FUSED, NONLOCAL, PLAIN

WIDER = 8  # channels of the map for each channel of a query
FLOAT32 = 4  # bytes
ROW = "ann_r50-d8_512x1024_40k_cityscapes"
HEADS = {"non-local": "nonlocal", "APNB alone": "apnb", "ANN (AFNB and APNB)": "ann"}


class Bill(NamedTuple):
    """Of one forward pass: floating point operations, and bytes held at once."""

    operations: float
    num_bytes: float


class Setting(NamedTuple):
    """A map whose positions ask, and the anchors that answer."""

    size: tuple[int, int]  # of the map (height, width)
    channels: int  # C
    grids: tuple[int, ...]  # (1, 3) stands for 1 + 9 anchors

    @property
    def positions(self) -> int:
        """N"""
        return self.size[0] * self.size[1]

    @property
    def anchors(self) -> int:
        """S"""
        return sum(side * side for side in self.grids)


def bills(positions: float, anchors: float, channels: float) -> dict[str, Bill]:
    """Of the non-local block, written out and fused, and of APNB as it is written."""
    wide = WIDER * channels
    number = FLOAT32 * positions
    all_ask = operations(positions, positions, channels)
    written = max(  # while the softmax runs; at the end
        2 * positions + 2 * channels, positions + 3 * channels + wide
    )
    return {
        NONLOCAL: Bill(all_ask, number * written),
        FUSED: Bill(all_ask, number * (wide + 3 * channels)),
        PLAIN: Bill(
            operations(positions, anchors, channels),
            number * (wide + 2 * channels + 2 * anchors),
        ),
    }


def operations(positions: float, asked: float, channels: float) -> float:
    """Three 1 x 1 convolutions and two products, two operations for each multiply-add."""
    return 2 * positions * channels * (3 * WIDER * channels + 2 * asked)


@cache
def network_bill(head: str, size: tuple[int, int]) -> dict[str, float]:
    """GFLOPs of each part of a ResNet-50 network for one picture, the auxiliary head aside.

    head: one of HEADS. size: of the picture (height, width)
    """
    found = gflops_by_part(network(head), 1, size, folded=False)
    return {name: value for name, value in found.items() if name not in (REST, "auxiliary")}


def network(head: str) -> ModelConfig:
    """The published ResNet-50 for 19 classes, with this head."""
    return replace(find_experiment(ROW).model, head=HEADS[head])
