"""How attention blocks are checked: the student's parts are put into annlib's attention.

A change replaces parts or numbers of that attention: name -> what by.
"""

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from annlib.course.checks.base import NotYet, expect, judge, result_of
from annlib.course.checks.inputs import normal
from annlib.model.asymmetric import AsymmetricAttention

Levels = tuple[int, ...]
Change = Mapping[str, object]


def build(student: type[nn.Module], *sizes: int | Levels) -> nn.Module:
    """The student's module of these sizes; NotYet if there is none."""
    if not (isinstance(student, type) and issubclass(student, nn.Module)):
        raise NotYet(f"Write an nn.Module in place of the three dots; {student!r} is not one.")
    return result_of(student, *sizes)


@torch.no_grad()
def randomise(block: nn.Module) -> None:
    """Random weights, so that no two computations agree by chance, and evaluation mode."""
    for name, value in block.eval().state_dict().items():
        if value.is_floating_point():
            drawn = normal(*value.shape)
            if value.dim() == 1 and "running_mean" not in name:
                drawn = drawn.abs() + (0.5 if "var" in name else 0)  # up: no ReLU is dead
            value.copy_(drawn)


def context_of(
    block: nn.Module, query_map: Tensor, key_map: Tensor, levels: Levels, change: Change
) -> Tensor:
    """annlib's attention made of the student's parts.  two maps (B, C, H, W) -> (B, Cq, H, W)"""
    shared, key_channels = not hasattr(block, "to_query"), block.to_key(key_map).shape[1]
    attention = AsymmetricAttention(1, 1, key_channels, 1, levels, shared).eval()
    names = ["to_key", "to_value", "to_output"] + ["to_query"] * (not shared)
    for name, part in ({name: getattr(block, name) for name in names} | change).items():
        setattr(attention, name, part)
    return attention(query_map, key_map)


def attention_slips(block: nn.Module, num_queries: int, num_keys: int) -> dict[str, Change]:
    """Advice -> the change that makes the same mistake."""
    return {
        "scores without a scale": {"scale": 1.0},
        "scale √N of the positions": {"scale": num_queries**-0.5},
        "scale √S of the keys": {"scale": num_keys**-0.5},
        "softmax over the query positions": {"softmax": nn.Softmax(dim=1)},
        "no softmax": {"softmax": nn.Identity()},
        "weighted sum of the keys": {"to_value": block.to_key},
    }


@torch.no_grad()
def check_fused(
    block: nn.Module,
    output: Tensor,
    maps: tuple[Tensor, Tensor],
    levels: Levels,
    changes: Mapping[str, Change],
    otherwise: str,
) -> None:
    """Compares a block that fuses context and query map with annlib's, and with slips.

    maps: query map and key map. changes: advice -> change
    """
    query_map, num_keys = maps[0], sum(level * level for level in levels)
    context = partial(context_of, block, *maps, levels)

    def fused(change: Change) -> Tensor:
        return block.fuse(torch.cat([context(change), query_map], 1))

    changes = attention_slips(block, query_map[0, 0].numel(), num_keys) | changes
    slips = {advice: partial(fused, change) for advice, change in changes.items()} | {
        "map before context": lambda: block.fuse(torch.cat([query_map, context({})], 1)),
        "context added to the map": lambda: query_map + context({}),
        "map added after fuse": lambda: query_map + fused({}),
    }
    judge(output, partial(fused, {}), slips, otherwise, rtol=1e-4, atol=1e-3)


def check_gradient(output: Tensor, leaves: Mapping[str, Iterable[Tensor]]) -> None:
    """NotYet unless a gradient reaches each of the named groups of tensors."""
    expect(output.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    try:
        (output * normal(*output.shape)).sum().backward()
    except RuntimeError as error:
        raise NotYet("backward stopped", error) from error
    for name, tensors in leaves.items():
        reached = any(tensor.grad is not None and bool(tensor.grad.any()) for tensor in tensors)
        expect(reached, f"No gradient reaches {name}: is it used, without detach?")
