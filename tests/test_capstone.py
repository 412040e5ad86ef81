"""Claims are fixed before they are tested, decided by a rule, and reported whole."""

from dataclasses import replace

import ipywidgets
import pytest
import torch

from annlib.course.plots.statistics import paired, spread_labels, study_intervals
from annlib.course.statistics import Registration, Report, pretend, verdict
from annlib.course.training import Trial, run_trial, with_anchors
from annlib.course.widgets.sweeps import paired_runs, study_power
from annlib.data.datasets import open_data
from annlib.experiments import find_experiment

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


@pytest.fixture(autouse=True)
def no_widget_survives() -> None:
    yield
    ipywidgets.Widget.close_all()


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
    assert plan.model.num_anchors == 4 and plan.train.seed == 3
    first, second = (run_trial("a", plan, halves, torch.device("cpu"), 2) for _ in range(2))
    assert first.found["mIoU"] == second.found["mIoU"] and first.seed == 3
    assert set(first.found) == {"seconds", "mIoU", "house accuracy"}


def test_pairs_are_told_in_words() -> None:
    picture = paired(("old", {0: 0.5, 1: 0.6}), ("new", {0: 0.7, 1: 0.8}), "mIoU", 0.05)
    assert "+0.200, +0.200" in picture.alt and "supported" in picture.alt
    assert len(picture.png()) > 1000


def test_names_of_points_keep_apart_and_in_order() -> None:
    placed = spread_labels({0: 1.0, 1: 1.0, 2: 0.0}, 1.0)
    assert placed[2] < placed[0] < placed[1] and spread_labels({}, 0.0) == {}


def test_studies_are_told_in_words() -> None:
    picture = study_intervals(pretend(3, 0.1, 0.01, 0.05, studies=50), 0.1)
    assert "50 simulated studies" in picture.alt and len(picture.png()) > 1000


def test_the_seeds_explorer_draws_every_value() -> None:
    explorer = study_power()
    for name, control in explorer.controls.items():
        for value in control.options:
            control.value = value
            assert f"{name.replace('num_', '').partition('_')[0]}" in explorer.words()
    _, said = explorer.draw(3, 0.0, 0.1, 0.05)
    assert "The correct decision is: refuted" in said
    explorer.close()


def test_the_dashboard_decides_for_any_two_arms() -> None:
    dashboard = paired_runs(TRIALS)
    _, higher = dashboard.draw("mIoU", "old", "new", 0.02)
    assert "3 of 3 seeds. Higher by at least 0.02: supported" in higher
    _, lower = dashboard.draw("seconds", "old", "new", 0.02)
    assert "0 of 3 seeds. Higher by at least 0.02: refuted" in lower
    (same,) = dashboard.draw("mIoU", "old", "old", 0.02)
    assert "choose two" in same
    dashboard.close()
    with pytest.raises(ValueError, match="control"):
        paired_runs(TRIALS[:3])
