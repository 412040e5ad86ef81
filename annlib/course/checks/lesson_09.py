"""Checkers of lesson 09: label values, sliding windows, memory of a training step."""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.checks.base import NotYet, attempt, attempt_number, expect, judge, passed, text
from annlib.course.checks.inputs import draw, fresh, normal
from annlib.engine.inference import window_starts

Size = tuple[int, int]


def class_indices(student: Callable[[Tensor, Sequence[int]], Tensor]) -> None:
    """raw uint8 (H, W), raw value of class 0, 1, ... -> class indices (H, W), 255 for all else"""
    for num_classes in (draw(4, 6), 19, 150):
        values = (20 + torch.randperm(180, generator=fresh())[:num_classes]).tolist()
        values[-1] = 0  # replacing in one tensor then replaces class 0 again
        if num_classes == 150:
            values = list(range(1, 151))  # ADE20K: 0 means "other"
        height, width = draw(5, 9), draw(10, 14)
        raw = torch.randint(0, 256, (height, width), generator=fresh(), dtype=torch.uint8)
        known = torch.tensor(values, dtype=torch.uint8)
        chosen = torch.randint(len(values), (height // 2, width), generator=fresh())
        raw[: height // 2] = known[chosen]
        raw[0, :3] = torch.tensor([0, 251, 255], dtype=torch.uint8)
        raw[1, : min(4, len(values))] = known[:4]
        found = attempt(student, raw, tuple(values), in_place="labels changed").long()
        expect(found.shape == raw.shape, "another size of labels", raw.shape, found.shape)
        expect(not torch.equal(found, raw.long()), "raw values")
        place = {value: index for index, value in enumerate(values)}
        right = torch.tensor([[place.get(v, IGNORE_INDEX) for v in row] for row in raw.tolist()])
        cases = {
            "index out of bounds": (found != IGNORE_INDEX) & ((found >= num_classes) | (found < 0)),
            "other value as a class": (right == IGNORE_INDEX) & (found != right),
            "another class": found != right,
        }
        for advice, where in cases.items():
            if where.any():
                raise NotYet(advice, int(raw[where][0]), int(found[where][0]))
    passed("class_indices")


class Network:
    """A stand-in: its scores depend on the place in the window, and it notes its inputs."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        rows = torch.arange(images.shape[2])[:, None] + 0.3 * torch.arange(images.shape[3])
        brightest = images.amax(1) - images.mean((1, 2, 3))[:, None, None]
        return torch.stack([images.mean(1) + 0.1 * rows, brightest], 1)


def slide(student: Callable[[Callable[[Tensor], Tensor], Tensor, Size, Size], Tensor]) -> None:
    """(score, images (B, C, H, W), window, stride) -> mean scores (B, K, H, W)"""
    window, stride = (draw(6, 7), draw(8, 9)), (4, 5)
    exact = (window[0] + 2 * stride[0], window[1] + stride[1])
    for images, case in (
        (normal(2, 3, *window), "the window is the image"),
        (normal(1, 3, window[0] - 2, window[1] + 6), "the image is lower than the window"),
        (normal(1, 2, *exact), "windows end exactly at the border"),
        (normal(1, 2, 19, 23), "the last windows go over the border"),
    ):
        network, size = Network(), tuple(images.shape[2:])
        where = f"Image {size}, window {window}, stride {stride} ({case}): "
        found = attempt(student, network, images, window, stride)
        expect(bool(network.seen), f"{where}your function never calls `score`.")
        wanted = tuple(map(min, size, window))
        for got in (tuple(one.shape[2:]) for one in network.seen):
            expect(got == wanted, "size of a window", where, got, wanted)
        added, last, counts = by_counting(images, window, stride)
        expect(found.shape == added.shape, "shape of the scores", where, found.shape)
        expect(bool(found.isfinite().all()), "scores not finite", where)
        enough, used = len(places(size, window, stride)), sum(map(len, network.seen)) // len(images)
        expect(used <= enough, "too many windows", where, enough, used)
        slips = {"windows added up": added, "last window wins": last}
        judge(found, added / counts, slips, "not the means of windows", where, atol=1e-4)
    passed("slide")


def places(size: Size, window: Size, stride: Size) -> list[Size]:
    return list(product(*map(window_starts, size, window, stride)))


def by_counting(images: Tensor, window: Size, stride: Size) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C, H, W) -> sums of scores (B, 2, H, W), those of the last window, windows (H, W)"""
    size = images.shape[2:]
    total, count = torch.zeros(len(images), 2, *size), torch.zeros(*size)
    last = total.clone()
    for top, left in places(size, window, stride):
        part = slice(top, top + window[0]), slice(left, left + window[1])
        last[:, :, *part] = Network()(images[:, :, *part])
        total[:, :, *part] += last[:, :, *part]
        count[part] += 1
    return total, last, count


def step_bytes(student: Callable[[int, int, int], float]) -> None:
    """(parameters, bytes measured with one image, batch) -> bytes of a step with that batch"""
    for _ in range(4):
        parameters, batch = draw(2, 60) * 1_000_000, draw(6, 16)
        maps = parameters * draw(51, 140) // 10  # bytes for one image
        fixed, measured = 12 * parameters, 12 * parameters + maps
        found, right = attempt_number(student, parameters, measured, batch), fixed + batch * maps
        slips = {
            "everything times the batch": batch * measured,
            "batch ignored": measured,
            "maps only": batch * maps,
            "fixed part counted twice": fixed + batch * measured,
        }
        each = {"only the weights": 4, "two numbers": 8, "four numbers": 16, "three bytes": 3}
        for name, num_bytes in each.items():
            once = num_bytes * parameters
            slips[name] = once + batch * (measured - once)
        sizes = (one / 2**20 for one in (measured, right, found))
        if abs(found / right - 1) > 0.01:
            otherwise = text("another estimate", parameters, batch, *sizes)
            judge(found, right, slips, otherwise, rtol=1e-3)
    one = attempt_number(student, parameters, measured, 1)
    otherwise = text("estimate for one image", one / 2**20, measured / 2**20)
    judge(one, measured, {}, otherwise, rtol=0.01)
    passed("step_bytes")
