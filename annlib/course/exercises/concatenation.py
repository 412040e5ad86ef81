"""Checker of lesson 05: fusing two levels by concatenation, with a budget of parameters.

B batch, Cl x h x w the low-level map, Ch x H x W the high-level map.
"""

import torch
from torch import Tensor, nn

from annlib.course.exercises.checking import attempt, build, draw, expect, normal
from annlib.course.exercises.pyramid_block import randomise
from annlib.course.lines import say
from annlib.model.asymmetric import AFNB


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
    check_influence(block, low, high, output)
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


def check_influence(block: nn.Module, low: Tensor, high: Tensor, output: Tensor) -> None:
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
