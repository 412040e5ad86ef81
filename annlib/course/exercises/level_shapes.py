"""Checker of lesson 05: the shapes in an AFNB.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map, S anchors.
"""

from collections.abc import Callable, Mapping

import torch

from annlib.course.exercises.checking import NotYet, draw, expect
from annlib.course.lines import say

SHAPES = ("query", "key", "value", "weights", "output")
Shape = tuple[int, ...]


def afnb_shapes(student: Callable[[Shape, Shape, int, int], Mapping[str, Shape]]) -> None:
    """student(low (Cl, h, w), high (Ch, H, W), key_channels, num_anchors) -> shapes by name"""
    for _ in range(3):
        low = (draw(10, 20), draw(30, 40), draw(50, 60))
        high = (draw(21, 30), draw(5, 9), draw(10, 19))
        keys, anchors = draw(2, 8), draw(70, 110)
        call = f"afnb_shapes({low}, {high}, {keys}, {anchors})"
        try:
            found = student(low, high, keys, anchors)
        except Exception as error:
            raise NotYet(f"{call} stopped with {type(error).__name__}: {error}") from error
        expect(
            isinstance(found, dict) and all(name in found for name in SHAPES),
            f"{call} must give a dict with {', '.join(SHAPES)}: put your shapes in place of the "
            "three dots.",
        )
        check_shapes(found, low, high, keys, anchors)
    say(
        "Right: the high-level map decides who asks and the size of the output; of the low-level "
        "map only its channels enter, before sampling, and then no longer its size."
    )


def check_shapes(found: dict[str, Shape], low: Shape, high: Shape, keys: int, anchors: int) -> None:
    positions, low_positions = high[1] * high[2], low[1] * low[2]
    right = {
        "query": (keys, positions),
        "key": (keys, anchors),
        "value": (keys, anchors),
        "weights": (positions, anchors),
        "output": high,
    }
    slips = {
        ("query", (keys, low_positions)): "The query comes from the map that asks: the high one.",
        ("query", (keys, anchors)): "The query is not sampled: every position of it asks.",
        ("key", (keys, low_positions)): "The key is sampled: S anchors, whatever the map's size.",
        ("key", (keys, positions)): "The key comes from the low-level map, and is sampled.",
        ("value", (keys, low_positions)): "The value is sampled as the key is: S anchors.",
        ("weights", (anchors, positions)): "A row of weights belongs to one who asks: N rows.",
        ("weights", (low_positions, anchors)): "Positions of the high-level map ask, not the low.",
        ("weights", (positions, low_positions)): "Only S anchors of the low-level map answer.",
        ("output", low): "The output has the size and channels of the map that asked.",
        (
            "output",
            (keys, *high[1:]),
        ): "After to_output and fusing, the channels are those of high.",
        ("output", (low[0] + high[0], *high[1:])): "The concatenation is fused: channels of high.",
    }
    for name, shape in right.items():
        got = found[name]
        got = tuple(got) if isinstance(got, tuple | list | torch.Size) else got
        advice = slips.get((name, got), "Ask first: whose positions are these, and how many?")
        expect(
            got == shape,
            f"{name} is {got} for low {low}, high {high}, {keys} key channels and S = {anchors}. "
            f"{advice} (Leave the batch out.)",
        )
