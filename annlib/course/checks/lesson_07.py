"""Checkers of lesson 07: attention by class, ablation, and a strong weight that is not needed.

h x w positions of the feature map, H x W pixels of the image, K classes.
B batch, N query positions, S keys.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX
from annlib.course.attention import attention_of, predict_labels
from annlib.course.checks.base import attempt, check_pixel, expect, passed
from annlib.course.checks.inputs import draw, fresh, normal
from annlib.course.interventions import changed_attention, without_strongest
from annlib.course.lesson import say
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES, Scene

STRONG = 0.5  # weight of one anchor that counts as a clear choice


def class_mass(student: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """heat (h, w), labels int64 (H, W), K -> (K,)"""

    def run(heat: Tensor, labels: Tensor, classes: int) -> Tensor:
        masses = attempt(student, heat, labels, classes)
        expect(masses.shape == (classes,), "shape of masses", classes, masses.shape)
        return masses

    for _ in range(2):
        side, rows, columns, classes = draw(2, 4), draw(3, 5), draw(6, 8), draw(4, 6)
        heat = torch.rand(rows, columns, generator=fresh()) ** 4 + 1e-3
        heat, size = heat / heat.sum(), (rows * side, columns * side)
        labels = torch.randint(classes - 1, size, generator=fresh())  # the last does not occur
        masses = run(heat, labels, classes)
        total = float(masses.sum())
        expect(abs(total / side**2 - 1) >= 1e-3, "mass of every pixel", total)
        expect(abs(total - 1) < 1e-4, "masses do not sum to 1", total)
        for y in (0, draw(1, rows - 1)):  # in row 0 and not column 0, no other reading agrees
            x = draw(rows, columns - 1)
            one, cell = torch.zeros(rows, columns), torch.zeros(size, dtype=torch.int64)
            one[y, x] = 1
            cell[y * side : (y + 1) * side, x * side : (x + 1) * side] = 1
            got = float(run(one, cell, 2)[1])
            expect(abs(got - 1) < 1e-4, "position under another cell", side, got)
            cell[:] = 0
            cell[y * side, x * side] = 1  # one pixel, at the corner of the cell
            got, share = float(run(one, cell, 2)[1]), 1 / side**2
            expect(abs(got - share) < 1e-4, "mixed cell", side, share, got)
        areas = torch.bincount(labels.flatten(), minlength=classes) / labels.numel()
        even = torch.full_like(heat, 1 / heat.numel())
        expect(torch.allclose(run(even, labels, classes), areas, atol=1e-4), "uniform attention")
        expect(not torch.allclose(masses, areas, atol=1e-4), "masses are areas")
    twice = 2 * run(heat / 2, labels, classes)
    expect(torch.allclose(twice, masses, atol=1e-5), "masses normalised")
    passed("class_mass")


def switch_off(student: Callable[[Tensor, int], Tensor]) -> None:
    """weights (B, N, S), rows sum to 1, and k -> (B, N, S)"""
    for _ in range(2):
        weights = (2 * normal(draw(2, 3), draw(4, 6), draw(9, 14))).softmax(-1)
        k = draw(2, 4)
        left = attempt(student, weights, k, in_place="writes into its input")
        expect(left.shape == weights.shape, "shape of the weights left", weights.shape, left.shape)
        off = left.abs() < 1e-9
        strongest, weakest = (
            torch.zeros_like(off).scatter(-1, weights.topk(k, largest=largest).indices, True)
            for largest in (True, False)
        )
        expect(not torch.equal(off, weakest), "These are the weakest weights; take the strongest.")
        counts, sums = off.sum(-1), left.sum(-1)
        most = int(counts.max())
        expect((counts == k).all(), "another number of weights off", k, int(counts.min()), most)
        expect(torch.equal(off, strongest), "other weights off")
        one = torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        expect(one, "rows left do not sum to 1", float(sums.min()))
        factors = left / weights
        lowest = factors.where(~off, torch.inf).amin(-1)
        highest = factors.where(~off, -torch.inf).amax(-1)
        expect(torch.allclose(lowest, highest, rtol=1e-3), "ratios changed")
        expect(torch.allclose(attempt(student, weights, 0), weights, atol=1e-5), "weights changed")
    passed("switch_off")


def bright_without_need(pixel: tuple[int, int], model: nn.Module, scene: Scene) -> None:
    """Whether (row, column) attends strongly to one anchor of the AFNB but does not need it."""
    check_pixel(pixel, scene.labels.shape)
    where, label = f"Row {pixel[0]}, column {pixel[1]}", scene.labels[pixel]
    border = label == IGNORE_INDEX
    expect(not border, f"{where} is a border, which has no class. Choose one further away.")
    strongest = float(attention_of(model, scene.image)["afnb.attention"].row(*pixel).max())
    expect(strongest >= STRONG, "weight not strong", where, strongest, STRONG)
    before = predict_labels(model, scene.image)[pixel]
    for k in (1, 2, 4, 8, 16):
        with changed_attention(model, partial(without_strongest, k=k), "afnb.attention"):
            after = predict_labels(model, scene.image)[pixel]
        expect(after == before, "needed", k, CLASS_NAMES[before], CLASS_NAMES[after])
    expect(label not in HOUSES, "house", where)
    say(f"""{where} gives {strongest:.0%} to one anchor and stays {CLASS_NAMES[before]} without its
        1, 2, 4, 8 and 16 strongest weights: large, but the prediction does not depend on it.""")
