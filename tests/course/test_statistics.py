"""Intervals, tables and figures of sweeps, and claims that are fixed before they are tested."""

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from shown_in import alt

from annlib.course.plots.training import dots, interval_widths, paired, study_intervals
from annlib.course.statistics import (
    Registration,
    Report,
    half_width,
    interval,
    paired_interval,
    pretend,
    t_quantile,
    verdict,
)
from annlib.course.sweeping import Outcome, make_grid
from annlib.course.training import Trial, experiment, run_trial, with_anchors
from annlib.course.widgets.training import (
    ALL,
    LEVELS,
    ResultsTable,
    interval_sliders,
    paired_runs,
    study_power,
)
from annlib.data.datasets import open_data
from annlib.experiments import find_experiment

JOB = Path(__file__).parents[2] / "notebooks/jobs/train_town.ipynb"
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


@pytest.mark.all
def test_interval_sliders_show_both_ends_at_every_level() -> None:
    widget = interval_sliders({"ann": [0.9, 1.0, 0.8], "fcn": [0.3, 0.3, 0.3]})
    for head, n in (("ann", 2), ("fcn", 40)):
        for level in LEVELS.values():
            widget.draw(head, n, level)


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


def test_job_reads_scales_as_text_and_as_list() -> None:
    for given in ("1,3", [1, 3]):
        assert experiment("apnb", given, 5, 3).model.pool_scales == (1, 3)
    for wrong in ("1;3", "0", []):
        with pytest.raises(ValueError, match="pool_scales"):
            experiment("apnb", wrong, 5, 3)
    assert experiment("ann", "1", 5, 3).model.pool_scales == (1,)
    assert experiment("ppm", "1,3,6,8", 5, 3).model.pool_scales == (1, 2, 3, 6)
    for head in ("fcn", "ppm", "nonlocal"):  # two such runs of a grid would be the same one
        with pytest.raises(ValueError, match=f"{head} has no anchors"):
            experiment(head, "1", 5, 3)
    with pytest.raises(ValueError, match="head"):
        experiment("annn", "1", 5, 3)


# Registered claims


CLAIM = Registration(
    claim="one network is faster than the other",
    source="a test",
    treatment="new",
    control="old",
    metric="seconds",
    direction="lower",
    smallest_effect=1.0,
    seeds=(0, 1, 2),
    budget_minutes=1,
)
REPORT = Report(
    registered=CLAIM.fingerprint,
    prediction="supported, for it does half of the work",
    result="2.0 ± 0.5 seconds (3 runs)",
    decision="supported",
    control="the same network with all of the work",
    cost="one minute on two cores of a laptop",
    honesty="one machine only, and nothing else ran beside it",
    command="papermill in.ipynb out.ipynb -p mode learn -p seed 0",
)
TRIALS = [
    Trial(arm, seed, {"mIoU": 0.5 + gain + 0.01 * seed, "seconds": 3.0 - gain})
    for arm, gain in (("old", 0.0), ("new", 0.1))
    for seed in range(3)
]


@pytest.mark.parametrize(
    "change", [{"claim": "another"}, {"smallest_effect": 0.9}, {"seeds": (1,)}]
)
def test_any_change_shows_in_the_fingerprint(change: dict[str, object]) -> None:
    assert replace(CLAIM, **change).fingerprint != CLAIM.fingerprint


def test_lower_is_counted_as_positive_and_missing_seeds_are_left_out() -> None:
    assert CLAIM.differences({0: 1.0, 1: 2.0}, {0: 3.0, 1: 3.5, 2: 9.0}) == [2.0, 1.5]


def test_what_refutes_it_stands_in_the_form() -> None:
    assert "lies below 1" in CLAIM.markdown() and CLAIM.fingerprint in CLAIM.markdown()


@pytest.mark.parametrize(
    ("differences", "decided"),
    [
        ([3.0, 3.1, 2.9], "supported"),
        ([0.0, 0.1, -0.1], "refuted"),
        ([0.0, 3.0, 6.0], "cannot tell"),
        ([5.0], "cannot tell"),
        ([], "cannot tell"),
    ],
)
def test_verdict(differences: list[float], decided: str) -> None:
    assert verdict(differences, 1.0) == decided


def test_pretended_studies_are_wrong_as_rarely_as_promised() -> None:
    on_the_line = pretend(5, effect=0.05, spread=0.1, smallest_effect=0.05, studies=4000)
    assert 0.03 < 1 - on_the_line.share("cannot tell") < 0.07


def test_a_complete_report_misses_nothing_and_names_its_claim() -> None:
    assert REPORT.missing(CLAIM) == []
    assert CLAIM.claim in REPORT.markdown(CLAIM) and REPORT.command in REPORT.markdown(CLAIM)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"honesty": "none"}, "honesty"),
        ({"registered": "00000000"}, "changed after the run"),
        ({"decision": "good"}, "decision"),
        ({"command": "run all cells"}, "papermill"),
    ],
)
def test_a_report_with_a_gap_is_told_so(change: dict[str, str], said: str) -> None:
    (gap,) = replace(REPORT, **change).missing(CLAIM)
    assert said in gap


def test_a_trial_trains_scores_and_repeats() -> None:
    base = find_experiment("balloon_ann")
    halves = open_data(base.data, None)
    plan = with_anchors(base, (2,), steps=1, seed=3)
    assert sum(n * n for n in plan.model.pool_scales) == 4 and plan.train.seed == 3
    first, second = (run_trial("a", plan, halves, torch.device("cpu"), 2) for _ in range(2))
    assert first.found["mIoU"] == second.found["mIoU"] and first.seed == 3
    assert set(first.found) == {"seconds", "mIoU", "house accuracy"}


def test_pairs_are_told_in_words() -> None:
    figure = paired(("old", {0: 0.5, 1: 0.6}), ("new", {0: 0.7, 1: 0.8}), "mIoU", 0.05)
    assert "+0.200, +0.200" in figure.alt and "supported" in figure.alt
    assert len(figure.png()) > 1000


def test_names_of_points_keep_apart_and_in_order() -> None:
    after = {0: 1.0, 1: 1.0, 2: 0.0}
    left, _ = paired(("old", dict.fromkeys(after, 0.5)), ("new", after), "mIoU", 0.05).figure.axes
    placed = {int(text.get_text()): text.get_position()[1] for text in left.texts}
    assert placed[2] == 0 and placed[0] == 1 and placed[1] == pytest.approx(1.06)
    assert "cannot tell" in paired(("old", {}), ("new", {}), "mIoU", 0.05).alt


def test_studies_are_told_in_words() -> None:
    figure = study_intervals(pretend(3, 0.1, 0.01, 0.05, studies=50), 0.1)
    assert "50 simulated studies" in figure.alt and len(figure.png()) > 1000


@pytest.mark.all
def test_the_seeds_explorer_draws_the_ends_and_the_middle_of_each_control() -> None:
    explorer = study_power()
    for name, control in explorer.controls.items():
        options = control.options
        for value in (options[0], options[len(options) // 2], options[-1]):
            control.value = value
            assert name in " ".join(explorer.words().split())
    _, said = explorer.draw(3, 0.0, 0.1, 0.05)
    assert "The correct decision is: refuted" in said


def test_the_dashboard_decides_for_any_two_arms() -> None:
    dashboard = paired_runs(TRIALS)
    _, higher = dashboard.draw("mIoU", "old", "new", 0.02)
    assert "3 of 3 seeds. Higher by at least 0.02: supported" in higher
    _, lower = dashboard.draw("seconds", "old", "new", 0.02)
    assert "0 of 3 seeds. Higher by at least 0.02: refuted" in lower
    (same,) = dashboard.draw("mIoU", "old", "old", 0.02)
    assert "choose two" in same
    with pytest.raises(ValueError, match="control"):
        paired_runs(TRIALS[:3])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_without_a_number_has_no_interval(value: float) -> None:
    for call in (interval, lambda values: verdict(values, 0.0)):
        with pytest.raises(ValueError, match="that run has no result"):
            call([1.0, value, 2.0])
