"""What few runs can say: confidence intervals with Student's t, and paired differences."""

from collections.abc import Sequence
from math import pi, sqrt, tan
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np

POINTS = 4001  # of the numerical integral: errors stay far below what a table shows


class Interval(NamedTuple):
    """mean ± half: with `level`, this interval of repeated experiments holds the true mean."""

    mean: float
    half: float
    level: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f} ({self.n} runs)"


def t_quantile(share: float, df: int) -> float:
    """The number below which a share of Student's t lies.  df: degrees of freedom, n - 1

    With t = sqrt(df) tan(angle) the density becomes a power of a cosine, on a finite range.
    """
    if not 0 < share < 1 or df < 1:
        raise ValueError(
            f"t_quantile({share}, {df}): a share between 0 and 1, and df of 1 or more."
        )
    if share < 0.5:
        return -t_quantile(1 - share, df)
    angles = np.linspace(0, pi / 2, POINTS)
    heights = np.cos(angles) ** (df - 1)
    areas = np.concatenate([[0], np.cumsum((heights[1:] + heights[:-1]) / 2 * angles[1])])
    return sqrt(df) * tan(float(np.interp(share - 0.5, areas / areas[-1] / 2, angles)))


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Of the mean of a sample: t times the standard error."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} run says nothing about spread: an interval needs two.")
    half = t_quantile((1 + level) / 2, len(values) - 1) * stdev(values) / sqrt(len(values))
    return Interval(mean(values), half, level, len(values))


def half_width(sd: float, n: int, level: float = 0.95) -> float:
    """How wide to each side an interval from n runs is, if they deviate by sd."""
    return t_quantile((1 + level) / 2, n - 1) * sd / sqrt(n)


def paired_interval(
    ours: dict[int, float | None], theirs: dict[int, float | None], level: float = 0.95
) -> Interval:
    """Of the mean difference ours - theirs over the seeds that both have.  None: that run failed"""
    both = [seed for seed in ours if ours[seed] is not None and theirs.get(seed) is not None]
    return interval([ours[seed] - theirs[seed] for seed in both], level)
