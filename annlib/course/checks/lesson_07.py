"""Checkers of lesson 07: attention mass by class, ablation, and a bright pixel that is not needed.

h x w positions of the map, H x W pixels of the picture, K classes.

N positions that ask, S that answer.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX
from annlib.course.attention import attention_of
from annlib.course.attention_metrics import predict_labels
from annlib.course.checks.base import attempt, draw, expect, fresh, normal
from annlib.course.interventions import changed_attention, without_strongest
from annlib.course.lesson import say
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES, Scene

ClassMass = Callable[[Tensor, Tensor, int], Tensor]


def class_mass(student: ClassMass) -> None:
    """heat (h, w), labels int64 (H, W), K -> (K,)"""
    for _ in range(2):
        side, rows, columns, classes = draw(2, 4), draw(3, 5), draw(6, 8), draw(4, 6)
        heat = torch.rand(rows, columns, generator=fresh()) ** 4 + 1e-3
        heat = heat / heat.sum()
        labels = torch.randint(
            classes - 1, (rows * side, columns * side), generator=fresh()
        )  # the last class does not occur
        masses = ask_class_mass(student, heat, labels, classes)
        check_sum(masses, heat, labels, classes)
        check_whole_cells(student, rows, columns, side)
        check_share(student, rows, columns, side)
        check_constant(student, labels, rows, columns, classes)
        check_heat_is_used(masses, labels, classes)
    half = ask_class_mass(student, heat / 2, labels, classes)
    expect(
        torch.allclose(2 * half, masses, atol=1e-5),
        "Half of the attention must give half of each mass: hand on what is there, and divide by "
        "nothing but the number of pixels in a cell.",
    )
    say(
        "Right: nothing is lost, a cell that holds several classes counts by their shares of it, "
        "and under an even map each class gets its share of the picture."
    )


def ask_class_mass(student: ClassMass, heat: Tensor, labels: Tensor, classes: int) -> Tensor:
    def named(heat: Tensor, labels: Tensor) -> Tensor:
        return student(heat, labels, classes)

    named.__name__ = getattr(student, "__name__", "class_mass")
    expect(callable(student), "Write the function class_mass in place of the three dots.")
    masses = attempt(named, heat.clone(), labels.clone())
    expect(
        masses.shape == (classes,),
        f"One mass for each of {classes} classes is a tensor ({classes},); yours is "
        f"{tuple(masses.shape)}. Classes that do not occur in a picture get 0.",
    )
    return masses


def check_sum(masses: Tensor, heat: Tensor, labels: Tensor, classes: int) -> None:
    total, pixels = float(masses.sum()), labels.numel() / heat.numel()
    expect(
        abs(total / pixels - 1) > 1e-3,
        f"Your masses sum to {total:.3g}, the pixels of one cell: each position's attention was "
        "given to every pixel of its cell. It has to be divided among them.",
    )
    expect(
        abs(total - 1) < 1e-4,
        f"The attention of one row sums to 1, your masses to {total:.3g}. Each position's share "
        "belongs to the classes under it, no more and no less: add up, do not average.",
    )


def check_whole_cells(student: ClassMass, rows: int, columns: int, side: int) -> None:
    """One position has it all; its cell is one class, all others another."""
    for y in (0, draw(1, rows - 1)):  # in row 0 and not column 0, no other reading of it agrees
        x = draw(rows, columns - 1)
        heat = torch.zeros(rows, columns)
        heat[y, x] = 1
        labels = torch.zeros(rows * side, columns * side, dtype=torch.int64)
        labels[y * side : (y + 1) * side, x * side : (x + 1) * side] = 1
        masses = ask_class_mass(student, heat, labels, 2)
        expect(
            abs(float(masses[1]) - 1) < 1e-4,
            f"All attention was on one position, and all {side} x {side} pixels of its cell were "
            f"of class 1, but class 1 got {float(masses[1]):.3g}. Position (y, x) of the map "
            "stands for the pixels of row y and column x of the grid: rows first.",
        )


def check_share(student: ClassMass, rows: int, columns: int, side: int) -> None:
    """One position has it all; part of its cell is of class 1."""
    heat = torch.zeros(rows, columns)
    heat[1, 2] = 1
    labels = torch.zeros(rows * side, columns * side, dtype=torch.int64)
    labels[side, 2 * side] = 1  # one pixel, at the corner of the cell
    masses, share = ask_class_mass(student, heat, labels, 2), 1 / side**2
    expect(
        abs(float(masses[1]) - share) < 1e-4,
        f"A cell of {side} x {side} pixels with all attention has 1 pixel of class 1, so that "
        f"class gets {share:.3g}; yours got {float(masses[1]):.3g}. A cell straddles classes: let "
        "each count by its share, not the class in the middle, nor the most frequent one.",
    )


def check_constant(
    student: ClassMass, labels: Tensor, rows: int, columns: int, classes: int
) -> None:
    masses = ask_class_mass(
        student, torch.full((rows, columns), 1 / (rows * columns)), labels, classes
    )
    areas = torch.bincount(labels.flatten(), minlength=classes) / labels.numel()
    expect(
        torch.allclose(masses, areas, atol=1e-4),
        "Under an even map each class must get its share of the pixels: that is what a block "
        "which looks nowhere in particular would show.",
    )


def check_heat_is_used(masses: Tensor, labels: Tensor, classes: int) -> None:
    areas = torch.bincount(labels.flatten(), minlength=classes) / labels.numel()
    expect(
        not torch.allclose(masses, areas, atol=1e-4),
        "Your masses are the areas of the classes, whatever the attention: multiply by the heat.",
    )


BRIGHT = 0.5  # share of one anchor that counts as a clear choice
SwitchOff = Callable[[Tensor, int], Tensor]


def switch_off(student: SwitchOff) -> None:
    """weights (B, N, S), rows sum to 1, and k -> (B, N, S)"""
    expect(callable(student), "Write the function switch_off in place of the three dots.")
    for _ in range(2):
        batch, asking, answering = draw(2, 3), draw(4, 6), draw(9, 14)
        weights = (2 * normal(batch, asking, answering)).softmax(-1)
        k = draw(2, 4)
        left = ask_switch_off(student, weights, k)
        check_dropped(left, weights, k)
        check_ratios(left, weights)
        same = ask_switch_off(student, weights, 0)
        expect(
            torch.allclose(same, weights, atol=1e-5),
            "With k = 0 nothing is switched off, but your weights changed.",
        )
    say(
        "Right: each row loses its own k strongest, the others keep their ratios, rows sum to 1 "
        "again, and k = 0 changes nothing."
    )


def ask_switch_off(student: SwitchOff, weights: Tensor, k: int) -> Tensor:
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
