"""Checkers of lesson 05: shapes in an AFNB, the AFNB, and fusion by concatenation.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map, S anchors.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from annlib.course.checks.base import NotYet, attempt, expect, passed, result_of
from annlib.course.checks.blocks import build, check_fused, check_gradient, randomise
from annlib.course.checks.inputs import draw, normal
from annlib.model.asymmetric import AFNB

Shape = tuple[int, ...]


def afnb_shapes(student: Callable[[Shape, Shape, int, int], Mapping[str, Shape]]) -> None:
    """student(low (Cl, h, w), high (Ch, H, W), key_channels, num_anchors) -> shapes by name"""
    for _ in range(3):
        low = (draw(10, 20), draw(30, 40), draw(50, 60))
        high = (draw(21, 30), draw(5, 9), draw(10, 19))
        keys, anchors = draw(2, 8), draw(70, 110)
        positions, low_positions = high[1] * high[2], low[1] * low[2]
        right = {"query": (keys, positions), "key": (keys, anchors), "value": (keys, anchors)}
        right |= {"weights": (positions, anchors), "output": high}
        both = (low[0] + high[0], *high[1:])
        slips = {
            ("query", (keys, low_positions)): "The query comes from the high-level map.",
            ("query", (keys, anchors)): "The query is not pooled: it keeps all positions.",
            ("key", (keys, low_positions)): "The key is pooled: S anchors, whatever the size.",
            ("key", (keys, positions)): "The key comes from the low-level map, and is pooled.",
            ("value", (keys, low_positions)): "The value is pooled as the key is: S anchors.",
            ("weights", (anchors, positions)): "A row belongs to one query position: N rows.",
            ("weights", (low_positions, anchors)): "The queries come from the high-level map.",
            ("weights", (positions, low_positions)): "The keys are S anchors of the low-level map.",
            ("output", low): "The output has the size and channels of the map of the queries.",
            ("output", (keys, *high[1:])): "After `fuse`, the channels are those of high.",
            ("output", both): "The concatenation is fused: channels of high.",
        }
        found = result_of(student, low, high, keys, anchors)
        if not (isinstance(found, dict) and found.keys() >= right.keys()):
            raise NotYet("no dict of shapes", low, high, keys, anchors, ", ".join(right))
        for name, shape in right.items():
            got = found[name]
            got = tuple(got) if isinstance(got, tuple | list | torch.Size) else got
            advice = slips.get((name, got), "Which map's positions are these, and how many?")
            expect(got == shape, "another shape", name, got, low, high, keys, anchors, advice)
    passed("afnb_shapes")


def fusion_block(student: type[nn.Module]) -> None:
    """student(low_channels, high_channels, key_channels, pool_scales): low, high -> like high"""
    sizes, keys, levels = {"low": draw(3, 5), "high": draw(6, 9)}, draw(2, 4), (1, draw(2, 3), 4)
    block = build(student, *sizes.values(), keys, levels)
    parts, level_of = {}, {"to_query": "high", "to_key": "low", "to_value": "low"}
    for name in (*level_of, "to_output", "fuse"):
        part = dict(block.named_children()).get(name, nn.Identity())
        parts[name] = next((one for one in part.modules() if isinstance(one, nn.Conv2d)), None)
        expect(parts[name] is not None, "no convolution inside", name)
    for name, level in level_of.items():
        got, wanted = parts[name].in_channels, sizes[level]
        expect(got == wanted, "channels of another map", name, got, level, wanted)
    fuse, wide = parts["fuse"], sizes["high"]
    got = (fuse.in_channels, fuse.out_channels)
    expect(got == (2 * wide, wide), "channels of fuse", *got, 2 * wide, wide)
    randomise(block)
    low = normal(2, sizes["low"], draw(12, 14), draw(15, 17)).requires_grad_()
    high = normal(2, sizes["high"], draw(5, 6), draw(8, 9)).requires_grad_()
    output = attempt(block, low, high)
    expect(output.shape[2:] != low.shape[2:], "output as large as low", output.shape)
    expect(output.shape == high.shape, "output not like high", high.shape, output.shape)
    advice = "Keys and values come from low, the queries from high; high is also fused."
    check_influence(block, low, high, advice)
    expect((output < 0).any(), "ReLU at the end")
    changes = {"low-level map not sampled": {"pool": nn.Flatten(2)}}
    check_fused(block, output, (high, low), levels, changes, "another fusion block")
    check_gradient(output, {"the low-level map": [low], "the high-level map": [high]})
    passed("fusion_block")


@torch.no_grad()
def check_influence(block: nn.Module, low: Tensor, high: Tensor, advice: str) -> None:
    output = attempt(block, low, high)
    others = {"low": (normal(*low.shape), high), "high": (low, normal(*high.shape))}
    for level, maps in others.items():
        without = torch.allclose(attempt(block, *maps), output)
        expect(not without, f"The {level}-level map takes no part in the output. {advice}")


def concat_fusion(student: type[nn.Module]) -> None:
    """student(low_channels, high_channels, budget), a module: low, high -> like high"""
    low_channels, high_channels, keys = draw(12, 20), draw(24, 40), draw(8, 12)
    for factor in (1, 3):
        afnb = AFNB(factor * low_channels, high_channels, factor * keys, keys, (1, 3))
        budget = sum(value.numel() for value in afnb.parameters())
        block = build(student, factor * low_channels, high_channels, budget)
        found = sum(value.numel() for value in block.parameters())
        expect(found > 0, "Your block has no parameters: it needs convolutions to fuse with.")
        # A hidden channel: its input from low, its output to high, its batch norm.
        per_channel, off = factor * low_channels + high_channels + 2, found - budget
        told = (found, budget, abs(off), "many" if off > 0 else "few", per_channel)
        expect(abs(off) <= 2 * per_channel, "another budget", *told)
    randomise(block)
    low = normal(2, 3 * low_channels, 12, 20).requires_grad_()
    high = normal(2, high_channels, 12, 20).requires_grad_()
    output = attempt(block, low, high)
    expect(output.shape == high.shape, "fusion not like high", high.shape, output.shape)
    advice = "Project low, concatenate it with high (torch.cat over channels), then fuse both."
    check_influence(block, low, high, advice)
    # A change of low at one place changes the output there, and only nearby.
    row, column = draw(3, 8), draw(3, 8)
    changed = low.clone()
    changed[:, :, row, column] += 10.0
    moved = (attempt(block, changed, high) - attempt(block, low, high)).abs()
    expect(moved[:, :, row, column].max() > 1e-4, "no change in place", row, column)
    expect(moved[..., column + 4 :].max() < 1e-4, "changes far away")
    large = normal(2, 3 * low_channels, 24, 40)
    got = tuple(attempt(block, large, high).shape)
    expect(got == high.shape, "low not resized", large.shape, high.shape, got)
    check_gradient(output, {"the low-level map": [low], "the high-level map": [high]})
    passed("concat_fusion")
