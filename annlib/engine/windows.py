"""Sliding windows: where they lie, and the mean of what a network says in each.

Reference: mmseg/models/segmentors/encoder_decoder.py, slide_inference.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from annlib.engine.score_maps import ScoreMap

Score = Callable[[Sequence[Tensor]], list[ScoreMap]]  # images (B, 3, H, W), all of one size


def check_windows(window: tuple[int, int] | None, stride: tuple[int, int] | None) -> None:
    """Raises ValueError for windows that leave gaps."""
    if window is None or stride is None:
        raise ValueError(
            "Sliding (mode='slide') needs window and stride, e.g. (769, 769) and (513, 513): "
            "--window 769 769 --stride 513 513."
        )
    if not all(1 <= step <= side for side, step in zip(window, stride, strict=True)):
        raise ValueError(
            f"Windows of {window} with the stride {stride} (height, width) leave pixels out: each "
            "stride must be at least 1 and at most the window's side."
        )


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one side; the last window is moved back to the edge."""
    last = max(side - window, 0)
    return sorted({min(start, last) for start in range(0, last + stride, stride)})


def times_covered(starts: Sequence[int], window: int, side: int) -> Tensor:
    """By how many windows each pixel of one side is covered.  -> (side,)"""
    counts = torch.zeros(side)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def mean_of_windows(
    windows: Sequence[ScoreMap], tops: Sequence[int], lefts: Sequence[int], size: tuple[int, int]
) -> ScoreMap:
    """A map of `size` from windows of one size, one at each top and left, row by row."""
    batch, num_classes, height, width = windows[0].shape
    dtype, device = windows[0].dtype, windows[0].device
    rows_covered = times_covered(tops, height, size[0]).to(device)
    columns_covered = times_covered(lefts, width, size[1]).to(device)
    places = [(top, left) for top in tops for left in lefts]

    def piece(classes: slice, rows: slice) -> Tensor:
        shape = batch, classes.stop - classes.start, rows.stop - rows.start, size[1]
        total = torch.zeros(shape, dtype=dtype, device=device)
        for window, (top, left) in zip(windows, places, strict=True):
            start, stop = max(top, rows.start), min(top + height, rows.stop)
            if start < stop:
                place = slice(start - rows.start, stop - rows.start), slice(left, left + width)
                total[:, :, *place] += window.piece(classes, slice(start - top, stop - top))
        return total.div_(rows_covered[rows, None] * columns_covered)

    return windows[0]._replace(shape=(batch, num_classes, *size), piece=piece)


def sliding_window(score: Score, window: tuple[int, int], stride: tuple[int, int]) -> Score:
    """Scores windows of the images instead of the images, and takes the mean where they overlap."""

    def score_windows(images: Sequence[Tensor]) -> list[ScoreMap]:
        size = images[0].shape[2:]
        tops, lefts = map(window_starts, size, window, stride)
        rows = [slice(top, top + window[0]) for top in tops]
        columns = [slice(left, left + window[1]) for left in lefts]
        windows = score([part[:, :, r, c] for part in images for r in rows for c in columns])
        number = len(tops) * len(lefts)  # of each of the images
        return [
            mean_of_windows(windows[start : start + number], tops, lefts, size)
            for start in range(0, len(windows), number)
        ]

    return score_windows
