"""Images and label files of each layout, wrong roots, and the lists of VOC 2012 + aug."""

import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annlib.data.check import check_split
from annlib.data.classes import (
    ADE20K,
    BENCHMARKS,
    CITYSCAPES,
    CITYSCAPES_TRAIN_IDS,
    VOC12AUG,
    DatasetSpec,
    Layout,
)
from annlib.data.datasets import SegmentationFolder
from annlib.data.folders import (
    LISTS,
    contents,
    find_home,
    find_pairs,
    find_sbd,
    locate,
    read_names,
    shared_labels,
)
from annlib.data.synthetic import mimic
from annlib.data.transforms import to_tensors

each = pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)
SIZE = (32, 48)


@pytest.fixture
def root(tmp_path: Path) -> Callable[[DatasetSpec], Path]:
    """Makes a small imitation of a benchmark."""

    def make(spec: DatasetSpec, **options: bool) -> Path:
        mimic(spec.name, tmp_path / spec.name, 4, 2, SIZE, **options)
        return tmp_path / spec.name

    return make


def opened(root: Path, spec: DatasetSpec, split: str = "train") -> SegmentationFolder:
    return SegmentationFolder(root, spec, split, to_tensors)


@each
@pytest.mark.parametrize("split", ["train", "val"])
def test_pairs_have_the_same_name_and_are_sorted(root, spec: DatasetSpec, split: str) -> None:
    images, labels, *_ = find_pairs(root(spec), spec, split)
    names = [path.name.partition("_leftImg8bit")[0].partition(".")[0] for path in images]
    assert names == [path.name.partition("_gtFine")[0].partition(".")[0] for path in labels]
    assert images == sorted(images)


@each
def test_splits_have_no_image_in_common(root, spec: DatasetSpec) -> None:
    folder = root(spec)
    train, val = (find_pairs(folder, spec, split) for split in ("train", "val"))
    assert not {*train.images} & {*val.images}
    assert (len(train.images), len(val.images)) == (4, 2)


def to_train_ids(label_file: Path) -> None:
    """Writes ready-made train ids in the place of ids."""
    values = torch.from_numpy(np.array(Image.open(label_file)))
    ready = CITYSCAPES.label_table()[values.int()].numpy()
    Image.fromarray(ready).save(str(label_file).replace("labelIds", "labelTrainIds"))
    label_file.unlink()


def test_ready_made_train_ids_are_read_where_there_are_no_others(root) -> None:
    folder = root(CITYSCAPES)
    before = [opened(folder, CITYSCAPES).read(i)[1] for i in range(4)]
    for path in folder.rglob("*_labelIds.png"):
        to_train_ids(path)
    dataset = opened(folder, CITYSCAPES)
    assert dataset.spec == CITYSCAPES_TRAIN_IDS
    assert all(torch.equal(dataset.read(i)[1], before[i]) for i in range(4))


def test_ids_are_read_where_both_kinds_are(root) -> None:
    folder = root(CITYSCAPES)
    for path in folder.rglob("*_labelIds.png"):
        shutil.copy(path, str(path).replace("labelIds", "labelTrainIds"))
    assert opened(folder, CITYSCAPES).spec == CITYSCAPES


@each
def test_other_files_in_the_folders_are_passed_over(root, spec: DatasetSpec) -> None:
    folder = root(spec)
    for path in find_pairs(folder, spec, "train").labels:
        path.with_name(path.name.replace("_labelIds.png", "_color.png") + ".txt").touch()
    for path in find_pairs(folder, spec, "train").images:
        (path.parent / "Thumbs.db").touch()
    assert len(opened(folder, spec)) == 4


@each
def test_image_without_labels_is_named_and_counted(root, spec: DatasetSpec) -> None:
    folder = root(spec)
    image, label = (paths[2] for paths in find_pairs(folder, spec, "train")[:2])
    label.unlink()
    with pytest.raises(FileNotFoundError) as error:
        opened(folder, spec)
    assert f"1 of 4 images have no labels, the first is {image}: expected " in str(error.value)


LABEL_FOLDERS = (
    (CITYSCAPES, "gtFine", "gtFine_trainvaltest.zip"),
    (ADE20K, "ADEChallengeData2016/annotations", "ADEChallengeData2016.zip"),
    (VOC12AUG, "VOCdevkit/VOC2012/SegmentationClass", "VOCtrainval_11-May-2012.tar"),
)


@pytest.mark.parametrize(("spec", "missing", "archive"), LABEL_FOLDERS, ids=lambda p: str(p)[:9])
def test_half_unpacked_benchmark_is_told_with_the_archive_that_lies_there(
    root, spec: DatasetSpec, missing: str, archive: str
) -> None:
    folder = root(spec)
    shutil.rmtree(folder / missing)
    (folder / archive).touch()
    with pytest.raises(FileNotFoundError, match="2 of 2 images have no .* first is ") as error:
        opened(folder, spec, "val")
    assert str(error.value).endswith(f"There lies {archive}: was it unpacked, and to the end?")


@pytest.mark.parametrize(
    ("spec", "split_folder"),
    [(CITYSCAPES, "leftImg8bit/val"), (ADE20K, "ADEChallengeData2016/images/validation")],
    ids=["cityscapes", "ade20k"],
)
def test_empty_split_is_told(root, spec: DatasetSpec, split_folder: str) -> None:
    folder = root(spec)
    shutil.rmtree(folder / split_folder)
    with pytest.raises(FileNotFoundError, match=rf"{split_folder}.* holds no .*{folder} holds "):
        opened(folder, spec, "val")


@pytest.mark.parametrize("strange", [{0: 251}, {0: 34}])
@pytest.mark.parametrize("spec", [*BENCHMARKS], ids=lambda spec: spec.name)
def test_unknown_label_is_told_with_file_value_and_data_set(
    root, spec: DatasetSpec, strange: dict[int, int]
) -> None:
    dataset = opened(root(spec), spec)
    values = np.array(Image.open(dataset.labels[1]))
    values[3, 5] = strange[0]
    Image.fromarray(values).save(dataset.labels[1])
    if strange[0] in spec.known_values:  # 34 is a class of ADE20K
        dataset.read(1)
        return
    with pytest.raises(ValueError) as error:
        dataset.read(1)
    said = str(error.value)
    assert said.startswith(f"{dataset.labels[1]} holds the label {strange[0]}, but {spec.name} has")
    assert "Labels are indices" in said if strange[0] == 251 else "are known in ade20k" in said


def test_labels_of_another_data_set_are_recognised(root, tmp_path: Path) -> None:
    cityscapes, voc = opened(root(CITYSCAPES), CITYSCAPES), opened(root(VOC12AUG), VOC12AUG)
    with Image.open(voc.images[0]) as image:
        size = image.size
    with Image.open(cityscapes.labels[0]) as labels:
        labels.resize(size, Image.Resampling.NEAREST).save(voc.labels[0])
    with pytest.raises(
        ValueError, match=r"holds the label 2\d, .*voc12aug has 21 .* cityscapes and"
    ):
        voc.read(0)


def test_coloured_labels_are_refused(root) -> None:
    dataset = opened(root(ADE20K), ADE20K)
    Image.new("RGB", (48, 32)).save(dataset.labels[0])
    with pytest.raises(ValueError, match="has mode RGB, but labels hold one class index"):
        dataset.read(0)


# Roots

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


def test_another_data_set_is_recognised(tmp_path: Path) -> None:
    for there in TREES:
        root = tree(tmp_path / there / "x" / "y" / "z", there)
        for wanted in {*TREES} - {there, "folder"}:
            with pytest.raises(FileNotFoundError) as error:
                find_home(root, wanted)
            said, looks = str(error.value), "a plain folder" if there == "folder" else there
            assert f"There is no {wanted} in {root}: looked for" in said
            assert f"looks like {looks}." in said
            assert f"holds {TREES[there].partition('/')[0]}/" in said


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


# VOC 2012 + aug: which images are in training, and which labels are used

NAMES = st.lists(st.sampled_from([f"2008_{i:06d}" for i in range(12)]), unique=True)


def write(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names))


@settings(max_examples=40, deadline=None)
@given(train=NAMES, val=NAMES, added=NAMES, kind=st.sampled_from(["trainaug", "aug", "sbd"]))
def test_no_image_of_val_is_trained_on_and_no_other_is_lost(
    tmp_path_factory: pytest.TempPathFactory, train: list, val: list, added: list, kind: str
) -> None:
    home = tmp_path_factory.mktemp("voc")
    (home / "JPEGImages").mkdir()
    write(home / LISTS / "train.txt", [*train, "2009_000000"])
    write(home / LISTS / "val.txt", val)
    if kind == "sbd":
        sbd = home / "benchmark_RELEASE/dataset"
        (sbd / "cls").mkdir(parents=True)
        write(sbd / "train.txt", added[::2])
        write(sbd / "val.txt", added[1::2])
        for name in added:  # scipy is not needed to list them
            write(home / f"SegmentationClassAug/{name}.png", [])
    else:
        write(home / LISTS / f"{kind}.txt", added)
    for name in train:
        write(home / f"SegmentationClass/{name}.png", [])
    pairs = find_pairs(home, VOC12AUG, "train")
    names = [path.stem for path in pairs.images]
    assert names == sorted({*train, *added, "2009_000000"} - {*val})
    # SBD divides images in its own way: only lists made for training can be wrong
    wrong = {*train} if kind == "sbd" else {*train, *added}
    expected = {f"image of val in a training list: {name}" for name in wrong & {*val}}
    assert {*pairs.problems} == expected


def test_lists_with_paths_are_read_as_names(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["/JPEGImages/x.jpg /SegmentationClassAug/x.png", "", "y"])
    assert read_names(tmp_path / "a.txt") == ["x", "y"]


def test_missing_augmented_list_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    write(tmp_path / LISTS / "train.txt", ["a"])
    write(tmp_path / LISTS / "val.txt", ["b"])
    with pytest.raises(
        FileNotFoundError, match=r"no trainaug.txt or aug.txt .*VOC alone has 1,464"
    ):
        find_pairs(tmp_path, VOC12AUG, "train")


def test_missing_list_of_voc_is_told(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no .*val\.txt: it lists .* unpacked only in part"
    ):
        find_pairs(tmp_path, VOC12AUG, "train")


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
    [(["own", "aug", "sbd"], "own"), (["aug", "sbd"], "aug"), (["sbd"], "sbd"), ([], None)],
)
def test_labels_with_borders_come_first(
    tmp_path: Path, there: list[str], expected: str | None, own: bool
) -> None:
    pytest.importorskip("scipy")
    sbd = tmp_path / "benchmark_RELEASE/dataset"
    files = {
        "own": tmp_path / "SegmentationClass/a.png",
        "aug": tmp_path / "SegmentationClassAug/a.png",
        "sbd": sbd / "cls/a.mat",
    }
    for folder in (tmp_path / "JPEGImages", sbd / "cls"):
        folder.mkdir(parents=True)
    for kind in there:
        write(files[kind], [])
    write(tmp_path / LISTS / "train.txt", ["a"] * own)
    write(tmp_path / LISTS / "val.txt", ["b"])
    write(tmp_path / LISTS / "aug.txt", ["a"])
    labels = find_pairs(tmp_path, VOC12AUG, "train").labels
    assert labels == [files[expected or ("own" if own else "sbd")]]


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


def test_missing_scipy_is_told_before_the_first_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    mimic("voc12aug", tmp_path / "voc", 4, 2, (32, 48), originals=True)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match="scipy, which reads them, is not installed"):
        find_pairs(tmp_path / "voc", VOC12AUG, "train")
    assert len(find_pairs(tmp_path / "voc", VOC12AUG, "val").images) == 2


def test_all_ways_to_lay_out_the_augmented_labels_give_the_same_names(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    mimic("voc12aug", tmp_path / "a", 6, 2, (32, 48))
    mimic("voc12aug", tmp_path / "b", 6, 2, (32, 48), originals=True)
    names = [[p.stem for p in find_pairs(tmp_path / x, VOC12AUG, "train").images] for x in "ab"]
    assert names[0] == names[1]
    assert np.unique(names[0]).size == 6


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_other_programs_are_read_and_other_encodings_refused(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "val.txt"
    path.write_text("a\nb\n", encoding=encoding)
    assert read_names(path) == ["a", "b"]
    path.write_bytes(b"a\nb\xe4\n")
    with pytest.raises(ValueError, match=r"val\.txt, line 2, byte 3: .*save it as UTF-8"):
        read_names(path)


# Plain folders


def plain(root: Path, images: list[str], labels: list[str]) -> Path:
    for kind, names in (("images", images), ("labels", labels)):
        for name in names:
            write(root / "train" / kind / name, [])
    return root


SPEC = DatasetSpec("two", ("a", "b"), ((0, 0, 0), (1, 1, 1)))


def test_names_are_compared_in_one_spelling_of_unicode(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "dömäne") for form in ("NFC", "NFD"))
    root = plain(tmp_path, [f"{decomposed}.jpg", "b.JPG"], [f"{composed}.png", "b.PNG"])
    pairs = find_pairs(root, SPEC, "train")
    assert [path.name for path in pairs.labels] == ["b.PNG", f"{composed}.png"]


def test_images_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    root = plain(tmp_path, ["a.jpg", "b.HEIC", "c.heic", "d.jfif", "e.ppm", "f.txt"], ["a.png"])
    pairs = find_pairs(root, SPEC, "train")
    assert len(pairs.images) == 1
    (problem,) = pairs.problems
    assert "2 .heic, 1 .jfif, 1 .ppm in " in problem and "Convert them to JPEG or PNG" in problem
    with pytest.warns(UserWarning, match=r"1 \.ppm in .* cannot be read"):
        opened(root, SPEC)
    (tmp_path / "train/images/a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"Convert them .* 2 \.heic"):
        find_pairs(root, SPEC, "train")


def test_images_in_a_folder_of_images_are_a_problem_and_are_not_left_out(tmp_path: Path) -> None:
    root = plain(tmp_path, ["a.jpg", "day2/b.jpg", "@eaDir/a.jpg/c.jpg", ".x/d.jpg"], ["a.png"])
    (problem,) = check_split(root, SPEC, "train").problems[:1]
    assert problem.startswith(f"{root}/train/images/day2 holds images, but folders in images/")
    with pytest.raises(ValueError, match=rf"day2 .*`annlib data convert {root} NEW_FOLDER`"):
        opened(root, SPEC)
    (root / "train/images/a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="day2 holds images"):
        opened(root, SPEC)
    shutil.rmtree(root / "train/images/day2")
    write(root / "train/images/a.jpg", [])
    assert len(opened(root, SPEC)) == 1


@pytest.mark.parametrize(
    ("image", "labels", "taken"),
    [
        ("p.jpg", ["p.PNG", "p.png"], "p.png"),
        ("cafe\u0301.jpg", ["caf\u00e9.png", "cafe\u0301.png"], "cafe\u0301.png"),
        ("caf\u00e9.jpg", ["caf\u00e9.png", "cafe\u0301.png"], "caf\u00e9.png"),
    ],
)
def test_two_label_files_for_an_image_are_refused(
    tmp_path: Path, image: str, labels: list[str], taken: str
) -> None:
    root = plain(tmp_path, [image], labels)
    if len([*(root / "train/labels").iterdir()]) == 1:
        pytest.skip("This file system does not tell these names apart.")
    pairs = find_pairs(root, SPEC, "train")
    assert [path.name for path in pairs.labels] == [taken]
    assert shared_labels(pairs) == list(pairs.refused)
    with pytest.raises(ValueError, match=f"Keep one label file for .*{image}: "):
        opened(root, SPEC)


@pytest.mark.parametrize(
    ("labels", "hinted"), [(["a_mask.png"], True), (["a.tif"], True), (["a.png"], False)]
)
def test_labels_in_another_place_are_told_with_what_reads_them(
    tmp_path: Path, labels: list[str], hinted: bool
) -> None:
    root = plain(tmp_path, ["a.jpg", "b.jpg"], labels)
    hint = "NAME_mask.png, .tif, inner folders: see `annlib data convert`"
    assert (hint in str(check_split(root, SPEC, "train").problems)) == hinted
    with pytest.raises(FileNotFoundError) as error:
        opened(root, SPEC)
    assert (hint in str(error.value)) == hinted


def test_split_of_another_name_is_shown(tmp_path: Path) -> None:
    write(tmp_path / "valid/images/a.jpg", [])
    with pytest.raises(
        FileNotFoundError, match=rf"no folder .*val/images\. .*{tmp_path} holds valid/"
    ):
        find_pairs(tmp_path, SPEC, "val")
