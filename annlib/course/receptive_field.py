"""Receptive fields: the theoretical one, and the effective one from gradients.

The theoretical field follows from kernels alone. The effective one is the gradient of the position
with respect to the picture (Luo et al., "Understanding the Effective Receptive Field in Deep
Convolutional Neural Networks", NIPS 2016).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from annlib.course.attention import attention_blocks, model_input, query_index
from annlib.model.baselines import Baseline

Size = tuple[int, int]  # (height, width)
SHORTCUTS = ("shortcut", "downsample")  # 1 x 1 beside a 3 x 3: they see nothing more
REDUCE, BLOCK = "+ 3 x 3 reduce", "+ attention block"


class Field(NamedTuple):
    """Half-open box of pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> Size:
        return self.bottom - self.top, self.right - self.left

    def inside(self, picture: Size) -> "Field":
        """Without what lies beyond the border."""
        height, width = picture
        return Field(
            max(0, self.top), max(0, self.left), min(height, self.bottom), min(width, self.right)
        )

    def central_half(self) -> "Field":
        """The box of half its sides around its middle: about a quarter of its pixels."""
        rows, columns = round(self.size[0] / 4), round(self.size[1] / 4)
        return Field(self.top + rows, self.left + columns, self.bottom - rows, self.right - columns)

    def share_of(self, light: np.ndarray) -> float:
        """The share of the light that falls on it.  (H, W), which sums to 1"""
        return float(light[self.top : self.bottom, self.left : self.right].sum())


class View(NamedTuple):
    """What one position of a map sees of a picture."""

    position: tuple[int, int]  # row and column on the map
    map_size: Size
    field: Field  # the theoretical one of the convolutions, also beyond the border
    unbounded: bool  # behind a block that attends: a position may depend on every pixel
    light: np.ndarray  # (H, W), how much each pixel moves the position; sums to 1

    @property
    def frame(self) -> Field:
        """The field, as far as there is a picture."""
        return self.field.inside(self.light.shape)

    @property
    def share_in_middle(self) -> float:
        """Of the light, on the central half of the field."""
        return self.field.central_half().inside(self.light.shape).share_of(self.light)

    @property
    def share_far(self) -> float:
        """Of the light, outside of what the convolutions alone see."""
        return float(self.light.sum()) - self.frame.share_of(self.light)


def depths(model: Baseline) -> dict[str, nn.Sequential]:
    """From the picture to each stage of the backbone, then through reduce, then the block.

    Raises ValueError for a model that has no attention block, or needs two maps for it.
    """
    attention_blocks(model)
    if not isinstance(model, Baseline):
        raise ValueError(
            f"{type(model).__name__} feeds two maps of its backbone into a block, so its layers "
            "are no chain to be walked. Take the networks with the head 'nonlocal' or 'apnb'."
        )
    parts = dict(model.backbone.named_children())  # both backbones run theirs in this order
    parts |= {REDUCE: model.reduce, BLOCK: model.context}
    names = list(parts)
    return {name: nn.Sequential(*list(parts.values())[: i + 1]) for i, name in enumerate(names)}


def theoretical_field(layers: nn.Sequential, position: tuple[int, int]) -> Field:
    """The pixels that a position may depend on by way of kernels, as if the picture had no end.

    Walked back from the position: each kernel widens the box on the map that it works on.
    """
    top, left = bottom, right = position
    for window in reversed(windows(layers)):
        reach = first(window.dilation) * (first(window.kernel_size) - 1)
        step, padding = first(window.stride), first(window.padding)
        top, left = top * step - padding, left * step - padding
        bottom, right = bottom * step - padding + reach, right * step - padding + reach
    return Field(top, left, bottom + 1, right + 1)


def windows(layers: nn.Module) -> list[nn.Conv2d | nn.MaxPool2d]:
    """Convolutions and poolings on the way, in their order, shortcuts aside."""
    return [
        layer
        for name, layer in layers.named_modules()
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
        and not any(part in SHORTCUTS for part in name.split("."))
    ]


def first(value: int | tuple[int, int]) -> int:
    """All kernels here are square: torch keeps some of their numbers twice."""
    return value if isinstance(value, int) else value[0]


class Viewer:
    """The views of one picture through one network; each depth runs once, a view runs backwards."""

    def __init__(self, model: Baseline, image: np.ndarray) -> None:
        """image: uint8 (H, W, 3)"""
        self.model, self.layers = model, depths(model)
        self.image_size: Size = image.shape[:2]
        device = next(model.parameters()).device
        self.images = model_input(image).to(device).requires_grad_()
        self.maps: dict[str, Tensor] = {}

    def features(self, depth: str) -> Tensor:
        """The map at one of `depths`, with the graph that leads back to the picture."""
        if depth not in self.maps:
            modes = [(module, module.training) for module in self.model.modules()]
            self.model.eval()
            try:
                self.maps[depth] = self.layers[depth](self.images)
            finally:
                for module, training in modes:
                    module.training = training
        return self.maps[depth]

    def view(self, depth: str, y: int, x: int) -> View:
        """What the position that stands for pixel (y, x) sees at one of `depths`."""
        features, layers = self.features(depth), self.layers[depth]
        map_size: Size = features.shape[2:]
        index = query_index(y, x, self.image_size, map_size)
        position = divmod(index, map_size[1])
        here = features[0, :, position[0], position[1]].sum()
        (gradient,) = torch.autograd.grad(here, self.images, retain_graph=True)
        light = shares(gradient[0].abs().sum(0))
        field = theoretical_field(layers, position)
        return View(position, map_size, field, depth == BLOCK, light)


def shares(amounts: Tensor) -> np.ndarray:
    """Divided by their sum. All zero, as behind a ReLU that is shut, stays zero."""
    return (amounts / amounts.sum().clamp(min=torch.finfo(amounts.dtype).tiny)).cpu().numpy()
