"""Lesson 06: a run that stays alive, its figures, and the run at full size."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from annlib.config import TrainConfig
from annlib.course import training as training_module
from annlib.course.lesson import OpenedLesson
from annlib.course.plots.training import Validation, one_batch, rates
from annlib.course.widgets.training import LiveRun
from annlib.data.balloon_town.dataset import make_scene
from annlib.engine.optimization import Step
from annlib.experiments import town

pytestmark = pytest.mark.slow

SCENE = make_scene(5)
TOTAL = 6


def six_steps(taken: list[int], broken_at: int = 0, pause: float = 0.0) -> Iterator[Step]:
    for number in range(1, TOTAL + 1):
        if number == broken_at:
            raise FloatingPointError("The loss is nan")
        taken.append(number)
        time.sleep(pause)
        yield Step(number, torch.tensor(1 / number), 0.1)


def live_run(taken: list[int], broken_at: int = 0, pause: float = 0.0) -> LiveRun:
    steps = six_steps(taken, broken_at, pause)
    scores = [Validation(step, step / 10, 0.3, SCENE.labels) for step in range(TOTAL + 1)]
    return LiveRun(steps, TOTAL, 2, scores.__getitem__, SCENE, "ann")


def test_without_an_event_loop_finish_takes_all_steps(capsys: pytest.CaptureFixture) -> None:
    run = live_run(taken := []).start()
    run.finish()
    assert taken == list(range(1, TOTAL + 1))
    assert [one.step for one in run.validations] == [0, 2, 4, 6]
    assert "Step 6 of 6" in capsys.readouterr().out


def test_in_an_event_loop_steps_go_on_until_stop_and_then_from_there() -> None:
    run = live_run(taken := [])

    async def press() -> None:
        run.start()
        while run.done < 2:
            await asyncio.sleep(0.01)
        run.stop_button.click()
        await asyncio.sleep(0.05)
        before = list(taken)
        await asyncio.sleep(0.05)
        assert taken == before and len(taken) < TOTAL and "weights stay" in run.line.value
        run.go_button.click()
        await run.task

    asyncio.run(press())
    assert taken == list(range(1, TOTAL + 1)) and run.bar.value == TOTAL


def test_buttons_pressed_from_a_subshell_leave_all_steps_to_the_thread_of_the_cells(
    in_subshell: Callable,
) -> None:
    threads: set[threading.Thread] = set()

    class Noting(list):
        def append(self, number: int) -> None:
            threads.add(threading.current_thread())
            super().append(number)

    async def pause_go_on_and_run_the_next_cell() -> LiveRun:
        run = live_run(taken, pause=0.05).start()
        while not run.done:
            await asyncio.sleep(0.01)
        in_subshell(run.stop_button.click)
        await asyncio.sleep(0.1)
        assert run.stopped and len(taken) < TOTAL
        in_subshell(run.go_button.click)
        await asyncio.sleep(0.02)  # as long as the next cell takes to arrive
        assert not run.stopped
        run.finish()
        return run

    taken = Noting()
    run = asyncio.run(pause_go_on_and_run_the_next_cell())
    assert taken == list(range(1, TOTAL + 1)) and threads == {threading.main_thread()}
    assert run.bar.value == TOTAL


def test_finish_leaves_a_stopped_run_as_it_is() -> None:
    run = live_run(taken := [])
    run.one_step()
    run.stop()
    run.finish()
    assert taken == [1]


def test_stop_and_keep_ends_the_run_for_good_and_says_where_the_weights_are() -> None:
    run = live_run(taken := [])
    run.one_step()
    run.keep_button.click()
    assert "after step 1" in run.line.value and "in memory" in run.line.value
    run.go_on()
    run.finish()
    assert taken == [1] and run.go_button.disabled and run.keep_button.disabled


def test_loss_is_told_at_every_step_and_the_still_shows_the_last_picture() -> None:
    run = live_run([])
    run.one_step()
    assert "Step 1 of 6, loss 1.00" in run.line.value
    data, metadata = run._repr_mimebundle_()
    assert "image/png" in data and "After step 0" in metadata["image/png"]["alt"]


def test_a_closed_run_hears_no_button() -> None:
    run = live_run([])
    button = run.go_button
    run.close()
    button.click()
    assert run.stopped


def test_finish_takes_up_what_the_background_left() -> None:
    run = live_run(taken := [])
    run.one_step()
    run.finish()
    run.finish()
    assert taken == list(range(1, TOTAL + 1))


def test_an_error_in_a_step_is_shown_in_the_widget() -> None:
    run = live_run([], broken_at=3)
    with pytest.raises(FloatingPointError):
        run.finish()
    (shown,) = run.output.outputs
    assert shown["output_type"] == "error" and "nan" in shown["evalue"] and run.stopped


def test_the_state_is_told_once_beside_the_picture_and_in_its_alternative_text() -> None:
    run = live_run([])
    run.finish()
    (shown,) = run.output.outputs
    assert "Step 6 of 6" in run.line.value
    assert "After step 6: mIoU 0.60" in shown["metadata"]["image/png"]["alt"]


def test_rates_are_told_as_they_are() -> None:
    said = rates(TrainConfig(10, base_lr=1.0, min_lr=0.0, power=1.0)).alt
    assert "Step 0 has the learning rate 1, step 0 the highest" in said
    assert "half way it is 0.5" in said


def test_losses_on_one_batch_are_told() -> None:
    said = one_batch({"ANN": [2.9, 0.04]}, 0.05, ("ann",)).alt
    assert "ANN from 2.90 to 0.040" in said


def lesson(experiment: str | None = None, data_root: Path | None = None) -> OpenedLesson:
    return OpenedLesson("full", torch.device("cpu"), 3, data_root, experiment)


def test_a_full_run_uses_the_engines_folder_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(town("fcn"), data=replace(town("fcn").data, batch_size=2))
    monkeypatch.setattr(training_module, "find_experiment", lambda name: small)
    trainer, splits = training_module.open_full_run(lesson(), tmp_path / "run", 2)
    assert trainer.experiment.train.seed == 3
    history = training_module.fit_with_progress(trainer, splits.train, "steps")
    assert [number for number, _ in history] == [1, 2]
    again, _ = training_module.open_full_run(lesson(), tmp_path / "run", 2)
    assert again.step == 2


def test_a_published_row_without_data_says_which_parameter_is_missing() -> None:
    row = lesson("ann_r50-d8_512x1024_40k_cityscapes")
    with pytest.raises(FileNotFoundError, match="set the parameter data_root"):
        training_module.open_full_run(row, Path("nowhere"))


def test_a_cpu_refuses_the_full_run_at_the_top() -> None:
    with pytest.raises(ValueError, match="too long for a CPU"):
        training_module.refuse_without_gpu(lesson("balloon_r50"))
    training_module.refuse_without_gpu(lesson())
