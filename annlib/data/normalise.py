"""uint8 pixels -> the numbers a network takes, with the mean and deviation of ImageNet."""

import torch
from torch import Tensor

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]  # RGB, 0-255
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


def to_tensors(image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 (3, H, W) RGB, uint8 (H, W) -> float32 normalised, int64"""
    return normalise(image), labels.long()


def normalise(image: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) RGB 0-255 -> float32 with the mean 0 and deviation 1 of ImageNet.

    Floats and wider integers of 0..255 are taken, too. Raises ValueError for other ranges, see
    `check_range`.
    """
    if image.dtype != torch.uint8:
        check_range(image)
    return (image - MEAN).div_(STD)


def check_range(image: Tensor) -> None:
    """Raises ValueError for pixels that are not in 0..255: bool, NaN, and floats of 0..1.

    An image that is 0 everywhere is accepted: it is black in both ranges.
    """
    if image.dtype == torch.bool:
        raise ValueError("The image is bool: give pixels of 0..255, for example 255 * image.")
    if image.numel() == 0:
        return
    low, high = (float(value) for value in image.detach().float().aminmax())
    if not low <= high:  # aminmax hands NaN on
        raise ValueError(
            "The image holds NaN: a pixel is a number of 0..255. Find out where NaN comes from, or "
            "replace it, for example by torch.nan_to_num."
        )
    held = f"The image holds {image.dtype} values from {low:g} to {high:g}"
    if low < 0 or high > 255:
        raise ValueError(
            f"{held}, but pixels are 0..255. Give uint8 pixels as they were read; they are "
            "normalised here, and only once."
        )
    if image.is_floating_point() and 0 < high <= 1:
        raise ValueError(
            f"{held}, which looks like 0..1, but pixels are 0..255: the network would see a black "
            "image. Give uint8 pixels, or 255 * image."
        )
