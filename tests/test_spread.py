"""Intervals, the table of a sweep and its figures: lesson 8."""

from pathlib import Path
from statistics import mean, stdev

import pytest
from shown_in import alt

from annlib.course.plots.statistics import dots, interval_widths
from annlib.course.statistics import half_width, interval, paired_interval, t_quantile
from annlib.course.sweeping.grid import make_grid
from annlib.course.sweeping.run import Outcome
from annlib.course.training import experiment, scales
from annlib.course.widgets.sweeps import ALL, LEVELS, ResultsTable, interval_sliders

JOB = Path(__file__).parents[1] / "notebooks/jobs/train_town.ipynb"
PRINTED = {(0.975, 1): 12.706, (0.975, 4): 2.776, (0.95, 9): 1.833, (0.995, 30): 2.750}


@pytest.mark.parametrize(("asked", "printed"), PRINTED.items())
def test_t_quantile_is_that_of_printed_tables(asked: tuple[float, int], printed: float) -> None:
    assert t_quantile(*asked) == pytest.approx(printed, abs=6e-4)
    assert t_quantile(1 - asked[0], asked[1]) == -t_quantile(*asked)


def test_interval_is_t_times_the_standard_error() -> None:
    values = [0.1, 0.4, 0.3]
    found = interval(values)
    assert (found.mean, found.n) == (mean(values), 3)
    assert found.half == pytest.approx(4.303 * stdev(values) / 3**0.5, rel=1e-3)
    assert found.half == pytest.approx(half_width(stdev(values), 3))
    with pytest.raises(ValueError, match="needs two"):
        interval([1.0])


def test_pairs_leave_out_what_failed_and_ignore_what_seeds_share() -> None:
    ours, theirs = {0: 1.0, 1: 3.0, 2: None, 5: 2.0}, {5: 1.5, 2: 9.0, 1: 2.7, 0: 0.6}
    found = paired_interval(ours, theirs)
    assert found.n == 3 and found.mean == pytest.approx(0.4)
    moved = [{s: v and v + 10 * s for s, v in runs.items()} for runs in (ours, theirs)]
    assert paired_interval(*moved).half == pytest.approx(found.half)


def test_dots_say_mean_and_failures() -> None:
    alt = dots({"ann": [0.5, 0.7], "ppm": [None], "fcn": [0.3]}, "score", ["ann", "ppm", "x"]).alt
    assert "ann: 0.600" in alt and "ppm: no finished run, 1 failed" in alt
    assert "fcn: one run, 0.300, so no spread" in alt


def test_narrowing_tells_width_and_misses() -> None:
    alt = interval_widths(0.1, 5, "ann", 0.95).alt
    assert "0.124 with 5" in alt and "of 40 intervals contain" in alt


def test_interval_sliders_show_every_state() -> None:
    widget = interval_sliders({"ann": [0.9, 1.0, 0.8], "fcn": [0.3, 0.3, 0.3]})
    for head in ("ann", "fcn"):
        for n in (2, 7, 40):
            for level in LEVELS.values():
                widget.draw(head, n, level)
    widget.close()


def test_results_table_fills_filters_and_keeps_failures() -> None:
    grid = make_grid(JOB, {"head": ["apnb", "ann"], "seed": [0, 1]})
    widget = ResultsTable(grid, "house_accuracy")
    for one in grid.combinations[:3]:
        error = "went\n    ValueError: no <luck>" if one.number == 3 else None
        result = {} if error else {"house_accuracy": 0.5 + one.number / 10}
        widget.add(Outcome(one.number, one.label, one.parameters, 1.0, result, error))
    assert "apnb: 0.650 ±" in alt(widget) and "ann: no finished run, 1 failed" in alt(widget)
    page = widget.output.outputs[0]["data"]["text/html"]
    assert "✗ failed: ValueError: no &lt;luck&gt;" in page and "waiting" in page
    for head in (ALL, "apnb", "ann"):
        for seed in (ALL, "0", "1"):
            widget.controls["head"].value, widget.controls["seed"].value = head, seed
            assert "runs have ended" in widget.words()
    assert not any(o.get("output_type") == "error" for o in widget.output.outputs)
    widget.close()


def test_job_reads_scales_as_text_and_as_list() -> None:
    assert scales("1,3") == scales([1, 3]) == (1, 3)
    for wrong in ("1;3", "0", []):
        with pytest.raises(ValueError, match="pool_scales"):
            scales(wrong)
    assert experiment("ann", "1", 5, 3).model.num_anchors == 1
    assert experiment("ppm", "1", 5, 3).model.pool_scales == (1, 2, 3, 6)
    with pytest.raises(ValueError, match="head"):
        experiment("annn", "1", 5, 3)
