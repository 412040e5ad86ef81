"""Checker of lesson 03: the operations of attention, against torch's counter."""

from collections.abc import Callable

import torch
from torch import nn

from annlib.course.exercises.checking import NotYet, draw, expect
from annlib.course.exercises.numbers import attempt_number
from annlib.course.lines import say
from annlib.engine.counting import operation_counter
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention


def attention_operations(student: Callable[[int, int, int, int], int]) -> None:
    """student(N, S, C_X, C) -> operations of one forward pass"""
    for _ in range(3):
        wide, channels, scale, size = telling_sizes()
        positions = size[0] * size[1]
        compare(
            student, positions, positions, wide, channels, counted_ordinary(wide, channels, size)
        )
        counted = counted_asymmetric(wide, channels, scale, size)
        compare(student, positions, scale**2, wide, channels, counted)
    say(
        "Right: your formula gives what torch's counter counts in annlib's non-local attention "
        "(S = N) and in its asymmetric one, for maps and channels drawn anew."
    )


def telling_sizes() -> tuple[int, int, int, tuple[int, int]]:
    """C_X, C, the side of the grid and the map; no two mistakes give the same number with them."""
    while True:
        wide, channels, scale = draw(20, 60), draw(4, 15), draw(2, 4)
        size = (draw(5, 9), draw(10, 14))
        positions = size[0] * size[1]
        given = [slips(positions, asked, wide, channels) for asked in (positions, scale**2)]
        right = [
            6 * positions * wide * channels + 4 * positions * asked * channels
            for asked in (positions, scale**2)
        ]
        wrong = [
            [number for number in one.values() if number != expected]
            for one, expected in zip(given, right, strict=True)
        ]
        if all(len(set(numbers)) == len(numbers) for numbers in wrong):
            return wide, channels, scale, size


def counted_ordinary(wide: int, channels: int, size: tuple[int, int]) -> int:
    with torch.device("meta"):  # shapes only: nothing is computed
        module, features = NonLocalAttention(wide, channels, channels), torch.empty(1, wide, *size)
    return counted(module, features)


def counted_asymmetric(wide: int, channels: int, scale: int, size: tuple[int, int]) -> int:
    with torch.device("meta"):
        module = AsymmetricAttention(wide, wide, channels, channels, (scale,), True)
        features = torch.empty(1, wide, *size)
    return counted(module, features, features)


def counted(module: nn.Module, *features: torch.Tensor) -> int:
    with operation_counter() as counter, torch.no_grad():
        module(*features)
    return counter.get_total_flops()


def compare(
    student: Callable[[int, int, int, int], int],
    positions: int,
    asked: int,
    wide: int,
    channels: int,
    expected: int,
) -> None:
    given = f"N = {positions}, S = {asked}, C_X = {wide}, C = {channels}"
    found = attempt_number(student, positions, asked, wide, channels)
    if found == expected:
        return
    for advice, slip in slips(positions, asked, wide, channels).items():
        expect(found != slip, advice)
    raise NotYet(
        f"With {given} the counter says something else than {found:,}. Write one term for each of "
        "the five steps: three 1 x 1 convolutions, two products. Which of them hold N, which S?"
    )


def slips(n: int, s: int, wide: int, c: int) -> dict[str, int]:
    """Advice -> what the formula gives with that mistake."""
    convolutions, products = 3 * n * wide * c, 2 * n * s * c
    return {
        "Half of it: a multiply-add is two operations, one product and one sum.": (
            convolutions + products
        ),
        "The 1 x 1 convolutions are missing: query and key (shared), value, output.": 2 * products,
        "The two products are missing: scores, then weights times values.": 2 * convolutions,
        "One product is missing: the weights are made (scores), and they are used (values).": (
            2 * convolutions + products
        ),
        "One convolution too many: query and key share one, which runs once.": (
            2 * (convolutions + n * wide * c + products)
        ),
        "One convolution is missing: query and key share one, then come value and output.": (
            2 * (convolutions - n * wide * c + products)
        ),
        "Your scores compare N with N even when S answer: the matrix is N x S.": (
            2 * convolutions + 4 * n * n * c
        ),
        "You project the values at S anchors. The plain block projects all N, then samples them; "
        "that saving is the topic of lesson 11.": (
            2 * (2 * n * wide * c + s * wide * c) + 2 * products
        ),
    }
