"""Checkers of lesson 07: weights switched off, and a pixel that is bright without need.

N positions that ask, S that answer.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX
from annlib.course.attention import attention_of
from annlib.course.exercises.checking import attempt, draw, expect, normal
from annlib.course.intervening import changed_attention, without_strongest
from annlib.course.lines import say
from annlib.course.predicting import predict_labels
from annlib.data.scenes import CLASS_NAMES, HOUSES, Scene

BRIGHT = 0.5  # share of one anchor that counts as a clear choice
Student = Callable[[Tensor, int], Tensor]


def switch_off(student: Student) -> None:
    """weights (B, N, S), rows sum to 1, and k -> (B, N, S)"""
    expect(callable(student), "Write the function switch_off in place of the three dots.")
    for _ in range(2):
        batch, asking, answering = draw(2, 3), draw(4, 6), draw(9, 14)
        weights = (2 * normal(batch, asking, answering)).softmax(-1)
        k = draw(2, 4)
        left = ask(student, weights, k)
        check_dropped(left, weights, k)
        check_ratios(left, weights)
        same = ask(student, weights, 0)
        expect(
            torch.allclose(same, weights, atol=1e-5),
            "With k = 0 nothing is switched off, but your weights changed.",
        )
    say(
        "Right: each row loses its own k strongest, the others keep their ratios, rows sum to 1 "
        "again, and k = 0 changes nothing."
    )


def ask(student: Student, weights: Tensor, k: int) -> Tensor:
    def named(weights: Tensor) -> Tensor:
        return student(weights, k)

    named.__name__ = getattr(student, "__name__", "switch_off")
    given = weights.clone()
    left = attempt(named, given)
    expect(
        torch.equal(given, weights),
        "Your function writes into the weights it was given; the next measurement would start "
        "from them. Work on a copy: clone(), or scatter without underscore.",
    )
    expect(
        left.shape == weights.shape,
        f"Weights {tuple(weights.shape)} went in, {tuple(left.shape)} came out: the shape stays, "
        "what is switched off becomes 0.",
    )
    return left


def check_dropped(left: Tensor, weights: Tensor, k: int) -> None:
    """Who is zero, and whether rows are whole again."""
    off = left.abs() < 1e-9
    weakest = torch.zeros_like(off).scatter(-1, weights.topk(k, largest=False).indices, True)
    strongest = torch.zeros_like(off).scatter(-1, weights.topk(k).indices, True)
    expect(not torch.equal(off, weakest), "You switched off the weakest; take the strongest.")
    counts = off.sum(-1)
    expect(
        bool((counts == k).all()),
        f"{k} weights must be off in every row; yours have {int(counts.min())} to "
        f"{int(counts.max())}. Each row chooses for itself: topk along the last axis.",
    )
    expect(
        torch.equal(off, strongest),
        "Those that are off are not the strongest of their own row. The same columns for all rows, "
        "or a choice along another axis?",
    )
    sums = left.sum(-1)
    expect(
        torch.allclose(sums, torch.ones_like(sums), atol=1e-4),
        f"Rows must sum to 1 again, or the block fetches less in total; yours sum to "
        f"{float(sums.min()):.2f} and more. Divide each row by what is left of it.",
    )


def check_ratios(left: Tensor, weights: Tensor) -> None:
    kept = left > 0
    factors = torch.where(kept, left / weights, torch.nan)
    lowest = torch.where(kept, factors, torch.inf).amin(-1)
    highest = torch.where(kept, factors, -torch.inf).amax(-1)
    expect(
        torch.allclose(lowest, highest, rtol=1e-3),
        "Weights that stay must keep their ratios: one factor for the whole row. A softmax over "
        "weights, or handing out the loss evenly, changes them.",
    )


def bright_without_need(pixel: tuple[int, int], model: nn.Module, scene: Scene) -> None:
    """Whether (row, column) looks hard at one anchor of the AFNB and can do without it."""
    check_pixel(pixel, scene)
    strongest = float(attention_of(model, scene.image)["afnb.attention"].row(*pixel).max())
    expect(
        strongest >= BRIGHT,
        f"Row {pixel[0]}, column {pixel[1]} gives no anchor more than {strongest:.0%}: not bright. "
        f"Look for one that gives a single anchor at least {BRIGHT:.0%}. Most of sky, road "
        "and green looks nowhere in particular.",
    )
    before = predict_labels(model, scene.image)[pixel]
    for k in (1, 2, 4, 8, 16):
        with changed_attention(model, partial(without_strongest, k=k), "afnb.attention"):
            after = predict_labels(model, scene.image)[pixel]
        expect(
            after == before,
            f"Bright, but needed: without its {k} strongest the pixel turns from "
            f"{CLASS_NAMES[before]} into {CLASS_NAMES[after]}. Who could know its class without "
            "looking far?",
        )
    expect(
        scene.labels[pixel] not in HOUSES,
        f"Row {pixel[0]}, column {pixel[1]} keeps its class, but it is a house, and nothing near a "
        "house tells its class: without its balloon a vote of the others may happen to be right. "
        "Look for a pixel whose class can be told from close by.",
    )
    say(
        f"Row {pixel[0]}, column {pixel[1]} gives {strongest:.0%} to one anchor and stays "
        f"{CLASS_NAMES[before]} without its 1, 2, 4, 8 and 16 strongest: bright, but not because."
    )


def check_pixel(pixel: tuple[int, int], scene: Scene) -> None:
    expect(
        pixel is not ... and pixel is not None,
        "Write the row and the column of a pixel in place of the three dots.",
    )
    expect(
        isinstance(pixel, tuple) and len(pixel) == 2 and all(isinstance(n, int) for n in pixel),
        f"A pixel is (row, column), two whole numbers; {pixel!r} is something else.",
    )
    (row, column), (height, width) = pixel, scene.labels.shape
    expect(
        0 <= row < height and 0 <= column < width,
        f"Row {row}, column {column} is outside: rows go from 0 to {height - 1}, columns from 0 to "
        f"{width - 1}. The row comes first.",
    )
    expect(
        scene.labels[row, column] != IGNORE_INDEX,
        f"Row {row}, column {column} is a border, which has no class. Go a few pixels inwards.",
    )
