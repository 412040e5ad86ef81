"""Labels of SBD, which are MATLAB files, and folders that are written all at once."""

import sys
from pathlib import Path

import numpy as np
import pytest

from annlib.data.io import all_or_nothing, read_labels

VALUES = np.random.default_rng(0).integers(0, 21, (5, 7), np.uint8)


def write_mat(path: Path, **content: object) -> Path:
    pytest.importorskip("scipy").io.savemat(path, content)
    return path


def test_segmentation_of_sbd_is_read(tmp_path: Path) -> None:
    fields = {"Boundaries": np.zeros((20, 1)), "Segmentation": VALUES, "CategoriesPresent": [1, 2]}
    assert read_labels(write_mat(tmp_path / "a.mat", GTcls=fields)).tolist() == VALUES.tolist()


def test_matlab_file_of_another_kind_is_told(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "a.mat", GTinst={"Segmentation": VALUES})
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as labels of SBD \('GTcls'\)"):
        read_labels(path)


@pytest.mark.parametrize("length", [0, 100, 200, 300])
def test_matlab_file_that_is_cut_off_is_told(tmp_path: Path, length: int) -> None:
    path = write_mat(tmp_path / "a.mat", GTcls={"Segmentation": VALUES})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"a\.mat cannot be read .*unpack benchmark\.tgz again"):
        read_labels(path)


def test_missing_matlab_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*a\.mat"):
        read_labels(tmp_path / "a.mat")


def test_missing_scipy_is_told_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match=r"a\.mat: .*scipy.* installed: pip install -e '\.\["):
        read_labels(tmp_path / "a.mat")


@pytest.mark.parametrize("exists", [False, True])
def test_folder_appears_when_it_is_whole(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "a" / "b"
    if exists:
        target.mkdir(parents=True)
    with all_or_nothing(target) as folder:
        (folder / "c.txt").write_text("c")
        assert not (target / "c.txt").exists()
    assert (target / "c.txt").read_text() == "c"
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_folder_does_not_appear_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError), all_or_nothing(tmp_path / "a") as folder:
        (folder / "c.txt").write_text("c")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
