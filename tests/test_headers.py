"""A checkpoint's step and notes are read without its tensors."""

from pathlib import Path

import numpy as np
import pytest
from some_runs import save_checkpoint

from annlib.model.checkpoint import load, read_header


def test_header_is_that_of_the_loaded_checkpoint(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 40, seconds=2.5)
    checkpoint = load(path)
    assert read_header(path) == (checkpoint.step, checkpoint.notes)
    assert read_header(path).notes["seconds"] == 2.5


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 5000, -1])
def test_file_cut_anywhere_is_refused(tmp_path: Path, size: int) -> None:
    path = save_checkpoint(tmp_path, 40)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"last\.safetensors is damaged, only half written"):
        read_header(path)


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no checkpoint of annlib"):
        read_header(tmp_path / "a.safetensors")


def test_pickle_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match="is a pickle"):
        read_header(tmp_path / "a.pth")


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        read_header(tmp_path / "a.safetensors")
