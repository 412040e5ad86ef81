"""Checker of lesson 08: a grid that uses a budget of minutes, and does not exceed it."""

from collections.abc import Callable, Mapping
from math import ceil

from annlib.course.exercises.checking import NotYet, draw, expect
from annlib.course.lines import say

HEADS, BINS = ["apnb", "ann"], ["1", "1,3,6,8"]


def run_grid(student: Callable[[float, int, float], Mapping[str, list]]) -> None:
    """(minutes a run, cores, budget in minutes) -> lists of head, pool_scales and seed"""
    for _ in range(4):
        minutes, cores, seeds = draw(2, 9) / 2, draw(1, 5), draw(2, 7)
        waves = ceil(4 * seeds / cores)
        budget = waves * minutes + minutes / 4
        while ceil(4 * (seeds + 1) / cores) == waves:  # these fit into the same waves
            seeds += 1
        check_grid(planned(student, minutes, cores, budget), minutes, cores, budget, seeds)
    say(
        "Right: every head with every pyramid and every seed, no seed twice, as many seeds as the "
        "budget pays on the cores there are, and not one run more."
    )


def planned(
    student: Callable[[float, int, float], Mapping[str, list]],
    minutes: float,
    cores: int,
    budget: float,
) -> Mapping[str, list]:
    """The student's grid; NotYet if it is none."""
    expect(callable(student), "Put your function in place of the three dots.")
    try:
        grid = student(minutes, cores, budget)
    except Exception as error:
        raise NotYet(
            f"plan({minutes}, {cores}, {budget}) stopped with {type(error).__name__}: {error}"
        ) from error
    expect(
        grid is not None and grid is not ...,
        "plan gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    expect(isinstance(grid, Mapping), f"plan gives a {type(grid).__name__}; a dict is wanted.")
    check_names(grid)
    return grid


def check_names(grid: Mapping[str, list]) -> None:
    """The parameters of the job, each with a list."""
    names = ("head", "pool_scales", "seed")
    expect(
        set(grid) == set(names),
        f"The grid's parameters are {sorted(grid)}; the job's are called {', '.join(names)}. A "
        "parameter that the notebook does not know would have no effect.",
    )
    for name in names:
        expect(
            isinstance(grid[name], list),
            f"{name} is {grid[name]!r}. A grid goes into a JSON file: each parameter takes a list "
            "of values, also for one value; a range becomes one by list(...).",
        )


def check_grid(
    grid: Mapping[str, list], minutes: float, cores: int, budget: float, most: int
) -> None:
    for name, wanted in (("head", HEADS), ("pool_scales", BINS)):
        expect(
            len(grid[name]) == 2 and all(value in grid[name] for value in wanted),
            f"{name} is {grid[name]}; the question is about {wanted}.",
        )
    check_seeds(grid, minutes, cores, budget, most)


def check_seeds(
    grid: Mapping[str, list], minutes: float, cores: int, budget: float, most: int
) -> None:
    """As many as fit, none twice."""
    seeds = grid["seed"]
    expect(
        len(set(seeds)) == len(seeds),
        f"Seeds {seeds}: one comes twice. The same seed gives the same run, not a second witness.",
    )
    cells = len(grid["head"]) * len(grid["pool_scales"])
    waves = ceil(cells * len(seeds) / cores)
    told = (
        f"{cells} cells x {len(seeds)} seeds, {cores} runs at a time: {waves * minutes:g} minutes"
    )
    expect(
        waves * minutes <= budget,
        f"{told}, but the budget is {budget:g}. Multiply all the lists of the grid, and count in "
        "rounds: the last round takes a whole run even if some cores are idle.",
    )
    expect(len(seeds) > 1, "One seed shows no spread, and there is budget for more.")
    expect(
        len(seeds) == most,
        f"{told} of {budget:g}. Another seed would still fit: cores work side by side, so in a "
        f"budget there are rounds of {cores}.",
    )
