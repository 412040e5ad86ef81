"""Learning curves show what was recorded, say it in words, and need no more than one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from some_runs import make_run

from annlib.course.plots.style import FigureWithAlt
from annlib.course.plots.training import learning_curves, say_loss, smoothed
from annlib.engine.runs import Run, read_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(make_run(tmp_path / "a"))


def drawn(run: Run) -> FigureWithAlt:
    return learning_curves([run], ["a"])


def lines(picture: FigureWithAlt, panel: int) -> dict[str, np.ndarray]:
    """label -> points (N, 2) of the curves in a panel."""
    return {line.get_label(): line.get_xydata() for line in picture.figure.axes[panel].lines}


def test_panels_show_loss_rate_and_miou_as_recorded(run: Run) -> None:
    picture = drawn(run)
    recorded = [[line["step"], line["loss"]] for line in run.history]
    assert lines(picture, 0)["as recorded"].tolist() == recorded
    (rates,) = lines(picture, 1).values()
    assert rates.tolist() == [[line["step"], line["lr"]] for line in run.history]
    (mious,) = lines(picture, 2).values()
    assert mious[:, 1] == pytest.approx([100 * line["miou"] for line in run.validations])


def test_words_say_where_the_loss_went_and_which_step_is_best(run: Run) -> None:
    worse = run.validations[0] | {"step": 60, "miou": 0.1}
    alt = drawn(replace(run, validations=[*run.validations, worse])).alt
    assert "From step 5 to 40 the loss falls from 2.00 to 0.25." in alt
    best = 100 * run.validations[1]["miou"]
    assert f"best after step 40 ({best:.1f} %) and 10.0 % after step 60" in alt


def test_run_without_scores_has_two_panels(run: Run) -> None:
    picture = drawn(replace(run, validations=[]))
    assert len(picture.figure.axes) == 2 and "mIoU" not in picture.alt


def test_score_that_is_nan_is_not_the_best(run: Run) -> None:
    nothing = run.validations[0] | {"miou": float("nan")}
    assert (
        "best after step 40" in drawn(replace(run, validations=[nothing, *run.validations[1:]])).alt
    )


def test_single_line_of_history_is_seen(run: Run) -> None:
    single = replace(run, history=run.history[:1], validations=[])
    picture = drawn(single)
    assert {line.get_marker() for line in picture.figure.axes[1].lines} == {"o"}
    assert picture.png().startswith(b"\x89PNG")


def test_run_without_a_line_is_told(run: Run) -> None:
    with pytest.raises(ValueError, match="has no curve yet"):
        drawn(replace(run, history=[]))


def test_all_runs_share_the_axes_and_look_different(run: Run) -> None:
    runs = [run, replace(run, validations=[]), run]
    picture = learning_curves(runs, ["a", "b", "c"])
    drawn = picture.figure.axes[0].lines
    assert [line.get_label() for line in drawn] == ["a", "b", "c"]
    assert len({line.get_linestyle() for line in drawn}) == 3
    assert len({tuple(line.get_color()) for line in drawn}) == 3
    assert len(picture.figure.axes[1].lines) == 2
    assert picture.alt.count("the loss falls") == 3
    assert picture.png().startswith(b"\x89PNG")


def test_runs_without_scores_have_one_panel(run: Run) -> None:
    bare = replace(run, validations=[])
    assert len(learning_curves([bare, bare], ["a", "b"]).figure.axes) == 1


def test_smoothing_keeps_a_straight_line_and_calms_noise() -> None:
    straight = np.linspace(3, 1, 200)
    assert smoothed(straight)[5:-5] == pytest.approx(straight[5:-5])
    noise = np.random.default_rng(0).normal(size=400)
    assert smoothed(noise).std() < 0.4 * noise.std()
    assert smoothed(noise)[200] == pytest.approx(noise[190:211].mean())


def test_short_curves_are_not_smoothed() -> None:
    values = np.array([3.0, 1.0, 2.0])
    assert smoothed(values).tolist() == values.tolist()


def test_curve_of_one_point_neither_rises_nor_falls() -> None:
    assert say_loss(np.array([20]), np.array([1.5])) == "At step 20 the loss is 1.50."
