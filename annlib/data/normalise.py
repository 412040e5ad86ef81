"""uint8 pixels -> the numbers a network takes, with the mean and deviation of ImageNet."""

import torch
from torch import Tensor

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]  # RGB, 0-255
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


def to_tensors(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 (3, H, W) RGB, uint8 (H, W) -> float32 normalised, int64"""
    return normalise(image), labels.long()


def normalise(image: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) RGB 0-255 -> float32 with the mean 0 and deviation 1 of ImageNet"""
    return (image - MEAN).div_(STD)
