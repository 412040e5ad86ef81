"""Lesson 03: time as operations predict it, as it is measured, and when it is not."""

import time
from itertools import product
from math import inf

import pytest
import torch

from annlib.course import costs
from annlib.course.costs import (
    SECONDS,
    TIMED,
    Setting,
    Times,
    in_turn,
    key,
    predicted,
    refusal,
    said_seconds,
    say_times,
    timed,
)
from annlib.course.implementations import (
    NONLOCAL,
    PLAIN_APNB,
    Shape,
    asymmetric_flops,
    nonlocal_flops,
)
from annlib.course.plots.costs import cost_curves
from annlib.course.profiler import Timing
from annlib.course.widgets.costs import CHANNELS, GRIDS, MEASURE, SIDES, CostExplorer

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TINY = Setting((8, 16), 32, (1, 3))


def explorer(setting: Setting) -> CostExplorer:
    widget = CostExplorer(2**33)
    state = (*setting.size, setting.channels, setting.grids)
    for control, value in zip(widget.controls.values(), state, strict=True):
        control.value = value
    return widget


@pytest.mark.parametrize("setting", [TINY, Setting((128, 256), 256, (1, 3, 6, 8))])
def test_prediction_is_operations_over_speed(setting: Setting) -> None:
    wide, narrow = 8 * setting.channels, setting.channels
    shape = Shape(wide, wide, narrow, narrow, setting.size, setting.grids)
    expected = {NONLOCAL: nonlocal_flops(shape) / 4e10, PLAIN_APNB: asymmetric_flops(shape) / 4e10}
    assert {name: predicted(name, setting, 4e10) for name in TIMED} == pytest.approx(expected)


def test_nothing_is_measured_before_the_button_is_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_now(*given: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(costs, "calls", not_now)
    widget = explorer(TINY)
    assert "Measure here" in widget.words() and "predicted" not in widget.words()
    with pytest.raises(AssertionError, match="measured"):
        widget.measure()
    assert widget.output.outputs[0]["output_type"] == "error"
    assert not widget.button.disabled and widget.button.description == MEASURE


def test_button_shows_both_times_beside_their_predictions() -> None:
    widget = explorer(TINY)
    widget.button.click()
    said = " ".join(widget.words().split())
    for name in TIMED:
        timing = widget.times.timings[key(name, TINY)]
        assert 0 < timing.fastest <= timing.median <= timing.slowest
        ratio = timing.median / 1000 / predicted(name, TINY, widget.times.speed)
        assert f"{ratio:.1f} times the prediction" in said
    widget.controls["W"].value = 24
    assert widget.words().count("not measured yet") == 2


def test_measuring_leaves_random_numbers_and_precision_alone() -> None:
    before = torch.get_rng_state(), torch.backends.cuda.matmul.allow_tf32
    timed(None, TINY, inf, CPU)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.backends.cuda.matmul.allow_tf32


def test_second_measurement_keeps_speed_and_the_first_ones_points() -> None:
    first = timed(None, TINY, inf, CPU)
    second = timed(first, TINY._replace(size=(16, 16)), inf, CPU)
    assert second.speed == first.speed
    assert [n for n, _ in second.points(PLAIN_APNB, TINY)] == [128, 256]


def test_points_belong_to_curves_of_the_same_channels_and_anchors() -> None:
    timing = Timing(2.0, 1.0, 3.0)
    times = Times(1e9, {key(name, TINY): timing for name in TIMED})
    other_anchors, other_channels = TINY._replace(grids=(1,)), TINY._replace(channels=64)
    assert [len(times.points(name, TINY)) for name in TIMED] == [1, 1]
    assert times.points(NONLOCAL, other_anchors) == [(128, timing)]
    assert times.points(PLAIN_APNB, other_anchors) == []
    assert not any(times.points(name, other_channels) for name in TIMED)


def test_what_is_predicted_to_take_too_long_is_refused_in_words() -> None:
    street, speed = Setting((128, 256), 256, (1, 3, 6, 8)), 4e10
    assert predicted(NONLOCAL, street, speed) > SECONDS > predicted(PLAIN_APNB, street, speed)
    assert refusal(PLAIN_APNB, street, speed, inf) is None
    said = say_times(street, inf, Times(speed))
    soon = said_seconds(predicted(PLAIN_APNB, street, speed))
    assert "more than the 3 s" in said and f"APNB: predicted {soon}, not measured yet" in said


def test_what_does_not_fit_is_refused_in_words() -> None:
    setting = Setting((64, 64), 32, (1, 3, 6, 8))
    both = 2 * 4 * 4096**2  # bytes of scores and weights alone
    assert refusal(NONLOCAL, setting, 1e12, 3 * both) is None
    assert "are free here" in refusal(NONLOCAL, setting, 1e12, both)
    assert refusal(PLAIN_APNB, setting, 1e12, both) is None
    times = timed(Times(1e12), setting, 1, CPU)
    assert times.timings == {} and say_times(setting, 1, times).count("not measured: it needs") == 2


def test_refused_states_are_predicted_longer_than_those_that_are_not() -> None:
    found = {True: [], False: []}
    for height, width, channels, grids in product(SIDES, SIDES, CHANNELS, GRIDS):
        setting = Setting((height, width), channels, grids)
        may = refusal(NONLOCAL, setting, 4e10, inf) is None
        found[may].append(predicted(NONLOCAL, setting, 4e10))
    assert max(found[True]) <= SECONDS < min(found[False])


def test_rounds_end_in_time_and_the_first_one_does_not_count() -> None:
    calls = {name: [] for name in "ab"}

    def forms(seconds: float) -> dict:
        def call(name: str) -> None:
            first = not calls[name]
            calls[name].append(name)
            time.sleep(5 * seconds if first else seconds)

        return {name: lambda name=name: call(name) for name in calls}

    found = in_turn(forms(0.01), CPU, 10)
    assert all(timing.slowest < 50 for timing in found.values())
    assert len(calls["a"]) == len(calls["b"]) == costs.MOST_ROUNDS + 1
    calls = {name: [] for name in "ab"}
    assert in_turn(forms(0.01), CPU, 0)["a"].fastest >= 50


@pytest.mark.parametrize("grids", GRIDS)
def test_all_anchors_can_be_timed_on_the_smallest_map(grids: tuple[int, ...]) -> None:
    setting = Setting((8, 8), 32, grids)
    assert key(PLAIN_APNB, setting) in timed(Times(1e12), setting, inf, CPU).timings


def test_picture_draws_a_curve_for_each_form_and_a_point_for_each_measurement() -> None:
    times = Times(4e10, {key(name, TINY): Timing(2.0, 1.0, 3.0) for name in TIMED})
    before, after = (cost_curves(TINY, inf, known) for known in (None, times))
    assert not before.figure.axes[2].axison and not before.figure.axes[2].lines
    drawn = [line.get_ydata() for line in after.figure.axes[2].lines]
    assert sum(len(ydata) > 2 for ydata in drawn) == 2
    assert [float(y[0]) for y in drawn if len(y) == 1] == [2.0, 2.0]
    assert "measured 2 ms (1 ms to 3 ms)" in after.alt
