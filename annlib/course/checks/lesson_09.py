"""Checkers of lesson 09: label values, sliding windows, memory of a training step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from annlib.course.checks.base import NotYet, attempt, attempt_number, draw, expect, fresh, normal
from annlib.course.lesson import say

IGNORED = 255
Mapping = Callable[[Tensor, Sequence[int]], Tensor]


def class_indices(student: Mapping) -> None:
    """raw uint8 (H, W), raw value of class 0, 1, ... -> class indices (H, W), 255 for all else"""
    for num_classes in (draw(4, 6), 19, 150):
        values = (20 + torch.randperm(180, generator=fresh())[:num_classes]).tolist()
        values[-1] = 0  # so that whoever replaces in place replaces class 0 again
        if num_classes == 150:
            values = list(range(1, 151))  # ADE20K: 0 means "other"
        check_mapping(student, values)
    say(
        "Right: each raw value becomes the index of its class, every other value 255, whatever the "
        "order of the classes; the labels that went in are as they were."
    )


def check_mapping(student: Mapping, values: list[int]) -> None:
    height, width = draw(5, 9), draw(10, 14)
    raw = torch.randint(0, 256, (height, width), generator=fresh(), dtype=torch.uint8)
    known = torch.tensor(values, dtype=torch.uint8)
    raw[: height // 2] = known[torch.randint(len(values), (height // 2, width), generator=fresh())]
    raw[0, :3] = torch.tensor([0, 251, 255], dtype=torch.uint8)
    raw[1, : min(4, len(values))] = known[:4]
    right = by_hand(raw, values)
    given = raw.clone()
    found = attempt(lambda labels: student(labels, tuple(values)), given)
    expect(
        torch.equal(given, raw),
        "The labels that went in were changed. Whoever reads them again gets other ones: fill a "
        "new tensor (a table, or torch.full_like).",
    )
    expect(
        tuple(found.shape) == (height, width),
        f"(H, W) = {(height, width)} went in, {tuple(found.shape)} came out.",
    )
    explain_values(found.long(), right, raw.long(), values)


def by_hand(raw: Tensor, values: Sequence[int]) -> Tensor:
    """(H, W) -> (H, W), a pixel at a time"""
    rows = [[values.index(v) if v in values else IGNORED for v in row] for row in raw.tolist()]
    return torch.tensor(rows)


def explain_values(found: Tensor, right: Tensor, raw: Tensor, values: Sequence[int]) -> None:
    """Raises NotYet with the slip that leads to these classes."""
    if torch.equal(found, right):
        return
    outside = (found != IGNORED) & ((found >= len(values)) | (found < 0))
    expect(
        not torch.equal(found, raw),
        "Raw values came out as they went in. They are names of classes, not places in a list.",
    )
    if outside.any():
        index = int(found[outside][0])
        expect(
            False,
            f"Raw value {int(raw[outside][0])} became class {index}, but there are {len(values)} "
            f"classes: index {index} is out of bounds. Bytes wrap around (0 - 1 is 255, 6 - 11 is "
            "251); what is no class must become 255, all of it.",
        )
    explain_classes(found, right, raw)


def explain_classes(found: Tensor, right: Tensor, raw: Tensor) -> None:
    """Raises NotYet for classes that exist, but are wrong."""
    counted = (right == IGNORED) & (found != IGNORED)
    if counted.any():
        expect(
            False,
            f"Raw value {int(raw[counted][0])} is no class here, but counts as class "
            f"{int(found[counted][0])}. Start from 255 everywhere.",
        )
    wrong = found != right
    expect(
        False,
        f"Raw value {int(raw[wrong][0])} is class {int(right[wrong][0])}, yours says "
        f"{int(found[wrong][0])}. Its place in `values` is its class. (If you replace values one "
        "after the other in one tensor, a class that was just written may be replaced again.)",
    )


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
    explain_windows(found, images, window, stride, told)


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


def explain_windows(found: Tensor, images: Tensor, window: Size, stride: Size, told: str) -> None:
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


WITHIN = 0.2


def step_bytes(student: Callable[[int, int, int], float]) -> None:
    """(parameters, bytes measured with one picture, batch) -> bytes of a step with that batch"""
    for _ in range(4):
        parameters, batch = draw(2, 60) * 1_000_000, draw(6, 16)
        maps = parameters * draw(51, 140) // 10  # bytes for one picture
        measured = 12 * parameters + maps
        found = attempt_number(student, parameters, measured, batch)
        check_estimate(found, parameters, maps, batch)
    one = attempt_number(student, parameters, measured, 1)
    expect(
        abs(one / measured - 1) < 0.01,
        f"For a batch of one you say {one / 2**20:,.0f} MiB, but {measured / 2**20:,.0f} were "
        "measured: an estimate has to agree with the measurement it leans on.",
    )
    say(
        "Right: weights, gradients and momentum once, whatever the batch; the maps once for each "
        "picture. Now see whether a real network keeps to it."
    )


def slips_of(parameters: int, maps: int, batch: int) -> dict[float, str]:
    """Estimate -> the misconception that leads to it."""
    measured = 12 * parameters + maps
    everything, maps_only, twice = (
        batch * measured,
        batch * maps,
        12 * parameters + batch * measured,
    )
    slips = {
        everything: "You multiply everything by the batch. Weights, gradients and momentum are "
        "there once, however many pictures there are.",
        measured: "Your estimate does not grow with the batch; the maps do, one set a picture.",
        maps_only: "You took the weights off and did not add them again: 12 bytes a parameter.",
        twice: "The measurement holds weights, gradients and momentum already: take them off "
        "before you multiply, or they count once more for each picture.",
    }
    for fixed, what in (
        (4, "only the weights; the gradient of each takes as much, and so does its momentum"),
        (8, "two numbers a parameter; SGD with momentum keeps three: weight, gradient, momentum"),
        (16, "four numbers a parameter, as Adam does; SGD with momentum keeps three"),
        (3, "three bytes a parameter; three numbers of four bytes each make 12"),
    ):
        rest = measured - fixed * parameters
        slips[fixed * parameters + batch * rest] = f"You count {what}."
    return slips


def check_estimate(found: float, parameters: int, maps: int, batch: int) -> None:
    right = 12 * parameters + batch * maps
    measured = 12 * parameters + maps
    if abs(found / right - 1) < 0.01:
        return
    for slip, advice in slips_of(parameters, maps, batch).items():
        expect(abs(found - slip) > 0.001 * abs(slip), advice)
    expect(
        False,
        f"{parameters:,} parameters, {measured / 2**20:,.0f} MiB with one picture: {batch} take "
        f"{right / 2**20:,.0f} MiB, you say {found / 2**20:,.0f}. What is needed once, and "
        "what once for each picture?",
    )
