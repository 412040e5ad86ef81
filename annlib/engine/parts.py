"""A network's cost, part by part: parameters, multiply-adds, time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from annlib.config import Experiment, ModelConfig
from annlib.engine.benchmark import synchronise
from annlib.engine.costs import Measuring
from annlib.engine.counting import operation_counter
from annlib.engine.inference import fit, inference_of
from annlib.engine.machine import placed
from annlib.engine.precision import autocast
from annlib.engine.shrinking import picture_size, shrunk
from annlib.engine.tables import table
from annlib.model.baselines import build_model

REST = "rest"  # pooling in the stem, resizing of the logits, and all that is no part of its own


@dataclass(frozen=True)
class Part:
    """A part's share of one forward pass."""

    parameters: int
    gflops: float  # 2 for each multiply-add of convolutions and matrix products
    milliseconds: float


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The stages of the backbone and the blocks of the head, in the order of the forward pass."""
    children = {**dict(model.backbone.named_children()), **dict(model.named_children())}
    del children["backbone"]
    return {name: part for name, part in children.items() if any(True for _ in part.parameters())}


@contextmanager
def watched(parts: dict[str, nn.Module], clock: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Inside, how far the clock advances in each part is added up under its name."""
    spent, started, hooks = dict.fromkeys(parts, 0.0), {}, []
    for name, part in parts.items():

        def enter(module: nn.Module, inputs: tuple, name: str = name) -> None:
            started[name] = clock()

        def leave(module: nn.Module, inputs: tuple, output: Tensor, name: str = name) -> None:
            spent[name] += clock() - started[name]

        hooks.append(part.register_forward_pre_hook(enter))
        hooks.append(part.register_forward_hook(leave))
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def spent_by_part(model: nn.Module, images: Tensor, clock: Callable[[], float]) -> dict[str, float]:
    """How far a clock advances in each part, and in the rest, while images are segmented.

    The auxiliary head, which only training runs, is run once on c4 after the forward pass. The sum
    is what the clock advanced in all.
    """
    kept: list[Tensor] = []
    hook = model.backbone.register_forward_hook(lambda *call: kept.append(call[2][0]))
    try:
        with inference_of(model), watched(parts_of(model), clock) as spent:
            begun = clock()
            model(images)
            model.auxiliary(kept[0])
            total = clock() - begun
    finally:
        hook.remove()
    return spent | {REST: total - sum(spent.values())}


@cache
def without_numbers(config: ModelConfig, folded: bool) -> nn.Module:
    """A model whose parameters have a shape only; kept, for building takes as long as counting."""
    with torch.device("meta"):
        return build_model(config, folded)


def gflops_by_part(
    config: ModelConfig, images: int, size: tuple[int, int], folded: bool = True
) -> dict[str, float]:
    """Counted without computing anything, on tensors that have a shape only."""
    model = without_numbers(config, folded)
    batch = torch.empty(images, 3, *size, device="meta")
    with operation_counter() as counter:
        return spent_by_part(model, batch, lambda: counter.get_total_flops() / 1e9)


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """A parameter that two parts share would count once, with the first of them."""
    with torch.device("meta"):
        model = build_model(config)
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts_of(model).items()
    }
    total = sum(parameter.numel() for parameter in model.parameters())
    return counts | {REST: total - sum(counts.values())}


def milliseconds_by_part(
    config: ModelConfig, size: tuple[int, int], how: Measuring
) -> dict[str, float]:
    """Of the forward pass whose time is the median of all."""
    model = placed(build_model(config), how.device, how.compute)
    images = torch.randn(1, 3, *size, device=how.device)

    def clock() -> float:
        synchronise(how.device)
        return 1000 * time.perf_counter()

    with autocast(how.device, how.compute.precision):
        runs = [spent_by_part(model, images, clock) for _ in range(how.repeat + 2)][2:]
    return sorted(runs, key=lambda run: sum(run.values()))[len(runs) // 2]


def network_input(experiment: Experiment, how: Measuring) -> tuple[int, int]:
    """Size of what the network sees at once when a picture is tested: all of it, or a window."""
    test = shrunk(experiment, how.shrink).test
    return test.window or fit(picture_size(experiment, how.shrink), test.base_size)


def parts_table(experiment: Experiment, how: Measuring) -> str:
    """Parameters, multiply-adds and time of each part, which add up to the last line."""
    config, size = experiment.model, network_input(experiment, how)
    counts, gflops = parameters_by_part(config), gflops_by_part(config, 1, size)
    times = milliseconds_by_part(config, size, how)
    parts = {name: Part(counts[name], gflops[name], times[name]) for name in times}
    parts["all"] = Part(*(sum(column.values()) for column in (counts, gflops, times)))
    rows = [
        [name, f"{part.parameters:,}", f"{part.gflops:.2f}", f"{part.milliseconds:.2f}"]
        for name, part in parts.items()
    ]
    columns = table(["part", "parameters", "GFLOPs", "ms"], rows)
    return (
        f"{columns}\n\nOne forward pass of 1 x 3 x {size[0]} x {size[1]}, and the auxiliary head."
    )
