"""A full disk, a folder that cannot be written, too few file descriptors, too little memory.

Each ends a command with exit code 1 and one message; what was there before stays intact.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_town
import torch
from forked import Child, annlib, forked
from PIL import Image
from small_pictures import save_tiny, write_pictures

from annlib.engine import trainer
from annlib.model.checkpoint import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork is safe
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in small_town.CHANGES:
            patch.setattr(module, name, value)
        patch.setattr(trainer, "SAVE_EVERY", 2)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    forked(annlib(*TRAIN, folder))
    return folder


class Disk:
    """A file system in memory, of any size, that can be made read-only."""

    def __init__(self, path: Path):
        self.path = path

    def mount(self, *options: str) -> None:
        chosen = ",".join(options)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", chosen, "none", str(self.path)], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")

    def fill(self, leave: int) -> None:
        free = os.statvfs(self.path)
        Path(self.path, "filler").write_bytes(bytes(free.f_bavail * free.f_frsize - leave))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    made = Disk(place)
    made.mount("size=16m")
    yield made
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def refused(*words: object) -> str:
    """The message with which a command ends, exit code 1."""
    child = Child(annlib(*words))
    assert os.waitstatus_to_exitcode(child.wait()) == 1, child.output()
    said = child.output()
    assert "annlib: " in said and "Traceback" not in said, said
    return said.rpartition("annlib: ")[2]


TRAIN = ("train", "balloon_ann", "--iterations", STEPS, "--out")


def same_weights(one: Path, other: Path) -> None:
    first, second = (load(place / "last.safetensors") for place in (one, other))
    assert first.step == second.step == STEPS
    assert all(torch.equal(first.model[key], second.model[key]) for key in first.model)


@pytest.mark.fault("full disk")
def test_training_on_a_full_disk_keeps_its_checkpoint_and_goes_on(whole: Path, disk: Disk) -> None:
    run, size = disk.path / "run", (whole / "last.safetensors").stat().st_size
    disk.fill(size + 60_000)
    said = refused(*TRAIN, run)
    assert "No space left" in said and "To go on:  annlib train --resume" in said
    assert load(run / "last.safetensors").step < STEPS
    (disk.path / "filler").unlink()
    forked(annlib("train", "--resume", run))
    same_weights(run, whole)


@pytest.mark.fault("full disk")
def test_an_evaluation_on_a_full_disk_keeps_what_was_scored_and_goes_on(
    tmp_path: Path, disk: Disk
) -> None:
    save_tiny(tmp_path / "tiny.safetensors")
    write_pictures(tmp_path / "data", 12)
    words = ("evaluate", tmp_path / "tiny.safetensors", "--data", tmp_path / "data")
    words += ("--save-pictures", "--out")
    forked(annlib(*words, tmp_path / "whole"))
    disk.fill(40_000)
    assert "No space left" in refused(*words, disk.path / "out")
    (disk.path / "filler").unlink()
    forked(annlib(*words, disk.path / "out"))
    scores = [
        json.loads((place / "scores.json").read_text())["miou"]
        for place in (disk.path / "out", tmp_path / "whole")
    ]
    assert scores[0] == scores[1]


@pytest.mark.fault("full disk")
def test_scenes_that_do_not_fit_leave_nothing(disk: Disk) -> None:
    disk.fill(100_000)
    assert "No space left" in refused("data", "scenes", disk.path / "town", "--count", 30)
    assert [path.name for path in disk.path.iterdir()] == ["filler"]


@pytest.mark.fault("read-only folder")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, disk: Disk) -> None:
    forked(annlib(*TRAIN, disk.path / "run"))
    before = (disk.path / "run/last.safetensors").read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(image)
    for words in (
        (*TRAIN, disk.path / "other"),
        ("train", "--resume", disk.path / "run"),
        ("predict", image, "--out", disk.path / "p"),
        ("data", "scenes", disk.path / "town"),
    ):
        assert "Read-only file system" in refused(*words)
    assert (disk.path / "run/last.safetensors").read_bytes() == before


@pytest.mark.fault("limit of file descriptors")
@pytest.mark.parametrize(
    "left", [2, *(pytest.param(left, marks=pytest.mark.all) for left in (-5, 6, 9, 11, 20, 60))]
)
def test_too_few_file_descriptors_end_in_a_message_or_do_no_harm(
    tmp_path: Path, whole: Path, left: int
) -> None:
    def call() -> None:
        limit = len(os.listdir("/dev/fd")) + left
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        annlib(*TRAIN, tmp_path / "run", "--workers", 1)()

    child = Child(call)
    if (status := child.wait(60)) is None:
        child.kill()
        pytest.fail(f"waits forever with {left} left")
    code = os.waitstatus_to_exitcode(status)
    assert code == 0 or "Too many open files" in child.output(), child.output()
    assert "Traceback" not in child.output(), child.output()
    has_one = (tmp_path / "run/last.safetensors").exists()
    if code:
        words = ("train", "--resume", tmp_path / "run") if has_one else (*TRAIN, tmp_path / "run")
        forked(annlib(*words))
    same_weights(tmp_path / "run", whole)


WITH_LITTLE_MEMORY = """
import os, resource
from pathlib import Path
import annlib.engine.predictor
from annlib.__main__ import main
held = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_DATA, (held + 400 * 2**20,) * 2)
main()
"""


@pytest.mark.fault("limit of memory")
def test_an_image_too_large_for_the_memory_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (6000, 6000)).save(tmp_path / "large.png")
    words = ("predict", tmp_path / "large.png", "--out", tmp_path / "p")
    command = [sys.executable, "-c", WITH_LITTLE_MEMORY, *map(str, words)]  # a fork has free memory
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "memory" in done.stderr
    assert not list(tmp_path.rglob("*.labels.png"))
