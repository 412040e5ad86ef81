"""Maps of scores that are made piece by piece: a whole one fits into no cache.

B batch, K classes. A piece is some classes of some rows, over the whole width.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from annlib.model.ann import resize_bilinear

CPU_PIECE, GPU_PIECE = 2**19, 2**25  # numbers: what a cache holds; what busies a GPU


class ScoreMap(NamedTuple):
    """Scores of which a piece can be had without the rest."""

    shape: tuple[int, int, int, int]  # (B, K, H, W)
    dtype: torch.dtype
    device: torch.device
    classes_at_once: int  # that a piece is best made of
    piece: Callable[[slice, slice], Tensor]  # classes, rows -> (B, classes, rows, W)

    def bands(self) -> Iterator[slice]:
        """Rows whose pieces are neither too large nor too small."""
        batch, _, height, width = self.shape
        numbers = CPU_PIECE if self.device.type == "cpu" else GPU_PIECE
        step = max(1, numbers // (batch * self.classes_at_once * width))
        for top in range(0, height, step):
            yield slice(top, min(top + step, height))

    def groups(self) -> Iterator[slice]:
        """Classes that a piece is made of."""
        num_classes = self.shape[1]
        for first in range(0, num_classes, self.classes_at_once):
            yield slice(first, min(first + self.classes_at_once, num_classes))


def ready(maps: Tensor) -> ScoreMap:
    """A map that is there already.  (B, K, H, W)"""
    maps = maps.contiguous()  # a class is to lie in one place
    at_once = 1 if maps.device.type == "cpu" else maps.shape[1]

    def piece(classes: slice, rows: slice) -> Tensor:
        return maps[:, classes, rows]

    return ScoreMap(tuple(maps.shape), maps.dtype, maps.device, at_once, piece)


def resized(scores: ScoreMap, size: tuple[int, int], align_corners: bool) -> ScoreMap:
    """At another size, as `resize_bilinear` does it: first along the rows, then between them."""
    *shape, height, width = scores.shape
    if (height, width) == tuple(size):
        return scores
    before, weights = neighbours(height, size[0], align_corners)
    after = (before + 1).clamp(max=height - 1)

    def piece(classes: slice, rows: slice) -> Tensor:
        first, end = int(before[rows.start]), int(after[rows.stop - 1]) + 1
        source = scores.piece(classes, slice(first, end))
        source = resize_bilinear(source, (end - first, size[1]), align_corners)
        near, far = ((part[rows] - first).to(source.device) for part in (before, after))
        weight = weights[rows, None].to(source)
        return source.index_select(2, near).lerp_(source.index_select(2, far), weight)

    return scores._replace(shape=(*shape, *size), piece=piece)


def neighbours(old: int, new: int, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Of each of `new` rows: the one of `old` rows before it, and how far it is to the next, 0..1.

    In the precision of torch's interpolation (one rounding after multiplication and sum).
    """
    place = torch.arange(new, dtype=torch.float64)
    if align_corners:
        place *= torch.tensor((old - 1) / max(new - 1, 1), dtype=torch.float32)
    else:
        place = (place + 0.5) * torch.tensor(old / new, dtype=torch.float32) - 0.5
    place = place.float().clamp(min=0)
    before = place.long().clamp(max=old - 1)
    return before, place - before


def mean_probability(copies: Sequence[tuple[ScoreMap, bool]]) -> ScoreMap:
    """Mean of the probabilities of several score maps; those marked True are mirror images."""
    first = copies[0][0]
    num_classes = first.shape[1]

    def piece(classes: slice, rows: slice) -> Tensor:
        total = None
        for scores, mirrored in copies:
            part = scores.piece(slice(0, num_classes), rows).softmax(1)
            part = part.flip(-1) if mirrored else part
            total = part if total is None else total.add_(part)
        return total.div_(len(copies))[:, classes]

    return first._replace(classes_at_once=num_classes, piece=piece)


def whole(scores: ScoreMap) -> Tensor:
    """All of the map.  -> (B, K, H, W)"""
    maps = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    for rows in scores.bands():
        for classes in scores.groups():
            maps[:, classes, rows] = scores.piece(classes, rows)
    return maps


def best_classes(scores: ScoreMap) -> Tensor:
    """The class of the highest score, the first of equals.  -> uint8 (B, H, W)"""
    batch, _, height, width = scores.shape
    best = torch.empty(batch, height, width, dtype=torch.uint8, device=scores.device)
    for rows in scores.bands():
        pieces = (scores.piece(classes, rows) for classes in scores.groups())
        if scores.device.type == "cpu":
            best[:, rows] = first_of_highest(plane for p in pieces for plane in p.unbind(1))
        else:
            best[:, rows] = torch.cat(list(pieces), dim=1).argmax(1)
    return best


def first_of_highest(planes: Iterator[Tensor]) -> Tensor:
    """Which of the planes is the highest at each place.  float32 like the planes

    As torch.argmax, whose loop over classes that lie far apart in memory takes ten times as long.
    """
    highest = next(planes).clone()
    number, better = torch.zeros_like(highest), torch.empty_like(highest)
    for index, plane in enumerate(planes, start=1):
        torch.gt(plane, highest, out=better)  # as 0.0 and 1.0: truth values are not vectorised
        torch.maximum(number, better.mul_(index), out=number)
        torch.maximum(highest, plane, out=highest)
    return number
