"""VOC 2012 + aug: who is in training, and which labels are used."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annlib.data.classes import VOC12AUG
from annlib.data.folders import (
    LISTS,
    Lists,
    find_pairs,
    find_sbd,
    label_files,
    read_lists,
    read_names,
)
from annlib.data.synthetic import mimic

NAMES = st.lists(st.sampled_from([f"2008_{i:06d}" for i in range(12)]), unique=True)


def write(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names))


@settings(max_examples=40, deadline=None)
@given(train=NAMES, val=NAMES, added=NAMES, kind=st.sampled_from(["trainaug", "aug", "sbd"]))
def test_no_picture_of_val_is_trained_on_and_no_other_is_lost(
    tmp_path_factory: pytest.TempPathFactory, train: list, val: list, added: list, kind: str
) -> None:
    home = tmp_path_factory.mktemp("voc")
    write(home / LISTS / "train.txt", train)
    write(home / LISTS / "val.txt", val)
    if kind == "sbd":
        sbd = home / "benchmark_RELEASE/dataset"
        (sbd / "cls").mkdir(parents=True)
        write(sbd / "train.txt", added[::2])
        write(sbd / "val.txt", added[1::2])
    else:
        write(home / LISTS / f"{kind}.txt", added)
    lists = read_lists(home)
    assert set(lists.train) == {*train, *added} - {*val}
    assert len(lists.train) == len(set(lists.train))
    # SBD divides pictures in its own way: only lists made for training can be wrong
    wrong = {*train} if kind == "sbd" else {*train, *added}
    assert set(lists.leaked) == wrong & {*val}


def test_lists_with_paths_are_read_as_names(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["/JPEGImages/x.jpg /SegmentationClassAug/x.png", "", "y"])
    assert read_names(tmp_path / "a.txt") == ["x", "y"]


def test_missing_augmented_list_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    write(tmp_path / LISTS / "train.txt", ["a"])
    write(tmp_path / LISTS / "val.txt", ["b"])
    with pytest.raises(
        FileNotFoundError, match=r"no trainaug.txt or aug.txt .*VOC alone has 1,464"
    ):
        read_lists(tmp_path)


def test_missing_list_of_voc_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no .*val\.txt: it lists .* unpacked only in part"
    ):
        read_lists(tmp_path)


@pytest.mark.parametrize("place", ["benchmark_RELEASE/dataset", "VOCaug/dataset"])
@pytest.mark.parametrize("above", [".", "..", "../.."])
def test_sbd_is_found_beside_voc(tmp_path: Path, place: str, above: str) -> None:
    home = tmp_path / "VOCdevkit" / "VOC2012"
    home.mkdir(parents=True)
    assert find_sbd(home) is None
    sbd = (home / above / place).resolve()
    (sbd / "cls").mkdir(parents=True)
    assert find_sbd(home) == sbd


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["own", "aug", "sbd"], "own"),
        (["aug", "sbd"], "aug"),
        (["sbd"], "sbd"),
        ([], None),
    ],
)
def test_labels_with_borders_come_first(
    tmp_path: Path, there: list[str], expected: str | None, own: bool
) -> None:
    sbd = tmp_path / "benchmark_RELEASE/dataset"
    files = {
        "own": tmp_path / "SegmentationClass/a.png",
        "aug": tmp_path / "SegmentationClassAug/a.png",
        "sbd": sbd / "cls/a.mat",
    }
    (sbd / "cls").mkdir(parents=True)
    for kind in there:
        write(files[kind], [])
    found = label_files(tmp_path, Lists(["a"], [], ["a"] if own else []))
    assert found == [files[expected or ("own" if own else "sbd")]]


def test_validation_uses_the_labels_with_borders_only(tmp_path: Path) -> None:
    mimic("voc12aug", tmp_path / "voc", 4, 2, (32, 48))
    home = tmp_path / "voc/VOCdevkit/VOC2012"
    for path in find_pairs(home, VOC12AUG, "val").labels:
        path.rename(home / "SegmentationClassAug" / path.name)
    labels = find_pairs(home, VOC12AUG, "val").labels
    assert {path.parent.name for path in labels} == {"SegmentationClass"}


def test_scoring_needs_no_augmented_list(tmp_path: Path) -> None:
    mimic("voc12aug", tmp_path / "voc", 4, 2, (32, 48))
    (tmp_path / "voc/VOCdevkit/VOC2012" / LISTS / "trainaug.txt").unlink()
    assert len(find_pairs(tmp_path / "voc", VOC12AUG, "val").images) == 2
    with pytest.raises(FileNotFoundError, match="without its augmented training list"):
        find_pairs(tmp_path / "voc", VOC12AUG, "train")


def test_missing_scipy_is_told_before_the_first_picture_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    mimic("voc12aug", tmp_path / "voc", 4, 2, (32, 48), originals=True)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match="scipy, which knows them, is not installed"):
        find_pairs(tmp_path / "voc", VOC12AUG, "train")
    assert len(find_pairs(tmp_path / "voc", VOC12AUG, "val").images) == 2


def test_all_ways_to_lay_out_the_augmented_labels_give_the_same_names(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    mimic("voc12aug", tmp_path / "a", 6, 2, (32, 48))
    mimic("voc12aug", tmp_path / "b", 6, 2, (32, 48), originals=True)
    names = [[p.stem for p in find_pairs(tmp_path / x, VOC12AUG, "train").images] for x in "ab"]
    assert names[0] == names[1]
    assert np.unique(names[0]).size == 6
