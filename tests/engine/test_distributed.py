"""Several processes train and score as one would."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import dying_town
import pytest
import together
import torch
from forked import forked, ranks

from annlib.engine import distributed
from annlib.engine.distributed import init_distributed, own_gpu
from annlib.model.checkpoint import load

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}


def torchrun(processes: int, *words: object, restarts: int = 0) -> subprocess.CompletedProcess:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    options = [f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    command = [*launcher, *options, *map(str, words)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("alone") / "facts.json"
    assert forked(lambda: together.measure(out))[0]
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("two") / "facts.json"
    done = torchrun(2, TESTS / "together.py", out)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def test_two_processes_know_each_other(two: dict, alone: dict) -> None:
    assert two["mean_rank"] == 0.5
    assert two["any"] == [True, False]
    assert alone["any"] == [False, False]


@pytest.mark.parametrize("kind", ["losses", "running", "weights"])
def test_two_processes_train_as_one(two: dict, alone: dict, kind: str) -> None:
    assert two[kind] == pytest.approx(alone[kind], rel=1e-9, abs=1e-12)
    assert len(set(alone["losses"])) == 6


def test_two_processes_score_exactly_as_one(two: dict, alone: dict) -> None:
    assert two["scores"] == alone["scores"]
    assert any(iou > 0 for iou in alone["scores"])


def test_accumulating_processes_train_close_to_one(two: dict, alone: dict) -> None:
    found = two["accumulated"]
    assert found == pytest.approx(alone["losses"], rel=0.2)  # batch norm sees halves
    assert found != pytest.approx(alone["losses"], rel=1e-9)


WORDS = ["train", "balloon_ann", "--iterations", "8", "--device", "cpu", "--threads", "1"]


def assert_nothing_was_lost(folder: Path) -> None:
    assert (folder / "marker").exists()
    first, second = (load(folder / name / "last.safetensors") for name in ("whole", "died"))
    assert first.step == second.step == 8
    assert all(torch.equal(first.model[key], second.model[key]) for key in first.model)
    assert first.notes["scores"] == second.notes["scores"]
    histories = [(folder / name / "history.jsonl").read_text() for name in ("whole", "died")]
    assert histories[0] == histories[1]


def test_two_processes_of_which_one_was_killed_end_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ranks(2, lambda: dying_town.train_twice(tmp_path, WORDS))
    assert second.code() == -signal.SIGKILL
    first.kill()  # as torchrun does, which then starts both again and says so
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again = ranks(2, lambda: dying_town.train_twice(tmp_path, WORDS))
    assert [one.code() for one in again] == [0, 0], [one.output() for one in again]
    assert_nothing_was_lost(tmp_path)


@pytest.mark.all
@pytest.mark.fault("kill -9 of one process below torchrun")
def test_torchrun_restarts_a_killed_worker_and_the_run_ends_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    done = torchrun(2, TESTS / "dying_town.py", tmp_path, *WORDS, restarts=1)
    assert done.returncode == 0, done.stderr
    assert_nothing_was_lost(tmp_path)


def test_more_processes_than_gpus_are_refused_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=r"4 processes .* 2 GPUs.*--nproc-per-node=2"):
        own_gpu()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_gpu() == torch.device("cuda", 1)


def test_alone_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with init_distributed(torch.device("cpu")) as device:
        assert device == torch.device("cpu")
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        tensor = torch.ones(2)
        assert distributed.sum_over_ranks(tensor) is tensor


def test_a_number_of_processes_without_a_rank_is_not_torchruns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    with distributed.init_distributed(torch.device("cpu")) as device:
        assert (device.type, distributed.world_size()) == ("cpu", 1)
