"""(image, labels) -> (image, labels): what training does to a pair before the network sees it.

image uint8 (3, H, W) RGB, labels uint8 (H, W); all randomness is torch's. Order, ranges and
probabilities are the reference's (mmseg/datasets/transforms).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from annlib.config import IGNORE_INDEX, DataConfig
from annlib.data.normalise import to_tensors

Pair = tuple[Tensor, Tensor]
Transform = Callable[[Tensor, Tensor], Pair]

CAT_MAX_RATIO = 0.75  # the reference's cat_max_ratio: no class may fill more of a crop


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def chance(probability: float) -> bool:
    return float(torch.rand(())) < probability


def randint(low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, ()))


class RandomResize:
    """Scales a pair into a box, aspect kept, times a random factor."""

    def __init__(self, base_size: tuple[int, int], ratio_range: tuple[float, float] = (0.5, 2.0)):
        self.base_size = base_size
        self.ratio_range = ratio_range

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, H', W'), (H', W')"""
        return resize(image, labels, self.size_of(labels.shape, uniform(*self.ratio_range)))

    def size_of(self, size: tuple[int, int], ratio: float) -> list[int]:
        """The size that a pair gets. The box is a long and a short side: it may lie on its side."""
        box = [int(side * ratio) for side in self.base_size]
        scale = min(max(box) / max(size), min(box) / min(size))
        return [max(1, int(side * scale + 0.5)) for side in size]


def resize(image: Tensor, labels: Tensor, size: list[int]) -> Pair:
    """Bilinear for the image, nearest for the labels, which have nothing in between."""
    image = F.resize(image, size, InterpolationMode.BILINEAR, antialias=False)
    labels = F.resize(labels[None], size, InterpolationMode.NEAREST)[0]
    return image, labels


class RandomCrop:
    """Cuts a window in which no class fills more than CAT_MAX_RATIO of the labelled pixels."""

    def __init__(self, crop_size: tuple[int, int]):
        self.crop_size = crop_size

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, h, w), (h, w); a side shorter than the crop is kept whole"""
        for _ in range(10):
            window = self.draw(labels)
            if self.is_varied(labels[window]):
                break
        else:
            window = self.draw(labels)  # as the reference: the eleventh is taken as it comes
        return image[(slice(None), *window)], labels[window]

    def draw(self, labels: Tensor) -> tuple[slice, slice]:
        starts = [
            randint(0, max(side - crop, 0))
            for side, crop in zip(labels.shape, self.crop_size, strict=True)
        ]
        return tuple(
            slice(start, start + crop) for start, crop in zip(starts, self.crop_size, strict=True)
        )

    def is_varied(self, labels: Tensor) -> bool:
        counts = torch.bincount(labels.flatten(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
        counts = counts[counts > 0]
        return len(counts) > 1 and float(counts.max() / counts.sum()) < CAT_MAX_RATIO


class RandomFlip:
    """Left becomes right, with probability 0.5."""

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        return (image.flip(-1), labels.flip(-1)) if chance(0.5) else (image, labels)


class ColorJitter:
    """Brightness, contrast, saturation and hue, each with probability 0.5; labels stay.

    Reference: PhotoMetricDistortion. Each step ends in uint8 as there; contrast comes either
    before or after saturation and hue.
    """

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        if chance(0.5):
            image = to_uint8(image.float() + uniform(-32, 32))
        contrast_first = chance(0.5)
        if contrast_first:
            image = random_contrast(image)
        if chance(0.5):
            image = scale_saturation(image, uniform(0.5, 1.5))
        if chance(0.5):
            image = F.adjust_hue(image, randint(-18, 17) / 180)
        if not contrast_first:
            image = random_contrast(image)
        return image, labels


def random_contrast(image: Tensor) -> Tensor:
    return to_uint8(image.float() * uniform(0.5, 1.5)) if chance(0.5) else image


def scale_saturation(image: Tensor, factor: float) -> Tensor:
    """Multiplies S of HSV, S at most 1: V and hue stay, the gap of each channel to V scales."""
    value = image.amax(0).float()
    gap = value - image.float()
    largest = gap.amax(0)  # S = largest / value
    scale = torch.minimum(torch.full_like(value, factor), value / largest.clamp(min=1))
    return to_uint8((value - gap * scale).round())


def to_uint8(image: Tensor) -> Tensor:
    return image.clamp(0, 255).to(torch.uint8)


class Pad:
    """Fills up right and below: the mean colour for the image, 255 for the labels."""

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """normalised (3, H, W), (H, W) -> at least `size`"""
        bottom, right = (max(0, n - m) for n, m in zip(self.size, labels.shape, strict=True))
        image = torch.nn.functional.pad(image, (0, right, 0, bottom))  # 0 is the mean, normalised
        labels = torch.nn.functional.pad(labels, (0, right, 0, bottom), value=IGNORE_INDEX)
        return image, labels


@dataclass(frozen=True)
class Compose:
    """One transform after the other. A class, because spawned workers get it as a pickle."""

    steps: tuple[Transform, ...]

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        for step in self.steps:
            image, labels = step(image, labels)
        return image, labels


def training_transform(config: DataConfig) -> Transform:
    """Everything that happens to a training pair, in the reference's order."""
    steps: list[Transform] = []
    if config.base_size:
        steps.append(RandomResize(config.base_size, config.ratio_range))
    if config.crop_size:
        steps.append(RandomCrop(config.crop_size))
    steps.append(RandomFlip())
    if config.color_jitter:
        steps.append(ColorJitter())
    steps.append(to_tensors)
    if config.crop_size:
        steps.append(Pad(config.crop_size))
    return Compose(tuple(steps))
