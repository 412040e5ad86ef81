"""Checker of lesson 05: the Asymmetric Fusion Non-local Block.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map, S anchors.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from annlib.course.exercises.checking import NotYet, attempt, build, draw, expect, normal
from annlib.course.exercises.pyramid_block import randomise
from annlib.course.lines import say
from annlib.model.asymmetric import AFNB

PROJECTIONS = {"to_query": "high", "to_key": "low", "to_value": "low"}  # who is projected
Shape = tuple[int, ...]


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
    check_influence(block, low, high, output)
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


def check_influence(block: nn.Module, low: Tensor, high: Tensor, output: Tensor) -> None:
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
