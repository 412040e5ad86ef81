"""Roots that are wrong, and what is said about them."""

from pathlib import Path

import pytest

from annlib.data.classes import Layout
from annlib.data.folders import check_there, contents, find_home, locate

TREES: dict[Layout, str] = {
    "cityscapes": "leftImg8bit/train",
    "ade20k": "ADEChallengeData2016/images/training",
    "voc12aug": "VOCdevkit/VOC2012/JPEGImages",
    "folder": "train/images",
}


def tree(root: Path, layout: Layout) -> Path:
    (root / TREES[layout]).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("layout", "named", "home"),
    [
        ("cityscapes", ".", "."),
        ("ade20k", ".", "ADEChallengeData2016"),
        ("ade20k", "ADEChallengeData2016", "ADEChallengeData2016"),
        ("voc12aug", ".", "VOCdevkit/VOC2012"),
        ("voc12aug", "VOCdevkit", "VOCdevkit/VOC2012"),
        ("voc12aug", "VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),
    ],
)
def test_benchmark_is_found_in_its_folder_or_below(
    tmp_path: Path, layout: Layout, named: str, home: str
) -> None:
    tree(tmp_path, layout)
    assert find_home(tmp_path / named, layout) == tmp_path / home


@pytest.mark.parametrize("there", TREES)
@pytest.mark.parametrize("wanted", ["cityscapes", "ade20k", "voc12aug"])
def test_another_data_set_is_recognised(tmp_path: Path, wanted: Layout, there: Layout) -> None:
    if wanted == there:
        return
    with pytest.raises(FileNotFoundError) as error:
        find_home(tree(tmp_path, there), wanted)
    assert f"There is no {wanted} in {tmp_path}: looked for" in str(error.value)
    assert f"looks like {'a plain folder' if there == 'folder' else there}." in str(error.value)
    assert f"holds {TREES[there].partition('/')[0]}/" in str(error.value)


@pytest.mark.parametrize(
    ("named", "right"), [("leftImg8bit/train", "data"), ("leftImg8bit", "data"), ("..", "data")]
)
def test_folder_nearby_is_named(tmp_path: Path, named: str, right: str) -> None:
    root = tree(tmp_path / "data", "cityscapes")
    with pytest.raises(FileNotFoundError, match=f"It lies in .*{right}: name that folder"):
        find_home((root / named).resolve(), "cityscapes")


def test_archive_that_is_still_packed_is_named(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit_trainvaltest.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"lies leftImg8bit_trainvaltest\.zip: was it"):
        find_home(tmp_path, "cityscapes")


def test_empty_folder_error_says_how_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="holds nothing. How .*: annlib data prepare ade20k"
    ):
        find_home(tmp_path, "ade20k")


@pytest.mark.parametrize("name", ["missing", "a.txt"])
def test_root_that_is_no_folder_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(FileNotFoundError, match=f"no folder .*{name}. Name the one that holds voc"):
        find_home(tmp_path / name, "voc12aug")


def test_nothing_is_located_where_nothing_is(tmp_path: Path) -> None:
    assert all(locate(tmp_path, layout) is None for layout in TREES)


def test_long_folders_are_told_in_short(tmp_path: Path) -> None:
    for name in "abcdefghi":
        (tmp_path / name).touch()
    assert contents(tmp_path) == "a, b, c, d, e, f and 3 more"


def test_missing_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    check_there([tmp_path / "a"], "pictures", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"2 of 3 pictures are missing, the first is .*/b\."
    ):
        check_there([tmp_path / name for name in "abc"], "pictures", tmp_path)
