"""Checkers of lesson 05: shapes in an AFNB, fusion by concatenation, and the AFNB.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map, S anchors.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map, S anchors.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from annlib.course.checks.base import NotYet, attempt, build, draw, expect, normal
from annlib.course.checks.lesson_04 import randomise
from annlib.course.lesson import say
from annlib.model.asymmetric import AFNB

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


def concat_fusion(student: type[nn.Module]) -> None:
    """student(low_channels, high_channels, budget), a module: low, high -> like high"""
    low_channels, high_channels, keys = draw(12, 20), draw(24, 40), draw(8, 12)
    for rival in (
        AFNB(low_channels, high_channels, keys, keys, (1, 3)),
        AFNB(3 * low_channels, high_channels, 2 * keys, keys, (1, 3)),
    ):
        low_channels = rival.attention.to_key[0].in_channels
        budget = num_parameters(rival)
        block = build(student, low_channels, high_channels, budget)
        check_budget(block, low_channels, high_channels, budget)
    randomise(block)
    low, high = normal(2, low_channels, 12, 20), normal(2, high_channels, 12, 20)
    output = attempt(block, low.clone(), high.clone())
    expect(
        output.shape == high.shape,
        f"high is {tuple(high.shape)}, so must the output be; it is {tuple(output.shape)}.",
    )
    check_concatenation_influence(block, low, high, output)
    check_near(block, low, high)
    check_other_size(block, low, high)
    say(
        "Right: as many parameters as the AFNB, as far as whole channels allow; both levels take "
        "part, but each position hears only of its own place. Nobody is asked for."
    )


def num_parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def check_budget(block: nn.Module, low: int, high: int, budget: int) -> None:
    found = num_parameters(block)
    expect(found > 0, "Your block has no parameters: it needs convolutions to fuse with.")
    per_channel = low + high + 2  # a hidden channel: into it from low, out of it to high, its norm
    off = found - budget
    expect(
        abs(off) <= 2 * per_channel,
        f"Your block has {found} parameters, the budget is {budget}: {abs(off)} too "
        f"{'many' if off > 0 else 'few'}. One more channel between the two convolutions costs "
        f"about {per_channel} here; how many does the budget buy, after what fuse needs for high?",
    )


def check_concatenation_influence(
    block: nn.Module, low: Tensor, high: Tensor, output: Tensor
) -> None:
    with torch.no_grad():
        other_low = attempt(block, normal(*low.shape), high.clone())
        other_high = attempt(block, low.clone(), normal(*high.shape))
    way = "Project low, lay it beside high (torch.cat over channels), then fuse both."
    expect(not torch.allclose(other_low, output), f"The low-level map takes no part. {way}")
    expect(not torch.allclose(other_high, output), f"The high-level map takes no part. {way}")


def check_near(block: nn.Module, low: Tensor, high: Tensor) -> None:
    """What stands at one place reaches that place, and only what is near."""
    row, column = draw(3, 8), draw(3, 8)
    changed = low.clone()
    changed[:, :, row, column] += 10.0
    with torch.no_grad():
        moved = (
            attempt(block, changed, high.clone()) - attempt(block, low.clone(), high.clone())
        ).abs()
    expect(
        bool(moved[:, :, row, column].max() > 1e-4),
        f"Low was changed at row {row}, column {column}, but nothing moved there. Lay the two maps "
        "on each other, place by place: are height and width kept in their order?",
    )
    expect(
        bool(moved[..., column + 4 :].max() < 1e-4),
        "Low was changed at one place, and far away something moved. Concatenation has no "
        "attention and no means of the whole map: each position gets what stands at its own place.",
    )


def check_other_size(block: nn.Module, low: Tensor, high: Tensor) -> None:
    large = normal(low.shape[0], low.shape[1], 2 * low.shape[2], 2 * low.shape[3])
    output = attempt(block, large, high.clone())
    expect(
        output.shape == high.shape,
        f"Low may be larger than high: {tuple(large.shape)} and {tuple(high.shape)} gave "
        f"{tuple(output.shape)}. Bring low to the size of high.",
    )
    leaves = [low.clone().requires_grad_(), high.clone().requires_grad_()]
    (attempt(block, *leaves) * normal(*high.shape)).sum().backward()
    expect(
        all(leaf.grad is not None and bool(torch.any(leaf.grad != 0)) for leaf in leaves),
        "No gradient reaches one of the levels: is there a detach?",
    )


PROJECTIONS = {"to_query": "high", "to_key": "low", "to_value": "low"}  # who is projected


def fusion_block(student: type[nn.Module]) -> None:
    """student(low_channels, high_channels, key_channels, pool_scales): low, high -> like high"""
    low_channels, high_channels, keys = draw(3, 5), draw(6, 9), draw(2, 4)
    levels = (1, draw(2, 3), 4)
    block = build(student, low_channels, high_channels, keys, levels)
    check_projections(block, low_channels, high_channels)
    randomise(block)
    low = normal(2, low_channels, draw(12, 14), draw(15, 17))
    high = normal(2, high_channels, draw(5, 6), draw(8, 9))
    output = attempt(block, low.clone(), high.clone())
    check_size(output, low, high)
    check_fusion_influence(block, low, high, output)
    check_against_library(block, low, high, output, levels)
    check_gradient(block, low, high)
    say(
        "Right: high asks, low answers, the sizes and channels of the two may differ, the output "
        "is as large as the map that asks, and the gradient reaches both levels."
    )


def first_conv(module: nn.Module) -> nn.Conv2d | None:
    return next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)


def check_projections(block: nn.Module, low: int, high: int) -> None:
    children = dict(block.named_children())
    for name in (*PROJECTIONS, "to_output", "fuse"):
        expect(
            name in children and first_conv(children[name]) is not None,
            f"Your block has no convolution called {name}. The check looks into to_query, to_key, "
            "to_value, to_output and fuse.",
        )
    sizes = {"low": low, "high": high}
    for name, level in PROJECTIONS.items():
        got = first_conv(children[name]).in_channels
        expect(
            got == sizes[level],
            f"{name} takes {got} channels, but the {level}-level map has {sizes[level]}. High asks "
            "(query), low answers (key and value).",
        )
    fuse = first_conv(children["fuse"])
    expect(
        (fuse.in_channels, fuse.out_channels) == (2 * high, high),
        f"fuse goes from {fuse.in_channels} to {fuse.out_channels} channels. Context and high lie "
        f"beside each other, {2 * high} channels, and become {high} again.",
    )


def check_size(output: Tensor, low: Tensor, high: Tensor) -> None:
    got = tuple(output.shape)
    expect(
        got[2:] != low.shape[2:],
        f"The output is {got}, as large as the low-level map. Who asks decides the size: high.",
    )
    expect(got == high.shape, f"high is {tuple(high.shape)}, so must the output be; it is {got}.")


def check_fusion_influence(block: nn.Module, low: Tensor, high: Tensor, output: Tensor) -> None:
    with torch.no_grad():
        other_low = attempt(block, normal(*low.shape), high.clone())
        other_high = attempt(block, low.clone(), normal(*high.shape))
    expect(
        not torch.allclose(other_low, output),
        "With another low-level map the same comes out: it takes no part. Keys and values must "
        "come from it.",
    )
    expect(
        not torch.allclose(other_high, output),
        "The high-level map takes no part. It asks (queries come from it) and lies beside the "
        "context when both are fused.",
    )
    expect(
        bool((output < 0).any()),
        "No number of your output is negative: there is a ReLU at the end. The released AFNB fuses "
        "without one (conv_bn), unlike APNB.",
    )


def library_with(block: nn.Module, levels: Shape, changes: dict[str, object]) -> AFNB:
    """annlib's block with the student's parts, some of its steps done otherwise."""
    keys, low = first_conv(block.to_key), first_conv(block.to_value)
    library = AFNB(
        low.in_channels, block.to_output.out_channels, keys.out_channels, low.out_channels, levels
    ).eval()
    for name in (*PROJECTIONS, "to_output"):
        setattr(library.attention, name, block.get_submodule(name))
    library.fuse = block.fuse
    for name, part in changes.items():
        setattr(library.attention, name, part)
    return library


class Whole(nn.Module):
    """The slip: nothing is sampled, all positions of the low-level map answer."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)


def slips(block: nn.Module, levels: Shape, size: int) -> dict[str, dict[str, object]]:
    """Advice -> what to change in annlib's attention to make the same mistake."""
    num_anchors = sum(level * level for level in levels)
    return {
        "The scale is missing: divide the scores by √C of the keys.": {"scale": 1.0},
        "The scale is √S instead of √C of the keys.": {"scale": num_anchors**-0.5},
        "The scale is √N instead of √C of the keys.": {"scale": size**-0.5},
        "The softmax runs over N, those who ask; it belongs on the last axis.": {
            "softmax": nn.Softmax(dim=1)
        },
        "The softmax is missing.": {"softmax": nn.Identity()},
        "All positions of the low-level map answer. Sample keys and values: S anchors.": {
            "pool": Whole()
        },
        "What is fetched must be the values, not the keys.": {"to_value": block.to_key},
    }


def check_against_library(
    block: nn.Module, low: Tensor, high: Tensor, output: Tensor, levels: Shape
) -> None:
    def agrees(made: Callable[[], Tensor]) -> bool:
        try:
            return torch.allclose(output, made(), atol=1e-3, rtol=1e-4)
        except RuntimeError:  # parts of these sizes cannot have been exchanged
            return False

    with torch.no_grad():
        right = library_with(block, levels, {})
        if agrees(lambda: right(low, high)):
            return
        for advice, changes in slips(block, levels, high[0, 0].numel()).items():
            wrong = library_with(block, levels, changes)
            expect(not agrees(lambda wrong=wrong: wrong(low, high)), advice)
        context = right.attention(high, low)
        expect(
            not agrees(lambda: block.fuse(torch.cat([high, context], 1))),
            "high comes first in your concatenation. Context first: the order decides which "
            "weights of `fuse` meet what.",
        )
        expect(
            not agrees(lambda: high + block.fuse(torch.cat([context, high], 1))),
            "You fuse, then add high once more. In the released models `fuse` has the last word.",
        )
    raise NotYet(
        "With the same weights annlib computes something else. Compare line by line: who is "
        "projected by what, sampling, scores, scale, softmax, context, output, fuse."
    )


def check_gradient(block: nn.Module, low: Tensor, high: Tensor) -> None:
    low, high = low.clone().requires_grad_(), high.clone().requires_grad_()
    output = attempt(block, low, high)
    expect(output.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    (output * normal(*output.shape)).sum().backward()
    for name, maps in {"low": low, "high": high}.items():
        expect(
            maps.grad is not None and bool(maps.grad.abs().max() > 0),
            f"No gradient reaches the {name}-level map: what comes before it would not learn.",
        )
