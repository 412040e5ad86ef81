"""SIGKILL at random moments: whatever is half done, the same command finishes it, and equally.

The moments are drawn with a fixed seed over the length of an uninterrupted run. Processes are
forked from this one, which has imported torch already: a try takes one to three seconds.
"""

import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_town
import torch
from small_pictures import save_tiny, write_pictures

from annlib import __main__
from annlib.data import prepare as prepare_module
from annlib.engine import trainer
from annlib.model.checkpoint import load

pytestmark = [pytest.mark.all, pytest.mark.timeout(3000)]
STEPS = 24


def forked(call: Callable[[], object], seconds: float | None = None) -> tuple[bool, float]:
    """Runs the call in a process of its own, and kills it after so many seconds.

    -> whether it came to its end, and how long it ran. Raises AssertionError when it failed.
    """
    started = time.perf_counter()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setpgrp()  # so that its own processes are killed with it
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
            call()
            code = 0
        except SystemExit as stop:
            code = 0 if stop.code is None else 1
        finally:
            os._exit(code)
    if seconds is not None:
        deadline = started + seconds
        while time.perf_counter() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0, status
                return True, time.perf_counter() - started
            time.sleep(0.002)
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return False, time.perf_counter() - started
    assert status == 0, f"the process ended with {status}"
    return True, time.perf_counter() - started


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small experiments, frequent checkpoints, and one thread, so that a fork is safe."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for module, name, value in small_town.CHANGES:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(trainer, "SAVE_EVERY", 2)
    yield
    torch.set_num_threads(before)


def annlib(*words: object) -> Callable[[], None]:
    """A command line, to be called in a forked process."""

    def call() -> None:
        sys.argv = ["annlib", *map(str, words)]
        __main__.main()

    return call


def moments(seconds: float, tries: int) -> list[float]:
    """Random times within a run of so many seconds."""
    drawn = random.Random(7)
    return [drawn.uniform(0.0, seconds) for _ in range(tries)]


def same_run(folder: Path, whole: Path) -> None:
    ours, theirs = (load(place / "last.safetensors") for place in (folder, whole))
    assert ours.step == theirs.step == STEPS
    assert all(torch.equal(ours.model[key], theirs.model[key]) for key in theirs.model)
    assert (folder / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()


@pytest.mark.fault("kill -9 of training at a random moment, also inside a checkpoint write")
@pytest.mark.parametrize("workers", [0, 1], ids=["no worker", "a data worker"])
def test_training_killed_at_random_moments_equals_the_uninterrupted_run(
    tmp_path: Path, record_property: Callable, workers: int
) -> None:
    words = (
        "train",
        "balloon_ann",
        "--iterations",
        STEPS,
        "--workers",
        workers,
        "--score-every",
        6,
    )
    _, seconds = forked(annlib(*words, "--out", tmp_path / "whole"))
    tries, inside = (100, 0) if workers == 0 else (15, 0)
    for number, moment in enumerate(moments(seconds, tries)):
        folder = tmp_path / f"run{number}"
        finished, _ = forked(annlib(*words, "--out", folder), moment)
        inside += not finished
        had_checkpoint = (folder / "last.safetensors").exists()
        if had_checkpoint:
            load(folder / "last.safetensors")  # never half written
        again = ("train", "--resume", folder) if had_checkpoint else (*words, "--out", folder)
        if not finished:
            # a second kill, during the resumed part
            forked(annlib(*again), moment / 2)
            had_checkpoint = (folder / "last.safetensors").exists()
            again = ("train", "--resume", folder) if had_checkpoint else again
            assert forked(annlib(*again))[0]
        same_run(folder, tmp_path / "whole")
        assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
        shutil.rmtree(folder)
    record_property("tries", tries)
    assert inside > tries / 2, "most of the moments must lie inside the run"


@pytest.mark.fault("kill -9 of an evaluation at a random moment")
def test_evaluation_killed_at_random_moments_ends_with_the_same_scores(
    tmp_path: Path, record_property: Callable
) -> None:
    save_tiny(tmp_path / "tiny.safetensors")
    write_pictures(tmp_path / "data", 40)
    words = ("evaluate", tmp_path / "tiny.safetensors", "--data", tmp_path / "data", "--out")
    _, seconds = forked(annlib(*words, tmp_path / "whole", "--save-pictures"))

    def result(folder: Path) -> dict[str, object]:
        scores = json.loads((folder / "scores.json").read_text())
        del scores["made"]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {"scores": scores} | {
            str(path.relative_to(folder)): path.read_bytes()
            for path in files
            if path.name != "scores.json"
        }

    for number, moment in enumerate(moments(seconds, 30)):
        folder = tmp_path / f"out{number}"
        forked(annlib(*words, folder, "--save-pictures"), moment)
        assert forked(annlib(*words, folder, "--save-pictures"))[0]
        assert result(folder) == result(tmp_path / "whole")
    record_property("tries", 30)


@pytest.mark.fault("kill -9 of data prepare at a random moment")
def test_camvid_prepared_after_kills_is_whole_and_nothing_is_left_over(
    tmp_path: Path, record_property: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashlib import sha256

    source, sums = tmp_path / "source", []
    for split in ("train", "val", "test"):
        for kind, folder in (("images", split), ("labels", f"{split}annot")):
            (source / folder).mkdir(parents=True)
            for number in range(60):
                content = f"{split} {kind} {number}".encode() * 3000
                (source / folder / f"{number}.png").write_bytes(content)
                sums.append(f"{sha256(content).hexdigest()}  {split}/{kind}/{number}.png\n")
    (tmp_path / "sums.txt").write_text("".join(sums))
    monkeypatch.setattr(prepare_module, "CAMVID_CHECKSUMS", tmp_path / "sums.txt")

    def prepared(root: Path) -> Callable[[], None]:
        def call() -> None:
            root.mkdir(exist_ok=True)
            prepare_module.prepare_camvid(root, source)

        return call

    _, seconds = forked(prepared(tmp_path / "whole"))
    names = sorted(str(p.relative_to(tmp_path / "whole")) for p in (tmp_path / "whole").rglob("*"))
    for number, moment in enumerate(moments(seconds, 40)):
        root = tmp_path / f"root{number}"
        forked(prepared(root), moment)
        for split in ("train", "val", "test"):  # a split that is there is whole
            if (root / split).exists():
                assert len([*(root / split).rglob("*.png")]) == 120
        assert forked(prepared(root))[0]
        found = [path for path in root.rglob("*") if ".preparing-" not in str(path)]
        assert sorted(str(path.relative_to(root)) for path in found) == names
    record_property("tries", 40)
