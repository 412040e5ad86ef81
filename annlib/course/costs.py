"""Costs of attention and of the parts of a network, by formula: FLOPs, memory, parameters, shapes.

B batch, N = H * W positions of the map, S anchors, C channels of query, key and value; the map has
8 C channels, as in the blocks that were measured for the paper (2048 and 256).
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch

from annlib.config import ModelConfig
from annlib.course import implementations
from annlib.course.attention import capture
from annlib.course.implementations import FUSED, NONLOCAL, PLAIN_APNB, Shape, product
from annlib.course.row_costs import REST, gflops_by_part
from annlib.experiments import find_experiment
from annlib.model.build import build_model

WIDER = 8  # channels of the map for each channel of a query
FLOAT32 = 4  # bytes
HEADS = {"non-local": "nonlocal", "APNB alone": "apnb", "ANN (AFNB and APNB)": "ann"}


class Bill(NamedTuple):
    operations: float  # floating point, of one forward pass
    num_bytes: float  # held at its peak


class Setting(NamedTuple):
    size: tuple[int, int]  # of the map (height, width)
    channels: int  # C
    grids: tuple[int, ...]  # (1, 3) stands for 1 + 9 anchors

    positions = Shape.positions  # N

    @property
    def anchors(self) -> int:
        """S"""
        return sum(side * side for side in self.grids)


def bills(positions: float, anchors: float, channels: float) -> dict[str, Bill]:
    """Of the non-local block, written out and fused, and of APNB as it is written."""
    wide, row = WIDER * channels, FLOAT32 * positions
    all_pairs = operations(positions, positions, channels)
    # While the softmax runs; at the end.
    written = max(2 * positions + 2 * channels, positions + 3 * channels + wide)
    anchored = operations(positions, anchors, channels)
    return {
        NONLOCAL: Bill(all_pairs, row * written),
        FUSED: Bill(all_pairs, row * (wide + 3 * channels)),
        PLAIN_APNB: Bill(anchored, row * (wide + 2 * channels + 2 * anchors)),
    }


def operations(positions: float, keys: float, channels: float) -> float:
    """Three 1 x 1 convolutions and two products, two operations for each multiply-add."""
    return 2 * positions * channels * (3 * WIDER * channels + 2 * keys)


@cache
def network_bill(head: str, size: tuple[int, int]) -> dict[str, float]:
    """GFLOPs of each part but the auxiliary head, for one image (height, width).  head: of HEADS"""
    found = gflops_by_part(network(head), 1, size, folded=False)
    return {name: value for name, value in found.items() if name not in (REST, "auxiliary")}


def network(head: str) -> ModelConfig:
    """The published ResNet-50 for 19 classes, with this head."""
    return replace(find_experiment("ann_r50-d8_512x1024_40k_cityscapes").model, head=HEADS[head])


def block_shape(name: str, size: tuple[int, int], channels: int) -> Shape:
    """AFNB or APNB of the published networks on maps of `size`; `channels` of the query map."""
    if name == "AFNB":
        return Shape(channels, channels // 2, channels // 8, channels // 8, size, shared=False)
    return Shape(channels, channels, channels // 2, channels // 2, size)


def step_gflops(shape: Shape, folded: bool) -> dict[str, float]:
    """GFLOPs of each step of a block; folding runs some steps S times instead of N."""
    n, anchors = shape.positions, shape.anchors
    rows = anchors if folded else n
    key, value, wide = shape.key_channels, shape.value_channels, shape.channels
    query = 0 if shape.shared else product(n, wide, key)
    summed = wide if folded else value  # channels of the anchors that the weights sum up
    steps = {
        "query and key": product(n, shape.key_in_channels, key) + query,
        "value": product(rows, shape.key_in_channels, value),
        "cell means": implementations.both_poolings_flops(shape) if folded else 0,
        "scores": product(n, key, anchors),
        "output": product(rows, value, wide),
        "fuse, context": product(rows, wide, wide),
        "weights x anchors": product(n, anchors, summed),
        "fuse, features": product(n, wide, wide),
    }
    return {name: flops / 1e9 for name, flops in steps.items()}


class Stage(NamedTuple):
    name: str
    shapes: tuple[tuple[int, ...], ...]  # of its outputs, without the batch: (C, H, W) each
    parameters: int


def walk(config: ModelConfig, image_size: tuple[int, int], training: bool = True) -> list[Stage]:
    """The parts in the order in which they run, on tensors without data: no memory is needed."""
    with torch.device("meta"):
        model = build_model(config).train(training)
        images = torch.empty(2, 3, *image_size)
    with torch.no_grad(), capture(dict(model.named_children())) as outputs:
        model(images)
    stages = []
    for name, output in outputs.items():
        maps = output if isinstance(output, tuple) else (output,)
        parameters = sum(p.numel() for p in model.get_submodule(name).parameters())
        stages.append(Stage(name, tuple(tuple(one.shape[1:]) for one in maps), parameters))
    return stages


def say_stages(stages: list[Stage]) -> str:
    lines = [f"{'part':11} {'parameters':>10}  output (C, H, W)"]
    for stage in stages:
        shapes = ", ".join("x".join(map(str, shape)) for shape in stage.shapes)
        lines.append(f"{stage.name:11} {stage.parameters or '-':>10}  {shapes}")
    return "\n".join(lines)
