"""Ctrl-C, SIGTERM and SIGKILL on a process: nothing is lost, and the printed command works."""

import re
import shlex
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from os import getpgid, killpg
from pathlib import Path

import pytest
import torch
from forked import Call, Child, annlib, forked
from small_town import CHANGES, start

from annlib.model.checkpoint import load

STEPS = 80
WORDS = ("train", "balloon_ann", "--iterations", str(STEPS), "--threads", "1")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def has(path: Path) -> bool:
    return path.exists() and bool(path.read_bytes())


def until(happened: Callable[[], bool], ended: Callable[[], object]) -> None:
    """Waits for something that a process does; `ended` is None while it lives."""
    deadline = time.monotonic() + 120
    while not happened():
        assert ended() is None, "it has ended"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def small(*words: object) -> Call:
    """A command line with Balloon Town in small, for a forked process."""

    def call() -> None:
        for module, name, value in CHANGES:
            setattr(module, name, value)
        annlib(*words)()

    return call


def interrupted(
    number: signal.Signals, folder: Path, after: str, *words: str
) -> tuple[int, str, str]:
    """Sends a signal to all processes of the run, as a terminal does.  -> exit code, out, err"""
    child = Child(small(*WORDS, "--out", folder, *words))
    until(lambda: has(folder / after), lambda: child.wait(0))
    killpg(child.pid, number)
    return child.code(), child.printed(), child.errors()


def resume(command: str) -> None:
    """Runs a command as it was printed."""
    program, *words = shlex.split(command)
    assert program == "annlib"
    assert forked(small(*words))[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    resume(shlex.join(["annlib", *WORDS, "--out", str(folder)]))
    return folder


def assert_same(folder: Path, whole: Path) -> None:
    ours, theirs = (load(f / "last.safetensors") for f in (folder, whole))
    assert ours.step == theirs.step == STEPS
    assert all(torch.equal(ours.model[key], theirs.model[key]) for key in theirs.model)
    histories = [(f / "history.jsonl").read_text() for f in (folder, whole)]
    assert histories[0] == histories[1]
    assert ours.notes["scores"] == theirs.notes["scores"]


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.all), 2])
def test_interrupted_run_is_saved_and_the_printed_command_finishes_it(
    tmp_path: Path, whole: Path, workers: int
) -> None:
    """A process of its own, not a fork: here the whole way is that of a terminal."""
    folder = tmp_path / "a run"  # a name that a shell would split
    process = start(*WORDS, "--out", str(folder), "--workers", str(workers))
    until(lambda: has(folder / "history.jsonl"), process.poll)
    killpg(getpgid(process.pid), signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.count("Stopping after this step") == 1  # the workers leave it to their parent
    steps = int(re.search(rf"Stopped after (\d+) of {STEPS} steps; saved", output)[1])
    assert load(folder / "last.safetensors").step == steps < STEPS
    resume(output.partition("To go on:")[2])
    assert_same(folder, whole)


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.all), "1"])
def test_terminated_run_is_saved_too(tmp_path: Path, workers: str) -> None:
    """With its workers: torchrun sends the signal to all processes, as `interrupted` does."""
    code, output, _ = interrupted(signal.SIGTERM, tmp_path, "history.jsonl", "--workers", workers)
    assert code == 130
    assert "To go on:" in output
    assert 0 < load(tmp_path / "last.safetensors").step < STEPS


def test_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path, whole: Path) -> None:
    code, *_ = interrupted(signal.SIGKILL, tmp_path, "last.safetensors")
    assert code == -signal.SIGKILL
    assert load(tmp_path / "last.safetensors").step % 20 == 0
    resume(shlex.join(["annlib", "train", "--resume", str(tmp_path), "--threads", "1"]))
    assert_same(tmp_path, whole)


@pytest.mark.all
@pytest.mark.fault("Ctrl-C in a comparison of two processes")
def test_interrupted_comparison_ends_at_once_with_all_its_processes(tmp_path: Path) -> None:
    options = ("--iterations", "9000", "--runs", str(tmp_path), "--out", str(tmp_path / "town.md"))
    process = start("compare", *options, program=("-m", "benchmarks.compare_heads"))
    try:
        for head in ("fcn", "ppm"):
            begun = tmp_path / f"balloon_{head}-9000-seed0/experiment.json"
            until(lambda begun=begun: has(begun), process.poll)
        killpg(getpgid(process.pid), signal.SIGINT)
        _, errors = process.communicate(timeout=60)  # until no process holds the pipes any more
    finally:
        with suppress(ProcessLookupError):
            killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
