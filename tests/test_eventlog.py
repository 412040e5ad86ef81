"""TensorBoard reads the curves of a run, resumed ones included; without it nothing happens."""

import math
import sys
import time
from pathlib import Path

import pytest

from annlib.engine.runs import EventLog


def curve(folder: Path, name: str) -> dict[int, float]:
    """step -> value, as TensorBoard itself reads the folder."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reading.EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


@pytest.fixture
def needs_tensorboard() -> None:
    pytest.importorskip("tensorboard")


def test_scalars_are_read_back(tmp_path: Path, needs_tensorboard: None) -> None:
    log = EventLog(tmp_path)
    assert log.writer is not None
    for step in (20, 40):
        log.scalars(step, {"loss": 1 / step, "val/miou": step / 100})
    log.close()
    assert curve(tmp_path, "loss") == pytest.approx({20: 0.05, 40: 0.025})
    assert curve(tmp_path, "val/miou") == pytest.approx({20: 0.2, 40: 0.4})


def test_steps_after_the_checkpoint_are_those_of_the_resumed_run(
    tmp_path: Path, needs_tensorboard: None
) -> None:
    first = EventLog(tmp_path)
    for step in (20, 40, 60, 80):
        first.scalars(step, {"loss": 1.0})
    first.flush()  # and killed
    time.sleep(1.1)  # TensorBoard takes files in the order of their names: seconds, then a count
    second = EventLog(tmp_path, step=40)
    second.scalars(60, {"loss": 2.0})
    second.close()
    first.close()
    assert curve(tmp_path, "loss") == {20: 1.0, 40: 1.0, 60: 2.0}


def test_run_that_begins_again_leaves_nothing_of_the_old_one(
    tmp_path: Path, needs_tensorboard: None
) -> None:
    for value in (1.0, 2.0):
        log = EventLog(tmp_path)
        log.scalars(20 * int(value), {"loss": value})
        log.close()
    assert curve(tmp_path, "loss") == {40: 2.0}


def test_flushed_scalars_are_on_disk(tmp_path: Path, needs_tensorboard: None) -> None:
    log = EventLog(tmp_path)
    log.scalars(20, {"loss": math.pi})
    log.flush()
    assert curve(tmp_path, "loss") == pytest.approx({20: math.pi})
    log.close()


def test_without_tensorboard_nothing_is_written(tmp_path: Path, monkeypatch) -> None:
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    log = EventLog(tmp_path, step=20)
    assert log.writer is None
    log.scalars(40, {"loss": 1.0})
    log.flush()
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_processes_that_write_no_files_write_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where TensorBoard would make a folder of its own
    log = EventLog(None)
    log.scalars(40, {"loss": 1.0})
    log.close()
    assert log.writer is None and list(tmp_path.iterdir()) == []
