"""annlib benchmark growth: exponents, their picture, and what is written."""

import json
import sys
from collections.abc import Iterator
from math import exp
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from annlib import __main__
from annlib.course import scaling
from annlib.course.implementations import FOLDED_APNB, FUSED, NONLOCAL, Channels
from annlib.course.plots.costs import growth_chart
from annlib.course.scaling import Curve, curves_of, fitted, growing, slopes_table
from annlib.course.timing import Comparison, Conditions, Cost, Finish
from annlib.engine.profiler import Timing

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


def finish(name: str, milliseconds: float) -> Finish:
    needs = Cost(peak_bytes=3 * 2**20, output_bytes=1, flops=1, difference=None)
    return Finish(name, 1, needs, Timing(milliseconds, milliseconds, milliseconds))


def test_curve_ends_where_memory_does() -> None:
    first = Comparison("2 x 3", (2, 3), (finish(NONLOCAL, 5.0), finish(FOLDED_APNB, 1.0)), ())
    second = Comparison("4 x 3", (4, 3), (finish(FOLDED_APNB, 2.0),), ("4 x 3, non-local: ...",))
    assert curves_of([first, second]) == [
        Curve(NONLOCAL, (6,), (5.0,), (3.0,)),
        Curve(FOLDED_APNB, (6, 12), (1.0, 2.0), (3.0, 3.0)),
    ]


def test_maps_are_measured_from_small_to_large() -> None:
    here = Conditions(torch.device("cpu"), repeat=1)
    small = Channels(high=4, key=3, value=3, pool_scales=(1, 2))
    found = list(growing([(6, 7), (4, 5)], small, here))
    assert [each.size for each in found] == [(4, 5), (6, 7)]
    assert all([f.name for f in each.finishes] == [NONLOCAL, FUSED, FOLDED_APNB] for each in found)


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


def test_command_writes_tables_numbers_and_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--sizes", "6", "6", "6", "12", "12", "12", "--divide", "64", "--repeat", "1"]
    limit = ["--limit-gib", "0.0001", "--device", "cpu"]  # 12 x 12 takes 0.00016
    monkeypatch.setattr(sys, "argv", ["annlib", "benchmark", "growth", *sizes, *limit])
    __main__.main()
    printed = capsys.readouterr().out
    (table,) = Path("data/results/benchmark").glob("*.md")
    assert table.stem.startswith("growth_channels-by-64_6x6_6x12_12x12_")
    assert table.read_text() in printed and "12 x 12, non-local: needs" in printed
    picture = table.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG") and f"]({picture.name})" in printed
    curves = json.loads(table.with_suffix(".json").read_text())["curves"]
    assert [curve["positions"] for curve in curves] == [[36, 72], [36, 72, 144], [36, 72, 144]]
    assert all(curve["memory"]["slope"] > 0 for curve in curves)


def test_missing_matplotlib_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == "matplotlib" or name.startswith("annlib.course."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["annlib", "benchmark", "growth", "--divide", "128"])
    monkeypatch.setattr(scaling, "growing", lambda *arguments: pytest.fail("measured"))
    with pytest.raises(SystemExit, match="matplotlib.* is not installed"):
        __main__.main()


def test_what_is_known_is_kept_when_a_measurement_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*arguments: object) -> Iterator[Comparison]:
        yield Comparison("2 x 3", (2, 3), (finish(FOLDED_APNB, 1.0),), ())
        raise KeyboardInterrupt

    monkeypatch.setattr(scaling, "growing", stopped)
    monkeypatch.setattr(sys, "argv", ["annlib", "benchmark", "growth", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="130"):
        __main__.main()
    (table,) = tmp_path.glob("*.md")
    assert "2 x 3: APNB, folded" in table.read_text()
