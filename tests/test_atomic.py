"""A checkpoint is replaced whole or not at all, whatever the disk does."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny import TINY

from annlib.model.ann import ANN
from annlib.model.checkpoint import load, save, write_atomically


@contextmanager
def disk_with_room_for(num_bytes: int) -> Iterator[None]:
    """Inside, the system lets no file grow larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(tmp_path / "a.safetensors", ANN(TINY), step=1)
    return tmp_path / "a.safetensors"


def test_full_disk_leaves_the_old_checkpoint(path: Path) -> None:
    with pytest.raises(OSError, match="older file there is untouched"), disk_with_room_for(9000):
        save(path, ANN(TINY), step=2)
    assert load(path).step == 1


def test_full_disk_leaves_no_remains(path: Path) -> None:
    with pytest.raises(OSError), disk_with_room_for(9000):
        save(path, ANN(TINY), step=2)
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_error_says_what_where_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, disk_with_room_for(9000):
        save(tmp_path / "a.safetensors", ANN(TINY))
    assert "a.safetensors (0.2 MiB): File too large. Nothing was written." in str(error.value)
    assert "Free some space or choose another folder" in str(error.value)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_error_at_the_last_moment_leaves_the_old_file(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left on device. The older file") as error:
        save(path, ANN(TINY), step=2)
    assert error.value.errno == errno.ENOSPC
    assert (load(path).step, list(path.parent.iterdir())) == (1, [path])


def test_interrupted_write_leaves_the_old_file(path: Path, monkeypatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, ANN(TINY), step=2)
    assert (load(path).step, list(path.parent.iterdir())) == (1, [path])


def test_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OSError, match=r"Could not write .*runs/a\.safetensors"):
        save(tmp_path / "runs" / "a.safetensors", ANN(TINY))


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c", b"content")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"content"


def test_new_checkpoint_replaces_the_old(path: Path) -> None:
    model = ANN(TINY)
    save(path, model, step=2)
    checkpoint = load(path)
    assert checkpoint.step == 2
    assert all(torch.equal(checkpoint.model[k], v) for k, v in model.state_dict().items())
