"""Checker of lesson 04: where the cells of a pyramid level begin and end."""

from collections.abc import Callable

import torch
from torch.nn.functional import (
    adaptive_avg_pool1d,
)

from annlib.course.exercises.checking import NotYet, draw, expect
from annlib.course.lines import say

Levels = tuple[int, ...]


def cell(student: Callable[[int, int, int], tuple[int, int]]) -> None:
    """student(index, side, level) -> (start, end): the positions start..end - 1 along one side"""
    for side, level in [(12, 4), (7, 1), (draw(13, 19), draw(5, 7)), (16, 6), (draw(3, 4), 7)]:
        edges = [one_cell(student, index, side, level) for index in range(level)]
        where = f"A side of {side} positions in {level} cells: yours are {edges}. "
        check_cover(edges, side, where)
        truth = [probed(index, side, level) for index in range(level)]
        if edges != truth:
            raise NotYet(where + closest(edges, side, level))
    say(
        "Right: cells start at the floor and end at the ceiling. They cover the side, none is "
        "empty, and where the side does not divide neighbours share a position."
    )


def one_cell(student: Callable, index: int, side: int, level: int) -> tuple[int, int]:
    call = f"cell({index}, {side}, {level})"
    try:
        edges = student(index, side, level)
    except Exception as error:
        raise NotYet(f"{call} stopped with {type(error).__name__}: {error}") from error
    expect(
        edges is not None and edges is not ...,
        f"{call} gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    whole = isinstance(edges, tuple) and len(edges) == 2
    expect(
        whole and all(isinstance(edge, int) for edge in edges),
        f"{call} gives {edges!r}; it must be (start, end), two whole numbers. // divides and "
        "rounds down.",
    )
    return edges


def check_cover(edges: list[tuple[int, int]], side: int, where: str) -> None:
    for start, end in edges:
        expect(0 <= start <= side and end <= side, f"{where}One of them leaves the side.")
        expect(
            start < end,
            f"{where}A cell with start = end is empty: the mean of nothing is not a number.",
        )
    inside = {place for start, end in edges for place in range(start, end)}
    missing = sorted(set(range(side)) - inside)
    one_short = set(missing) == {end for _, end in edges}
    expect(
        not one_short,
        f"{where}Your end is the last position itself; it must be one further, as in a range.",
    )
    expect(not missing, f"{where}Positions {missing} are in no cell: nobody could ask them.")


def probed(index: int, side: int, level: int) -> tuple[int, int]:
    """Which positions adaptive pooling lets count in a cell, found by asking it."""
    counted = adaptive_avg_pool1d(torch.eye(side)[None], level)[0, :, index].nonzero()
    return int(counted.min()), int(counted.max()) + 1


def closest(edges: list[tuple[int, int]], side: int, level: int) -> str:
    """What is amiss with cells that cover the side."""
    shared = sum(end - start for start, end in edges) > side
    if side % level == 0:
        return "Here the side divides evenly: each cell gets side / level positions, none shared."
    if not shared:
        return (
            "They do not touch, but where the side does not divide adaptive pooling lets "
            "neighbours share a position: the end is rounded up."
        )
    return "The start is index x side / level rounded down, the end (index + 1) x side / level up."
