"""Checker of lesson 09: raw label values of a data set to class indices."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from annlib.course.exercises.checking import attempt, draw, expect, fresh
from annlib.course.lines import say

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
    explain(found.long(), right, raw.long(), values)


def by_hand(raw: Tensor, values: Sequence[int]) -> Tensor:
    """(H, W) -> (H, W), a pixel at a time"""
    rows = [[values.index(v) if v in values else IGNORED for v in row] for row in raw.tolist()]
    return torch.tensor(rows)


def explain(found: Tensor, right: Tensor, raw: Tensor, values: Sequence[int]) -> None:
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
