"""How attention grows with the feature map: exponents, their chart, the paper's numbers."""

from math import exp, inf

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from annlib.course.costs import (
    MEASURED,
    Curve,
    curves_of,
    fitted,
    growing,
    largest_affordable,
    paper_table,
    slopes_table,
)
from annlib.course.implementations import (
    FOLDED_APNB,
    FUSED,
    NONLOCAL,
    Channels,
    attention_implementations,
)
from annlib.course.plots.costs import growth_chart, measured_points
from annlib.course.profiler import Comparison, Conditions, Measured, Timing, compare

N = (1024, 2048, 4096, 8192)
NUMBERS = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=8)


def power(exponent: float, factor: float) -> tuple[float, ...]:
    return tuple(factor * n**exponent for n in N)


ORDINARY = Curve(NONLOCAL, N[:3], power(2.0, 1e-5)[:3], power(1.9, 1e-5)[:3])
FUSED_CURVE = Curve(FUSED, N, power(1.8, 1e-5), power(1.0, 0.02))
OURS = Curve(FOLDED_APNB, N, power(1.05, 0.01), power(0.98, 0.01))


@settings(deadline=None)
@given(st.floats(-2, 3), st.floats(1e-3, 1e3))
def test_power_law_is_found_again(exponent: float, factor: float) -> None:
    line = fitted(N, power(exponent, factor))
    assert line.slope == pytest.approx(exponent, abs=1e-6)
    assert exp(line.intercept) == pytest.approx(factor, rel=1e-5)


@settings(deadline=None)
@given(NUMBERS)
def test_line_is_that_of_least_squares(values: list[float]) -> None:
    x = [2.0**i for i in range(len(values))]
    slope, intercept = np.polyfit(np.log(x), np.log(values), 1)
    line = fitted(x, values)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), rel=1e-6, abs=1e-6)


def test_one_map_has_no_slope() -> None:
    assert fitted([5], [1.0]) is None and fitted([5, 5], [1.0, 2.0]) is None


def test_end_of_a_curve_shows_what_outgrows_the_rest() -> None:
    mixed = tuple(1e3 * n + n**2 for n in N)
    curve = Curve(NONLOCAL, N, mixed, mixed)
    assert 1 < curve.time.slope < curve.end().time.slope < 2
    row = slopes_table([curve]).splitlines()[-1].split("|")
    assert row[2].strip() == "1024 to 8192"
    assert float(row[4]) == pytest.approx(curve.end().time.slope, abs=0.005)


def measured(milliseconds: float) -> Measured:
    return Measured(1, 1, 3 * 2**20, 1, None, Timing(milliseconds, milliseconds, milliseconds))


def test_curve_ends_where_memory_does() -> None:
    both = {NONLOCAL: measured(5.0), FOLDED_APNB: measured(1.0)}
    first = Comparison("2 x 3", (2, 3), both, ())
    second = Comparison("4 x 3", (4, 3), {FOLDED_APNB: measured(2.0)}, ("4 x 3, non-local: ...",))
    assert curves_of([first, second]) == [
        Curve(NONLOCAL, (6,), (5.0,), (3.0,)),
        Curve(FOLDED_APNB, (6, 12), (1.0, 2.0), (3.0, 3.0)),
    ]


def test_maps_are_measured_from_small_to_large() -> None:
    here = Conditions(torch.device("cpu"), repeat=1)
    small = Channels(high=4, key=3, value=3, pool_scales=(1, 2))
    found = list(growing([(6, 7), (4, 5)], small, here))
    assert [each.size for each in found] == [(4, 5), (6, 7)]
    assert all(list(each.measured) == [NONLOCAL, FUSED, FOLDED_APNB] for each in found)


def test_memory_of_the_ordinary_block_is_quadratic_and_ours_linear() -> None:
    here = Conditions(torch.device("cpu"), repeat=1)
    small = Channels(high=8, key=4, value=4, pool_scales=(1, 2))
    sizes = [(16, 16), (16, 32), (32, 32)]
    ordinary, _, ours = curves_of(list(growing(sizes, small, here)))
    assert ordinary.memory.slope > 1.9 and ours.memory.slope < 1.05


def test_chart_shows_points_and_lines() -> None:
    picture = growth_chart([ORDINARY, FUSED_CURVE, OURS])
    time, memory = picture.figure.axes
    assert all(axes.get_xscale() == axes.get_yscale() == "log" for axes in (time, memory))
    points, line = time.get_lines()[:2]
    assert tuple(points.get_ydata()) == ORDINARY.milliseconds and points.get_linestyle() == "None"
    np.testing.assert_allclose(line.get_ydata(), ORDINARY.milliseconds)
    labels = [text.get_text() for text in memory.get_legend().get_texts()]
    assert labels[0] == "non-local: slope 1.90" and labels[2] == "APNB, folded: slope 0.98"


def test_chart_says_in_words_what_it_shows() -> None:
    alt = growth_chart([ORDINARY, OURS]).alt
    assert "non-local, N from 1024 to 4096: time grows as N to the power of 2.00" in alt
    assert "memory to the power of 0.98" in alt
    assert "one map only" in growth_chart([Curve(FOLDED_APNB, (6,), (1.0,), (1.0,))]).alt


def comparison(milliseconds: float) -> Comparison:
    return Comparison("", (10, 10), {NONLOCAL: measured(milliseconds)}, ())


def test_largest_map_that_time_and_memory_allow_is_taken() -> None:
    sizes = [(20, 20), (40, 40), (80, 80)]
    afford = largest_affordable
    assert afford(sizes, comparison(1), 1, 10, inf) == (80, 80)
    assert afford(sizes, comparison(1), 1, 0.3, inf) == (40, 40)
    assert afford(sizes, comparison(1), 1, 10, 2 * 8 * 1600**2) == (40, 40)
    assert afford(sizes, comparison(1e6), 1, 1, 1) == (20, 20)


def test_paper_stands_next_to_what_was_measured() -> None:
    here = Conditions(torch.device("cpu"), repeat=2)
    found = attention_implementations(Channels().divided(64), (6, 9), here)
    compared = compare("", (6, 9), [each for each in found if each.name in MEASURED], here)
    assert set(compared.measured) == set(MEASURED)
    text = paper_table(compared)
    assert "around 6" in text and "here, 6 x 9: than non-local, fused" in text
    assert "MiB" in measured_points(compared.measured, (6, 9)).alt
