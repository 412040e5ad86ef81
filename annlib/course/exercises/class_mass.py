"""Checker of lesson 07: attention, shared out among classes.

h x w positions of the map, H x W pixels of the picture, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from annlib.course.exercises.checking import attempt, draw, expect, fresh
from annlib.course.lines import say

Student = Callable[[Tensor, Tensor, int], Tensor]


def class_mass(student: Student) -> None:
    """heat (h, w), labels int64 (H, W), K -> (K,)"""
    for _ in range(2):
        side, rows, columns, classes = draw(2, 4), draw(3, 5), draw(6, 8), draw(4, 6)
        heat = torch.rand(rows, columns, generator=fresh()) ** 4 + 1e-3
        heat = heat / heat.sum()
        labels = torch.randint(
            classes - 1, (rows * side, columns * side), generator=fresh()
        )  # the last class does not occur
        masses = ask(student, heat, labels, classes)
        check_sum(masses, heat, labels, classes)
        check_whole_cells(student, rows, columns, side)
        check_share(student, rows, columns, side)
        check_constant(student, labels, rows, columns, classes)
        check_heat_is_used(masses, labels, classes)
    half = ask(student, heat / 2, labels, classes)
    expect(
        torch.allclose(2 * half, masses, atol=1e-5),
        "Half of the attention must give half of each mass: hand on what is there, and divide by "
        "nothing but the number of pixels in a cell.",
    )
    say(
        "Right: nothing is lost, a cell that holds several classes counts by their shares of it, "
        "and under an even map each class gets its share of the picture."
    )


def ask(student: Student, heat: Tensor, labels: Tensor, classes: int) -> Tensor:
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


def check_whole_cells(student: Student, rows: int, columns: int, side: int) -> None:
    """One position has it all; its cell is one class, all others another."""
    for y in (0, draw(1, rows - 1)):  # in row 0 and not column 0, no other reading of it agrees
        x = draw(rows, columns - 1)
        heat = torch.zeros(rows, columns)
        heat[y, x] = 1
        labels = torch.zeros(rows * side, columns * side, dtype=torch.int64)
        labels[y * side : (y + 1) * side, x * side : (x + 1) * side] = 1
        masses = ask(student, heat, labels, 2)
        expect(
            abs(float(masses[1]) - 1) < 1e-4,
            f"All attention was on one position, and all {side} x {side} pixels of its cell were "
            f"of class 1, but class 1 got {float(masses[1]):.3g}. Position (y, x) of the map "
            "stands for the pixels of row y and column x of the grid: rows first.",
        )


def check_share(student: Student, rows: int, columns: int, side: int) -> None:
    """One position has it all; part of its cell is of class 1."""
    heat = torch.zeros(rows, columns)
    heat[1, 2] = 1
    labels = torch.zeros(rows * side, columns * side, dtype=torch.int64)
    labels[side, 2 * side] = 1  # one pixel, at the corner of the cell
    masses, share = ask(student, heat, labels, 2), 1 / side**2
    expect(
        abs(float(masses[1]) - share) < 1e-4,
        f"A cell of {side} x {side} pixels with all attention has 1 pixel of class 1, so that "
        f"class gets {share:.3g}; yours got {float(masses[1]):.3g}. A cell straddles classes: let "
        "each count by its share, not the class in the middle, nor the most frequent one.",
    )


def check_constant(student: Student, labels: Tensor, rows: int, columns: int, classes: int) -> None:
    masses = ask(student, torch.full((rows, columns), 1 / (rows * columns)), labels, classes)
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
