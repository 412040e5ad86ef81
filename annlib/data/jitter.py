"""Colours at random: brightness, contrast, saturation and hue of uint8 (3, H, W) RGB pictures.

Every step ends in uint8, as the reference's do (mmseg, PhotoMetricDistortion). In between, bytes
and int16 are used where they are exact: a pass over them takes a half to a quarter of float's time.
"""

from collections.abc import Callable
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from annlib.data.draws import chance, randint, uniform

Change = Callable[[Tensor], Tensor]

STRIP = 128  # rows: what one pass writes is still in the cache when the next one reads it


class ColorJitter:
    """Brightness, contrast, saturation and hue, each with probability 0.5; labels stay."""

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        changes = self.draw()
        strips = [changed(in_planes(strip), changes) for strip in image.split(STRIP, dim=1)]
        return torch.cat(strips, dim=1), labels

    def draw(self) -> list[Change]:
        """Contrast comes either before or after saturation and hue."""
        changes = maybe(brighten, lambda: uniform(-32, 32))
        contrast_first = chance(0.5)
        if contrast_first:
            changes += maybe(scale_contrast, lambda: uniform(0.5, 1.5))
        changes += maybe(scale_saturation, lambda: uniform(0.5, 1.5))
        changes += maybe(turn_hue, lambda: 2 * randint(-18, 17))
        if not contrast_first:
            changes += maybe(scale_contrast, lambda: uniform(0.5, 1.5))
        return changes


def maybe(change: Callable[[Tensor, float], Tensor], draw: Callable[[], float]) -> list[Change]:
    """One change by an amount at random, or none."""
    if not chance(0.5):
        return []
    amount = draw()
    return [lambda image: change(image, amount)]


def changed(image: Tensor, changes: list[Change]) -> Tensor:
    return reduce(lambda found, change: change(found), changes, image)


def in_planes(image: Tensor) -> Tensor:
    """The same, channel after channel in memory, for they will be compared with each other."""
    return torch.from_numpy(np.ascontiguousarray(image.numpy()))  # thrice as fast as contiguous()


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

    Hues lie on a hexagon, and a channel's gap to V depends on how far away from it the hue is:
    none up to 60 degrees, all of the chroma C from 120 on, linear in between. Distances are taken
    in units of 60/C degrees, which makes those of a pixel whole numbers: 3C is half a turn.
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
