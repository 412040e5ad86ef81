"""Receptive fields: the theoretical one of the kernels, and the effective one from gradients.

Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
NIPS 2016.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from annlib.course.attention import Size, attention_blocks, model_input, query_index
from annlib.engine.inference import inference_of
from annlib.model.baselines import Baseline

SHORTCUTS = {"shortcut", "downsample"}  # 1 x 1 next to a 3 x 3: they add nothing to the field
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

    def inside(self, image_size: Size) -> "Field":
        """Without what lies beyond the border."""
        h, w = image_size
        return Field(max(0, self.top), max(0, self.left), min(h, self.bottom), min(w, self.right))

    def central_half(self) -> "Field":
        """The box of half its sides around its middle: about a quarter of its pixels."""
        rows, columns = round(self.size[0] / 4), round(self.size[1] / 4)
        return Field(self.top + rows, self.left + columns, self.bottom - rows, self.right - columns)

    @property
    def pixels(self) -> tuple[slice, slice]:
        """The index of its pixels in an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class View(NamedTuple):
    """The theoretical and the effective receptive field of one position of a map."""

    position: tuple[int, int]  # row and column on the map
    map_size: Size
    field: Field  # the theoretical one of the convolutions, also beyond the border
    frame: Field  # the same inside the image
    unbounded: bool  # after an attention block: a position may depend on every pixel
    light: np.ndarray  # (H, W), size of the gradient at each pixel; sums to 1
    share_in_middle: float  # of the gradient, on the central half of the field
    share_far: float  # of the gradient, outside of the field of the convolutions


def depths(model: Baseline) -> dict[str, nn.Sequential]:
    """From the image to each stage, reduce and the block.  Raises ValueError for other models."""
    attention_blocks(model)
    if not isinstance(model, Baseline):
        raise ValueError(
            f"{type(model).__name__} feeds two maps of its backbone into a block, so its layers "
            "do not form a chain. Take the networks with the head 'nonlocal' or 'apnb'."
        )
    parts = dict(model.backbone.named_children())  # both backbones run theirs in this order
    parts |= {REDUCE: model.reduce, BLOCK: model.context}
    return {name: nn.Sequential(*list(parts.values())[:end]) for end, name in enumerate(parts, 1)}


def theoretical_field(layers: nn.Sequential, position: tuple[int, int]) -> Field:
    """The pixels that a position may depend on by its kernels, as if the image had no border."""
    top, left = bottom, right = position
    for name, layer in reversed(list(layers.named_modules())):
        if not isinstance(layer, nn.Conv2d | nn.MaxPool2d) or SHORTCUTS & {*name.split(".")}:
            continue
        values = layer.kernel_size, layer.stride, layer.padding, layer.dilation
        size, step, padding, dilation = (np.ravel(v)[0].item() for v in values)  # all are square
        reach = dilation * (size - 1)
        top, left = top * step - padding, left * step - padding
        bottom, right = bottom * step - padding + reach, right * step - padding + reach
    return Field(top, left, bottom + 1, right + 1)


def side_of_field(blocks_per_stage: int, head_kernels: int = 0) -> int:
    """Side, in pixels of the image, of the theoretical field of a position on LocalNet's c5.

    head_kernels: number of further 3x3 convolutions at 1/8 (the reduce of every head is one).
    """
    side, step = 3, 2  # after the stem; each 3x3 widens it by two steps of the map it works on
    for stride in (2, 2, 1, 1):  # of the stages
        side += 2 * step
        step *= stride
        side += 2 * step * (blocks_per_stage - 1)
    return side + 2 * step * head_kernels


class Viewer:
    """The views of one image in one network; each depth runs once, a view is a backward pass."""

    def __init__(self, model: Baseline, image: np.ndarray) -> None:  # image: uint8 (H, W, 3)
        self.model, self.layers = model, depths(model)
        self.image_size: Size = image.shape[:2]
        self.images = model_input(image).to(next(model.parameters()).device).requires_grad_()
        self.maps: dict[str, Tensor] = {}  # with the graph that leads back to the image

    def view(self, depth: str, y: int, x: int) -> View:
        """The view of the position that holds pixel (y, x), at one of `depths`."""
        if depth not in self.maps:
            with inference_of(self.model), torch.inference_mode(False):  # with gradients
                self.maps[depth] = self.layers[depth](self.images)
        map_size: Size = (features := self.maps[depth]).shape[2:]
        position = divmod(query_index(y, x, self.image_size, map_size), map_size[1])
        here = features[0, :, position[0], position[1]].sum()
        (gradient,) = torch.autograd.grad(here, self.images, retain_graph=True)
        size = gradient[0].abs().sum(0)
        # All zero, as after a ReLU that passes nothing, stays zero.
        light = (size / size.sum().clamp(min=torch.finfo(size.dtype).tiny)).cpu().numpy()
        field = theoretical_field(self.layers[depth], position)
        frame, middle = (f.inside(self.image_size) for f in (field, field.central_half()))
        shares = float(light[middle.pixels].sum()), float(light.sum() - light[frame.pixels].sum())
        return View(position, map_size, field, frame, depth == BLOCK, light, *shares)
