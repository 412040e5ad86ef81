"""Checker of lesson 09: scores from sliding windows."""

from collections.abc import Callable

import torch
from torch import Tensor

from annlib.course.exercises.checking import NotYet, attempt, draw, expect, normal
from annlib.course.lines import say

Size = tuple[int, int]
Score = Callable[[Tensor], Tensor]  # (B, C, h, w) -> (B, K, h, w)
Slide = Callable[[Score, Tensor, Size, Size], Tensor]


class Network:
    """A stand-in: its scores depend on the place in the window, and it notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        rows = torch.arange(images.shape[2])[:, None] + 0.3 * torch.arange(images.shape[3])
        brightest = images.amax(1) - images.mean((1, 2, 3))[:, None, None]
        return torch.stack([images.mean(1) + 0.1 * rows, brightest], 1)


def slide(student: Slide) -> None:
    """(score, images (B, C, H, W), window, stride) -> mean scores (B, K, H, W)"""
    window, stride = (draw(6, 7), draw(8, 9)), (4, 5)
    whole = normal(2, 3, *window)
    check(student, whole, window, stride, "the window is the picture")
    small = normal(1, 3, window[0] - 2, window[1] + 6)
    check(student, small, window, stride, "the picture is lower than the window")
    exact = normal(1, 2, window[0] + 2 * stride[0], window[1] + stride[1])
    check(student, exact, window, stride, "windows end exactly at the border")
    check(student, normal(1, 2, 19, 23), window, stride, "the last windows stick out")
    say(
        "Right: the whole picture if the window is as large, means where windows overlap, the last "
        "window moved back inside, and a picture smaller than the window in one piece."
    )


def check(student: Slide, images: Tensor, window: Size, stride: Size, when: str) -> None:
    network = Network()
    size = tuple(images.shape[2:])
    told = f"Picture {size}, window {window}, stride {stride} ({when}): "

    def call(pictures: Tensor) -> Tensor:
        return student(network, pictures, window, stride)

    call.__name__ = "slide"
    found = attempt(call, images.clone())
    expect(bool(network.seen), f"{told}your function never asks `score`.")
    check_windows(network.seen, size, window, told)
    right = by_counting(images, window, stride)
    expect(
        found.shape == right.shape,
        f"{told}scores are {tuple(right.shape)}, (B, K, H, W); yours are {tuple(found.shape)}.",
    )
    expect(
        bool(found.isfinite().all()),
        f"{told}some scores are nan or inf: pixels that no window covers, divided by 0.",
    )
    enough, asked = len(places(size, window, stride)), sum(map(len, network.seen)) // len(images)
    expect(
        asked <= enough,
        f"{told}{enough} windows are enough, you asked for {asked}. Moved back, two windows may "
        "lie in the same place: count them once.",
    )
    explain(found, images, window, stride, told)


def check_windows(seen: list[Tensor], size: Size, window: Size, told: str) -> None:
    wanted = tuple(min(side, part) for side, part in zip(size, window, strict=True))
    for one in seen:
        got = tuple(one.shape[2:])
        expect(
            got == wanted,
            f"{told}a window of {got} was scored; all have to be {wanted}. At the border move the "
            "window back until it lies inside: a narrow rest shows the network less context, and "
            "padding shows it what is not there.",
        )


def starts(side: int, window: int, stride: int) -> list[int]:
    found = [0]
    while found[-1] + window < side:
        found.append(min(found[-1] + stride, side - window))
    return found


def places(size: Size, window: Size, stride: Size) -> list[Size]:
    tops, lefts = (starts(*three) for three in zip(size, window, stride, strict=True))
    return [(top, left) for top in tops for left in lefts]


def by_counting(images: Tensor, window: Size, stride: Size, how: str = "mean") -> Tensor:
    """(B, C, H, W) -> (B, 2, H, W).  how: mean, sum, or last (a window overwrites the earlier)"""
    network, (height, width) = Network(), images.shape[2:]
    total, count = torch.zeros(len(images), 2, height, width), torch.zeros(height, width)
    for top, left in places((height, width), window, stride):
        part = slice(top, top + window[0]), slice(left, left + window[1])
        scores = network(images[:, :, *part])
        total[:, :, *part] = scores if how == "last" else total[:, :, *part] + scores
        count[part] += 1
    return total / count if how == "mean" else total


def explain(found: Tensor, images: Tensor, window: Size, stride: Size, told: str) -> None:
    """Raises NotYet with the slip that leads to these scores."""
    if torch.allclose(found, by_counting(images, window, stride), atol=1e-4):
        return
    slips = {
        "sum": "scores of windows that overlap are added up: a pixel in four windows counts four "
        "times. Divide by how many windows cover each pixel.",
        "last": "a window overwrites what earlier ones said. Add, count, divide at the end.",
    }
    for how, advice in slips.items():
        if torch.allclose(found, by_counting(images, window, stride, how), atol=1e-4):
            raise NotYet(told + advice)
    raise NotYet(
        f"{told}the scores are not the means of the windows. Add each window's scores at its place "
        "to a map of zeros, add 1 to a map of counts there, divide at the end."
    )
