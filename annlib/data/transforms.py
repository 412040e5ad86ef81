"""(image, labels) -> (image, labels): what training does to a pair before the network sees it.

image uint8 (3, H, W) RGB, labels uint8 (H, W); all randomness is torch's. Order, ranges and
probabilities are the reference's (mmseg/datasets/transforms).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from annlib.config import IGNORE_INDEX, DataConfig
from annlib.data.draws import chance, randint, uniform
from annlib.data.jitter import ColorJitter
from annlib.data.normalise import to_tensors

Pair = tuple[Tensor, Tensor]
Transform = Callable[[Tensor, Tensor], Pair]
Size = tuple[int, int]  # height, width
Window = tuple[slice, slice]  # rows, columns

CAT_MAX_RATIO = 0.75  # the reference's cat_max_ratio: no class may fill more of a crop


class RandomResize:
    """Scales a pair into a box, aspect kept, times a random factor."""

    def __init__(self, base_size: Size, ratio_range: tuple[float, float] = (0.5, 2.0)):
        self.base_size = base_size
        self.ratio_range = ratio_range

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, H', W'), (H', W')"""
        return resize(image, labels, self.draw(labels.shape))

    def draw(self, size: Size) -> list[int]:
        return self.size_of(size, uniform(*self.ratio_range))

    def size_of(self, size: Size, ratio: float) -> list[int]:
        """The size that a pair gets. The box is a long and a short side: it may lie on its side."""
        box = [int(side * ratio) for side in self.base_size]
        scale = min(max(box) / max(size), min(box) / min(size))
        return [max(1, int(side * scale + 0.5)) for side in size]


def resize(image: Tensor, labels: Tensor, size: list[int]) -> Pair:
    """Bilinear for the image, nearest for the labels, which have nothing in between."""
    return resize_image(image, size), pick(labels, *nearest(labels.shape, size))


def resize_image(image: Tensor, size: list[int]) -> Tensor:
    return F.resize(image, size, InterpolationMode.BILINEAR, antialias=False)


def nearest(old: Size, new: list[int]) -> tuple[Tensor, Tensor]:
    """The rows and the columns that a picture of the new size takes from the old."""
    rows, columns = (
        interpolate(torch.arange(have, dtype=torch.float)[None, None], want)[0, 0].long()
        for have, want in zip(old, new, strict=True)
    )
    return rows, columns


def pick(labels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(H, W) -> those rows and columns of it, by NumPy: torch takes ten times as long."""
    return torch.from_numpy(labels.numpy()[rows.numpy()].take(columns.numpy(), axis=1))


class RandomCrop:
    """Cuts a window in which no class fills more than CAT_MAX_RATIO of the labelled pixels."""

    def __init__(self, crop_size: Size):
        self.crop_size = crop_size

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, h, w), (h, w); a side shorter than the crop is kept whole"""
        window, labels = self.choose(labels.shape, labels.__getitem__)
        return image[(slice(None), *window)], labels

    def choose(self, size: Size, labels_in: Callable[[Window], Tensor]) -> tuple[Window, Tensor]:
        """A window of a picture of that size, and the labels in it."""
        for _ in range(11):  # as the reference: the eleventh is taken whatever it shows
            window = self.draw(size)
            labels = labels_in(window)
            if self.is_varied(labels):
                break
        return window, labels

    def draw(self, size: Size) -> Window:
        rows, columns = (
            slice(start := randint(0, max(side - crop, 0)), start + crop)
            for side, crop in zip(size, self.crop_size, strict=True)
        )
        return rows, columns

    def is_varied(self, labels: Tensor) -> bool:
        counts = torch.bincount(labels.flatten(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
        counts = counts[counts > 0]
        return len(counts) > 1 and float(counts.max() / counts.sum()) < CAT_MAX_RATIO


class ResizedCrop:
    """RandomResize, then RandomCrop, without the labels that would be cut away at once.

    The image is resized whole: PyTorch does that faster than a window of it could be done apart.
    """

    def __init__(self, resize: RandomResize, crop: RandomCrop):
        self.resize = resize
        self.crop = crop

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """(3, H, W), (H, W) -> (3, h, w), (h, w)"""
        size = self.resize.draw(labels.shape)
        rows, columns = nearest(labels.shape, size)

        def labels_in(window: Window) -> Tensor:
            return pick(labels, rows[window[0]], columns[window[1]])

        window, labels = self.crop.choose(size, labels_in)
        return resize_image(image, size)[(slice(None), *window)], labels


class RandomFlip:
    """Left becomes right, with probability 0.5."""

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        return (image.flip(-1), labels.flip(-1)) if chance(0.5) else (image, labels)


class Pad:
    """Fills up right and below: the mean colour for the image, 255 for the labels."""

    def __init__(self, size: Size):
        self.size = size

    def __call__(self, image: Tensor, labels: Tensor) -> Pair:
        """normalised (3, H, W), (H, W) -> at least `size`"""
        bottom, right = (max(0, n - m) for n, m in zip(self.size, labels.shape, strict=True))
        if bottom or right:  # padding by nothing would still copy
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
    """Everything that happens to a training pair, in the reference's order."""
    steps: list[Transform] = []
    resize = RandomResize(config.base_size, config.ratio_range) if config.base_size else None
    crop = RandomCrop(config.crop_size) if config.crop_size else None
    if resize and crop:
        steps.append(ResizedCrop(resize, crop))
    elif resize or crop:
        steps.append(resize or crop)
    steps.append(RandomFlip())
    if config.color_jitter:
        steps.append(ColorJitter())
    steps.append(to_tensors)
    if config.crop_size:
        steps.append(Pad(config.crop_size))
    return Compose(tuple(steps))
