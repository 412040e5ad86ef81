"""Augmentation: image uint8 (3, H, W) RGB, labels uint8 (H, W) -> the same.

Order, ranges, probabilities and rounding to uint8 are the reference's (mmseg/datasets/transforms).
In between, bytes and int16 are used where they are exact: they take a quarter of float's time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from platform import machine

import numpy as np
import torch
from torch import Tensor
from torch.backends.cpu import get_cpu_capability
from torch.nn.functional import interpolate, pad

from annlib.config import IGNORE_INDEX, DataConfig
from annlib.data.io import normalise

Pair = tuple[Tensor, Tensor]
Transform = Callable[[Tensor, Tensor], Pair]
Size = tuple[int, int]  # height, width

STRIP = 128  # rows: what one pass writes is still in the cache when the next one reads it
CAT_MAX_RATIO = 0.75  # the reference's cat_max_ratio: no class may fill more of a crop


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def chance(probability: float) -> bool:
    return float(torch.rand(())) < probability


def randint(low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, ()))


class ColorJitter:
    """Brightness, contrast, saturation and hue, each with probability 0.5; labels stay."""

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        changes, strips = self.draw(), []
        for strip in image.split(STRIP, dim=1):
            # Channel after channel in memory; NumPy copies three times as fast as contiguous().
            strip = torch.from_numpy(np.ascontiguousarray(strip.numpy()))
            for change, amount in changes:
                strip = change(strip, amount)
            strips.append(strip)
        return torch.cat(strips, dim=1), labels

    def draw(self) -> list[tuple[Callable[[Tensor, float], Tensor], float]]:
        """Changes and their amounts. Contrast comes either before or after saturation and hue."""
        changes = [(brighten, uniform(-32, 32))] if chance(0.5) else []
        contrast = (scale_contrast, lambda: uniform(0.5, 1.5))
        saturation = (scale_saturation, lambda: uniform(0.5, 1.5))
        hue = (turn_hue, lambda: 2 * randint(-18, 17))
        order = (contrast, saturation, hue) if chance(0.5) else (saturation, hue, contrast)
        return changes + [(change, draw_amount()) for change, draw_amount in order if chance(0.5)]


def brighten(image: Tensor, shift: float) -> Tensor:
    return to_uint8(image.float().add_(shift))


def scale_contrast(image: Tensor, factor: float) -> Tensor:
    return to_uint8(image.float().mul_(factor))


def scale_saturation(image: Tensor, factor: float) -> Tensor:
    """Multiplies S of HSV, S at most 1: V and hue stay, the gap of each channel to V scales."""
    value = image.amax(0)
    gap = value - image
    scale = (value / gap.amax(0).clamp_(min=1)).clamp_(max=factor)  # S = largest gap / value
    return value - to_uint8(gap.float().mul_(scale).add_(0.5))


def turn_hue(image: Tensor, degrees: float) -> Tensor:
    """Adds to H of HSV: V and S stay.

    A channel's gap to V depends on its distance from the hue: 0 up to 60 degrees, all of the chroma
    C from 120 on, linear in between. In units of 60/C degrees distances are whole numbers.
    """
    value, least = image.amax(0).short(), image.amin(0).short()
    red, green, blue = image.short()
    chroma = value - least
    from_red = value - 2 * least + green + blue - red  # 0..3C, the same on both sides of red
    hue = from_red * (2 * (green - blue) + 1).sign()  # green's side is positive; never a sign of 0
    hue += (chroma * (degrees / 60)).round_().short()
    from_each = torch.stack([hue, hue - 2 * chroma, hue + 2 * chroma]).abs_()
    half_turn = 3 * chroma
    from_each = half_turn - from_each.sub_(half_turn).abs_()  # the shorter way around
    gap = torch.minimum(from_each.sub_(chroma).clamp_(min=0), chroma)
    return (value - gap).to(torch.uint8)


def to_uint8(image: Tensor) -> Tensor:
    """Cuts off what is beyond 0..255, and fractions. Changes its argument."""
    # Over int16: floats become bytes one by one, but int16 many at a time.
    return image.clamp_(0, 255).short().to(torch.uint8)


def to_tensors(image: Tensor, labels: Tensor) -> Pair:
    """uint8 (3, H, W) RGB, uint8 (H, W) -> float32 normalised, int64"""
    return normalise(image), labels.long()


class RandomResize:
    """Scales a pair into a box, aspect kept, times a random factor."""

    def __init__(self, base_size: Size, ratio_range: tuple[float, float] = (0.5, 2.0)):
        self.base_size, self.ratio_range = base_size, ratio_range

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, H', W'), (H', W')"""
        return resize(image, labels, self.size_of(labels.shape, uniform(*self.ratio_range)))

    def size_of(self, size: Size, ratio: float) -> list[int]:
        """The new size of a pair. The box may lie on its side."""
        box = [int(side * ratio) for side in self.base_size]
        scale = min(max(box) / max(size), min(box) / min(size))
        return [max(1, int(side * scale + 0.5)) for side in size]


def resize(image: Tensor, labels: Tensor, size: list[int]) -> Pair:
    """Bilinear for the image, nearest for the labels, which cannot be interpolated."""
    places = (torch.arange(side, dtype=torch.float)[None, None] for side in labels.shape)
    rows, columns = (kept[0, 0].long().numpy() for kept in map(interpolate, places, size))
    resized = labels.numpy()[rows].take(columns, axis=1)  # torch takes ten times as long
    return resize_image(image, size), torch.from_numpy(resized)


def resize_image(image: Tensor, size: list[int]) -> Tensor:
    """As torchvision's resize without antialiasing, whose import takes seconds: the same bytes.

    uint8 or float (3, H, W) -> (3, *size). Without AVX2, bytes are resized as rounded floats.
    """
    simd = get_cpu_capability() in ("AVX2", "AVX512") or machine() in ("aarch64", "arm64")
    found = image if simd or image.dtype.is_floating_point else image.float()
    found = found.as_strided((1, *found.shape), (found.numel(), *found.stride()))  # copies nothing
    found = interpolate(found, size, mode="bilinear", align_corners=False)[0]
    return found if found.dtype == image.dtype else found.round_().to(image.dtype)


class RandomCrop:
    """Cuts a window in which no class fills more than CAT_MAX_RATIO of the labelled pixels."""

    def __init__(self, crop_size: Size):
        self.crop_size = crop_size

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, h, w), (h, w); a side shorter than the crop is kept whole"""
        for _ in range(11):  # as the reference: the eleventh is taken whatever it shows
            rows, columns = (
                slice(start := randint(0, max(side - crop, 0)), start + crop)
                for side, crop in zip(labels.shape, self.crop_size, strict=True)
            )
            if self.is_varied(labels[rows, columns]):
                break
        return image[:, rows, columns], labels[rows, columns]

    def is_varied(self, labels: Tensor) -> bool:
        counts = torch.bincount(labels.flatten(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
        counts = counts[counts > 0]
        return len(counts) > 1 and float(counts.max() / counts.sum()) < CAT_MAX_RATIO


class RandomFlip:
    """Left becomes right, with probability 0.5."""

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        return (image.flip(-1), labels.flip(-1)) if torch.rand(()) < 0.5 else (image, labels)


class Pad:
    """Fills a normalised pair up to `size`: the mean colour for the image, 255 for the labels."""

    def __init__(self, size: Size):
        self.size = size

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        bottom, right = (max(0, n - m) for n, m in zip(self.size, labels.shape, strict=True))
        if bottom or right:  # padding by 0 would still copy
            image = pad(image, (0, right, 0, bottom))  # 0 is the mean, normalised
            labels = pad(labels, (0, right, 0, bottom), value=IGNORE_INDEX)
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
    """All steps for a training pair, in the reference's order."""
    steps = (
        RandomResize(config.base_size, config.ratio_range) if config.base_size else None,
        RandomCrop(config.crop_size) if config.crop_size else None,
        RandomFlip(),
        ColorJitter() if config.color_jitter else None,
        to_tensors,
        Pad(config.crop_size) if config.crop_size else None,
    )
    return Compose(tuple(step for step in steps if step is not None))
