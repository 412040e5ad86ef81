"""The benchmark of scaling: what it writes, and what it keeps when it is stopped."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from annlib.course import costs
from annlib.course.implementations import FOLDED_APNB
from annlib.course.profiler import Comparison, Measured, Timing

pytestmark = pytest.mark.all


def test_tables_numbers_and_chart_are_written(benchmark) -> None:
    sizes = ["--sizes", "6", "6", "6", "12", "12", "12", "--divide", "64", "--repeat", "1"]
    limit = ["--limit-gib", "0.0001", "--device", "cpu"]  # 12 x 12 takes 0.00016
    printed = benchmark("scaling", *sizes, *limit)
    (table,) = Path("data/results/benchmark").glob("*.md")
    assert table.stem.startswith("growth_channels-by-64_6x6_6x12_12x12_")
    assert table.read_text() in printed and "12 x 12, non-local: needs" in printed
    picture = table.with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG") and f"]({picture.name})" in printed
    curves = json.loads(table.with_suffix(".json").read_text())["curves"]
    assert [curve["positions"] for curve in curves] == [[36, 72], [36, 72, 144], [36, 72, 144]]
    assert all(curve["memory"]["slope"] > 0 for curve in curves)


def test_what_is_known_is_kept_when_a_measurement_is_stopped(
    benchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured = Measured(1, 1, 1, 1, None, Timing(1.0, 1.0, 1.0))

    def stopped(*arguments: object) -> Iterator[Comparison]:
        yield Comparison("2 x 3", (2, 3), {FOLDED_APNB: measured}, ())
        raise KeyboardInterrupt

    monkeypatch.setattr(costs, "growing", stopped)
    with pytest.raises(SystemExit, match="130"):
        benchmark("scaling", "--out", tmp_path)
    (table,) = tmp_path.glob("*.md")
    assert "2 x 3: APNB, folded" in table.read_text()
