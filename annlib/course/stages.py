"""A walk through a network: what each part makes of a picture, in shapes and parameters.

B batch, C channels, H x W of a map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from annlib.config import ModelConfig
from annlib.model.baselines import build_model


class Stage(NamedTuple):
    """One part of a network."""

    name: str
    shapes: tuple[tuple[int, ...], ...]  # of what it gives, without the batch: (C, H, W) each
    parameters: int


def walk(config: ModelConfig, image_size: tuple[int, int], training: bool = True) -> list[Stage]:
    """The parts in the order in which they run, on tensors without content: no memory is needed."""
    with torch.device("meta"):
        model = build_model(config, folded=False).train(training)
        images = torch.empty(2, 3, *image_size)
    stages: list[Stage] = []

    def note(name: str):
        def hook(part: nn.Module, inputs: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
            maps = output if isinstance(output, tuple) else (output,)
            shapes = tuple(tuple(one.shape[1:]) for one in maps)
            stages.append(Stage(name, shapes, sum(p.numel() for p in part.parameters())))

        return hook

    for name, part in model.named_children():
        part.register_forward_hook(note(name))
    with torch.no_grad():
        model(images)
    return stages


def say_stages(stages: list[Stage]) -> str:
    """One line a part."""
    lines = [f"{'part':11} {'parameters':>10}  what it gives (C, H, W)"]
    for stage in stages:
        shapes = ", ".join("x".join(map(str, shape)) for shape in stage.shapes)
        lines.append(f"{stage.name:11} {stage.parameters or '-':>10}  {shapes}")
    return "\n".join(lines)
